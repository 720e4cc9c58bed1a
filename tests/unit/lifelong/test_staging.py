"""K8S-05: who tries a staged release, by a draw that is the same for ever."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from lifelong.errors import IllegalTransitionError
from lifelong.records.ids import EdgeId, RoundNumber, VersionId
from lifelong.records.model_versions import Release
from lifelong.records.rollouts import Rollout, RolloutState
from lifelong.sections.fleet import ReleasesSection
from lifelong.staging import draw_of, release_for, takes_part
from tests.builders import NOON

FLEET = [EdgeId(f"edge-{number}") for number in range(2000)]


def a_release(number: int, share: float = 1.0) -> Release:
    return Release(
        number=number,
        version_id=VersionId(f"{number:016x}"),
        bundle_key="models/x.bundle",
        sha256="0" * 64,
        label_map_digest="d",
        round_number=RoundNumber(number),
        released_at=NOON,
        why="for a test",
        share=share,
    )


def test_k8s_05_a_share_is_a_share_of_the_fleet_and_wider_stages_keep_their_nodes():
    before: set[EdgeId] = set()
    for share in (0.01, 0.1, 0.5, 1.0):
        members = {edge for edge in FLEET if takes_part(edge, a_release(7, share))}
        assert len(members) / len(FLEET) == pytest.approx(share, abs=0.03)
        assert before <= members
        before = members
    assert len(before) == len(FLEET)


def test_k8s_05_other_releases_are_tried_by_other_nodes():
    first = {edge for edge in FLEET if takes_part(edge, a_release(7, 0.1))}
    second = {edge for edge in FLEET if takes_part(edge, a_release(8, 0.1))}
    assert len(first & second) < 0.3 * len(first)
    assert draw_of(FLEET[0], 7) == draw_of(FLEET[0], 7) != draw_of(FLEET[0], 8)


def test_k8s_05_a_staged_release_counts_only_above_the_current_one():
    everybody, staged = a_release(3), a_release(4, share=0.5)
    inside = next(edge for edge in FLEET if takes_part(edge, staged))
    outside = next(edge for edge in FLEET if not takes_part(edge, staged))
    assert release_for(inside, everybody, staged) == staged
    assert release_for(outside, everybody, staged) == everybody
    assert release_for(inside, a_release(5), staged) == a_release(5)  # promoted, or rolled back
    assert release_for(inside, replace(everybody, number=4), staged).number == 4
    assert release_for(inside, everybody, None) == everybody
    assert release_for(inside, None, staged) == staged
    assert release_for(outside, None, staged) is None
    assert release_for(inside, None, None) is None


@pytest.mark.parametrize("stages", [[], [0.5], [0.5, 0.1, 1.0], [0.5, 0.5, 1.0], [0.0, 1.0], [2.0]])
def test_stages_that_do_not_rise_to_everybody_are_refused(stages):
    with pytest.raises(ValidationError):
        ReleasesSection.model_validate({"stages": stages})
    assert ReleasesSection.model_validate({"stages": [0.1, 1]}).stages == (0.1, 1.0)


def test_a_roll_out_knows_its_ends():
    rollout = Rollout(
        number=4,
        version_id=VersionId("b" * 16),
        round_number=RoundNumber(2),
        why="round 2 accepted",
        before=VersionId("a" * 16),
        stages=(0.1, 1.0),
        stage_began_at=NOON,
    )
    halted = rollout.next(RolloutState.HALTING, NOON, reasons=("slow",))
    halted = halted.next(RolloutState.HALTED, NOON)
    assert halted.is_over and not rollout.is_over
    assert halted.reasons == ("slow",)
    with pytest.raises(IllegalTransitionError, match="halted may not become observing"):
        halted.next(RolloutState.OBSERVING, NOON)
