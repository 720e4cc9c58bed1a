"""Train, validation and test by scene: frames of one scene look alike, so they stay together.

A scene is what the task says (`scene` or `site` in its meta), else the picture's folder and its
name without the number of the frame: `park/0016E5_07959.png` -> `park/0016E5`.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from lifelong.errors import ConfigError

SPLITS = ("train", "val", "test")

# The number at the end of a name, or before its last word: 0016E5_07959, aachen_0_19_leftImg8bit.
_FRAMES = (
    re.compile(r"(?P<scene>.*?)[ _.-]*[0-9]+\Z"),
    re.compile(r"(?P<scene>.*?)[ _.-]*[0-9]+_[A-Za-z][A-Za-z0-9]*\Z"),
)
_OVERSHOOT = 1.5  # a small side takes no scene that would make it larger than this, if it can


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPlan:
    """How large the sides shall be, and what a scene is."""

    shares: tuple[float, float, float] = (1.0, 0.0, 0.0)  # train, val, test; sum 1
    seed: int = 0
    pattern: str = ""  # regular expression on names: its first group, or all of it, is the scene

    @property
    def is_trivial(self) -> bool:
        """Everything is for training; no scene has to be known."""
        return self.shares[0] == 1.0

    def scene_of(self, name: str, told: str = "") -> str:
        """The scene of a picture.

        Args:
            told: what the task says, "" when it says nothing; a pattern goes before it.

        Raises:
            ConfigError: the pattern does not fit the name.
        """
        if self.pattern:
            found = re.search(self.pattern, name)
            if found is None:
                raise ConfigError(
                    f"--scene-pattern {self.pattern!r} does not fit {name!r}; every picture needs "
                    "a scene"
                )
            return str(found[1] if found.re.groups else found[0])
        if told:
            return told
        folder, slash, file = name.rpartition("/")
        stem = file.rpartition(".")[0] or file
        frame = next((found for one in _FRAMES if (found := one.match(stem))), None)
        return f"{folder}{slash}{frame['scene'] if frame else stem}"


def plan_from(shares: str, *, seed: int = 0, pattern: str = "") -> SplitPlan:
    """A plan from the command line, e.g. `0.8/0.1/0.1`; two shares are train and val.

    Raises:
        ConfigError: not two or three shares with the sum 1, or no regular expression.
    """
    try:
        told = [float(share) for share in shares.split("/")]
    except ValueError:
        told = []
    is_sound = all(0 <= share <= 1 for share in told) and abs(sum(told) - 1) <= 1e-6
    if len(told) not in {2, 3} or not is_sound:
        raise ConfigError(
            f"--split {shares}: expected the shares of train/val/test with the sum 1, "
            "e.g. 0.8/0.1/0.1"
        )
    if told[0] == 0:
        raise ConfigError(f"--split {shares}: nothing would be left for training")
    try:
        re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"--scene-pattern {pattern!r}: {error}") from error
    return SplitPlan(
        shares=(told[0], told[1], told[2] if len(told) == 3 else 0.0), seed=seed, pattern=pattern
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """Which scene is on which side, and what should be said about it."""

    side_of: Mapping[str, str]  # scene -> "train", "val" or "test"
    warnings: tuple[str, ...] = ()


def split_scenes(counts: Mapping[str, int], plan: SplitPlan) -> Splits:
    """Put every scene on one side.

    Scenes go in an order that only the seed and their names decide. The small sides are filled
    first, each up to its share of the pictures; where scenes are too few for every side, training
    comes first. One scene alone is all for training: any cut through it would measure memory.

    Args:
        counts: pictures of every scene.
    """
    order = sorted(counts, key=lambda scene: (_hash(plan.seed, scene), scene))
    total = sum(counts.values())
    side_of = dict.fromkeys(order, "train")
    wanted = [(share, side) for share, side in zip(plan.shares, SPLITS, strict=True) if share > 0]
    small = sorted((pair for pair in wanted if pair[1] != "train"), key=lambda pair: pair[0])
    left = list(order)
    for place, (share, side) in enumerate(small):
        # Something must be left for training, and where scenes suffice for every other side.
        spare = 1 + (len(small) - place - 1 if len(order) > len(small) else 0)
        chosen = _chosen(left, counts, share * total, spare)
        side_of |= dict.fromkeys(chosen, side)
        left = [scene for scene in left if scene not in chosen]
    return Splits(side_of=side_of, warnings=_warnings(counts, wanted, side_of))


def _chosen(left: list[str], counts: Mapping[str, int], target: float, spare: int) -> set[str]:
    """Scenes for a side of about `target` pictures; at least `spare` scenes stay."""
    chosen, filled = set[str](), 0
    for scene in left:
        if len(left) - len(chosen) <= spare or filled >= target:
            break
        if filled + counts[scene] <= _OVERSHOOT * target:
            chosen.add(scene)
            filled += counts[scene]
    if not chosen and len(left) > spare:  # every scene is too large: the smallest is least wrong
        chosen.add(min(left, key=lambda scene: counts[scene]))
    return chosen


def _warnings(
    counts: Mapping[str, int], wanted: list[tuple[float, str]], side_of: Mapping[str, str]
) -> tuple[str, ...]:
    empty = [side for _, side in wanted if side not in side_of.values()]
    if not counts or not empty:
        return ()
    if len(counts) == 1:
        return (
            f"all pictures are of one scene ({next(iter(counts))!r}): everything is for training; "
            "--scene-pattern says where scenes begin and end",
        )
    return (
        f"{len(counts)} scenes are too few for {len(wanted)} sides: "
        f"{' and '.join(empty)} stay empty",
    )


def _hash(seed: int, scene: str) -> str:
    return hashlib.sha256(f"{seed}\0{scene}".encode("utf-8", "surrogateescape")).hexdigest()
