"""Facts of releases and nodes: who runs what, where a model comes from, what a look remembers."""

from dataclasses import replace
from typing import Any

import pytest

from cloud.monitor.edge_facts import newest_examples
from cloud.monitor.look import Look
from cloud.monitor.release_facts import Ancestor, ancestors, learned, line_of, nodes_by_release
from lifelong.links.journal import utc_now
from lifelong.links.storage import Storage, open_storage
from lifelong.records.deliveries import UploadBudget
from lifelong.records.ids import EdgeId, SampleId, VersionId
from lifelong.records.keys import budget_key, bundle_key
from lifelong.records.wire import to_json
from tests.builders import NOON
from tests.large_loop import live_long, sample_of, version_of
from tests.web_parts import a_watch


@pytest.fixture(scope="module")
def look(tmp_path_factory) -> Look:
    storage = open_storage("memory://")
    live_long(storage, rounds=12, samples=10, edges=20, pictures=0)
    return a_watch(storage, tmp_path_factory.mktemp("journal")).refresh()


def with_health(look: Look, **changes: Any) -> Look:
    """The first node says something else."""
    first, *rest = look.fleet
    assert first.seen.health is not None
    health = replace(first.seen.health, **changes)
    return replace(
        look,
        fleet=(replace(first, seen=replace(first.seen, health=health)), *rest),
        _facts={},
    )


def test_nodes_count_for_the_release_that_they_name_or_the_newest_of_their_version(look):
    newest = look.releases[-1]
    assert look.fact(nodes_by_release) == {newest.number: 18, 1: 2}
    # An old version came back as one more release: who does not say which it was counts for it.
    back = replace(look.releases[0], number=newest.number + 1, is_rollback=True)
    again = replace(look, releases=(*look.releases, back), _facts={})
    unsaid = with_health(again, version_id=version_of(0), release_number=0)
    assert unsaid.fact(nodes_by_release) == {newest.number: 17, 1: 2, back.number: 1}
    # A number that belongs to another version is not believed; a foreign model counts for none.
    assert with_health(look, release_number=2).fact(nodes_by_release)[newest.number] == 18
    foreign = with_health(look, version_id=VersionId("f" * 16), release_number=99)
    assert sum(foreign.fact(nodes_by_release).values()) == 19
    assert sum(with_health(look, version_id=None).fact(nodes_by_release).values()) == 19


def test_a_line_ends_at_the_first_model_and_never_turns_in_circles(look):
    line = line_of(look, version_of(11))
    assert line == [version_of(n) for n in (10, 9, 8, 6, 5, 4, 3, 2, 1, 0)], "7 was refused"
    told = ancestors(look, line[:1] + line[-1:])
    assert [one.release for one in told if isinstance(one, Ancestor)] == [10, 1]
    assert line_of(look, VersionId("0" * 15 + "f")) == []
    circle = {
        **look.versions,
        version_of(0): replace(look.versions[version_of(0)], parent=version_of(3)),
    }
    assert line_of(replace(look, versions=circle, _facts={}), version_of(3)) == [
        version_of(n) for n in (2, 1, 0)
    ]
    lost = {k: v for k, v in look.versions.items() if k != version_of(9)}
    cut = replace(look, versions=lost, _facts={})
    assert line_of(cut, version_of(10)) == [version_of(9)]
    assert ancestors(cut, [version_of(9)]) == [version_of(9)], "its id is all that is known"


def test_what_was_forgotten_is_counted_and_not_named(look):
    wanted = [sample_of(3, 0), sample_of(3, 1), SampleId("f" * 16)]
    found = learned(look.samples, wanted)
    assert (found.samples, found.unknown, dict(found.tasks)) == (3, 1, {"rain": 2})
    assert dict(found.edges) == {"edge-00000": 1, "edge-00001": 1}


def test_newest_examples_of_a_node_come_newest_round_first(look):
    found = newest_examples(look, EdgeId("edge-00002"), 3)
    assert [(one.round_number, one.example.sequence) for one in found] == [
        (12, 9),
        (12, 2),
        (11, 9),
    ]
    assert newest_examples(look, EdgeId("nobody")) == []


def test_a_look_lists_bundles_only_when_a_release_is_new(tmp_path):
    lists: list[str] = []

    class Counting(Storage):
        def entries(self, prefix: str):
            lists.append(prefix)
            return super().entries(prefix)

    inner = open_storage("memory://")
    storage = Counting(inner._store, inner.url)
    live_long(storage, rounds=3, samples=2, edges=1, pictures=0)
    storage.put(bundle_key(version_of(1)), b"x" * 99)
    watch = a_watch(storage, tmp_path)
    seen = watch.refresh().bundle_bytes
    assert seen[bundle_key(version_of(1))] == 99
    assert seen[bundle_key(version_of(2))] is None, "it is gone, and the page says so"
    watch.refresh()
    assert lists.count("models") == 1


def test_a_budget_that_cannot_be_read_spoils_no_look(tmp_path):
    storage = open_storage("memory://")
    told = UploadBudget(
        edge_id=EdgeId("edge-1"),
        max_mib_per_day=1.0,
        max_samples_per_hour=None,
        set_at=NOON,
        set_by="operator",
    )
    storage.put(budget_key(EdgeId("edge-1")), to_json(told))
    storage.put(budget_key(EdgeId("edge-2")), b"{not json")
    found = a_watch(storage, tmp_path).refresh()
    assert dict(found.budgets) == {"edge-1": told}
    assert Look(at=utc_now()).budgets == {}
