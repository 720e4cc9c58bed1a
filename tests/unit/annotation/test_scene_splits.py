"""Frames of one scene are never on two sides (CNV-14)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotation.exports.scene_splits import SPLITS, SplitPlan, plan_from, split_scenes
from lifelong.errors import ConfigError

PLAN = plan_from("0.8/0.1/0.1")


@pytest.mark.parametrize(
    ("name", "scene"),
    [
        ("0016E5_07959.png", "0016E5"),
        ("0006R0_f00930.jpg", "0006R0_f"),
        ("park/0016E5_07959.png", "park/0016E5"),
        ("front/0001.jpg", "front/"),
        ("front/rear/0001.jpg", "front/rear/"),
        ("aachen_000000_000019_leftImg8bit.png", "aachen_000000"),
        ("garden.jpg", "garden"),
        ("Seq 05 - 12.jpg", "Seq 05"),
    ],
)
def test_cnv_14_a_name_tells_its_scene(name: str, scene: str) -> None:
    assert PLAN.scene_of(name) == scene


def test_a_task_knows_its_scene_better_and_a_pattern_best() -> None:
    assert PLAN.scene_of("front/0001.jpg", "north gate") == "north gate"
    by_camera = SplitPlan(pattern="cam([0-9]+)")
    assert by_camera.scene_of("x_cam12_0001.jpg", "north gate") == "12"
    assert SplitPlan(pattern="^....").scene_of("0016E5_07959.png") == "0016"
    with pytest.raises(ConfigError, match=r"does not fit 'front\.jpg'"):
        by_camera.scene_of("front.jpg")


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.text(min_size=1, max_size=5), st.integers(1, 200), max_size=30),
    st.sampled_from(["0.8/0.1/0.1", "0.7/0.3", "0.5/0.25/0.25", "1/0/0", "0.34/0.33/0.33"]),
    st.integers(0, 5),
)
def test_cnv_14_every_scene_is_on_one_side_and_no_asked_side_is_empty(
    counts: dict[str, int], shares: str, seed: int
) -> None:
    plan = plan_from(shares, seed=seed)
    splits = split_scenes(counts, plan)
    assert splits.side_of.keys() == counts.keys()
    asked = {side for side, share in zip(SPLITS, plan.shares, strict=True) if share}
    used = set(splits.side_of.values())
    assert used <= asked
    if len(counts) >= len(asked):
        assert used == asked
        assert not splits.warnings
    elif counts:
        assert splits.warnings
    again = split_scenes(dict(reversed(counts.items())), plan)
    assert again.side_of == splits.side_of, "the order of pictures decides nothing"


def test_cnv_14_shares_are_near_what_was_asked_when_scenes_are_many() -> None:
    counts = {f"scene {n}": 10 + n % 7 for n in range(200)}
    sides = split_scenes(counts, PLAN).side_of
    total = sum(counts.values())
    for side, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
        pictures = sum(counts[scene] for scene, where in sides.items() if where == side)
        assert pictures / total == pytest.approx(share, abs=0.02)


def test_cnv_14_another_seed_is_another_split_the_same_seed_the_same() -> None:
    counts = {f"scene {n}": 10 for n in range(50)}
    one, same = split_scenes(counts, PLAN), split_scenes(counts, PLAN)
    other = split_scenes(counts, plan_from("0.8/0.1/0.1", seed=1))
    assert one == same
    assert one.side_of != other.side_of


def test_cnv_14_one_scene_alone_is_all_for_training_and_that_is_said() -> None:
    """Any cut through one scene would put neighbours on both sides."""
    splits = split_scenes({"0016E5": 300}, PLAN)
    assert splits.side_of == {"0016E5": "train"}
    assert "all pictures are of one scene ('0016E5')" in splits.warnings[0]
    two = split_scenes({"a": 10, "b": 300}, PLAN)
    assert sorted(two.side_of.values()) == ["train", "val"]
    assert "too few" in two.warnings[0]


@pytest.mark.parametrize("shares", ["0.8", "0.8/0.1", "a/b", "0/0.5/0.5", "1.2/-0.2", "nan/1", ""])
def test_shares_that_cannot_be_meant_are_refused(shares: str) -> None:
    with pytest.raises(ConfigError, match="--split"):
        plan_from(shares)


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="--scene-pattern"):
        plan_from("1/0", pattern="(")
