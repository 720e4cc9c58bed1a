"""`LabelMapChange`: how one label map became another, and what that says of older labels.

A change says two things of every class of the new map. Its **origins**: the old classes whose
pixels are this class for sure (itself, the one it was renamed from, the ones it was merged from).
And what it **was part of**: old classes some of whose pixels are this one, nobody knows which. That
is the background shift (Cermelli et al. 2020): before there was a class "tram", a tram was painted
"building" or "bus", or was left as 255. An old class that is nobody's origin was removed: its
pixels become 255, "nobody knows", never class 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lifelong.errors import LabelMapChangeError
from lifelong.records.colours import Colour, distinct_colours
from lifelong.records.label_map import IGNORE_INDEX, LabelMap

Names = tuple[str, ...]

HOW_TO_SAY_IT = (
    'say what became of them: `cornerloop classes change` with --add "NEW:was OLD,OLD", '
    "--rename OLD=NEW, --merge OLD+OLD=NEW, --remove OLD"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMapChange:
    """One label map and the next.

    Raises:
        LabelMapChangeError: it names classes that are in neither map, or an old class became two.
    """

    before: LabelMap
    after: LabelMap
    # By name of the new map; a class that is new has no origins. The order of `was_part_of` counts:
    # the first is the class whose weights a new one starts from.
    origins: Mapping[str, Names]
    was_part_of: Mapping[str, Names] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, named in (("origins", self.origins), ("was_part_of", self.was_part_of)):
            strangers = [name for name in named if name not in self.after]
            strangers += [old for olds in named.values() for old in olds if old not in self.before]
            if strangers:
                raise LabelMapChangeError(
                    f"change of classes, {what}: no class {', '.join(dict.fromkeys(strangers))}"
                )
        olds = [old for origins in self.origins.values() for old in origins]
        twice = sorted({old for old in olds if olds.count(old) > 1})
        if twice:
            raise LabelMapChangeError(
                f"change of classes: {', '.join(twice)} cannot become two classes at once; add "
                "the second one as a class that was part of it"
            )

    @property
    def added(self) -> Names:
        """Classes that no old class became."""
        return tuple(name for name in self.after.names if not self.origins.get(name))

    @property
    def removed(self) -> Names:
        """Old classes that are none any more."""
        kept = {old for olds in self.origins.values() for old in olds}
        return tuple(name for name in self.before.names if name not in kept)

    @property
    def renamed(self) -> Mapping[str, str]:
        """Old name -> new name of classes that only changed their names."""
        return {
            olds[0]: name
            for name, olds in self.origins.items()
            if len(olds) == 1 and olds[0] != name
        }

    @property
    def merged(self) -> Mapping[str, Names]:
        """New name -> the old classes that it takes together."""
        return {name: olds for name, olds in self.origins.items() if len(olds) > 1}

    def became(self, old: str) -> str | None:
        """What an old class is called now; None: it was removed."""
        return next((name for name, olds in self.origins.items() if old in olds), None)

    def may_be(self, old: str) -> Names:
        """What a pixel that was painted `old` can be, what it became first; () for 255.

        A removed class is unknown whatever was cut from it: what is left of it has no name.
        """
        first = self.became(old)
        if first is None:
            return ()
        others = (name for name in self.after.names if old in self.was_part_of.get(name, ()))
        return (first, *(name for name in others if name != first))

    def table(self) -> NDArray[np.uint8]:
        """(256,), uint8: old id to new id; a removed class, 255 and ids without a class are 255.

        A pixel whose class may have become another one keeps its own here; `may_be` says which.
        """
        table = np.full(256, IGNORE_INDEX, dtype=np.uint8)
        for position, old in enumerate(self.before.names):
            now = self.became(old)
            if now is not None:
                table[position] = self.after.id_of(now)
        return table

    def words(self) -> tuple[str, ...]:
        """The change in words, one operation each."""
        said = [f"rename {old} to {new}" for old, new in self.renamed.items()]
        said += [f"merge {' and '.join(olds)} into {new}" for new, olds in self.merged.items()]
        said += [f"remove {old}: its pixels become unknown" for old in self.removed]
        for name in self.added:
            olds = self.was_part_of.get(name, ())
            called = f"call it {' or '.join(olds)}, or nothing" if olds else "leave it unlabelled"
            said.append(f"add {name}: older labels {called}")
        order = [self.became(old) for old in self.before.names]
        kept = [name for name in dict.fromkeys(order) if name is not None]
        if kept != [name for name in self.after.names if name in kept]:
            said.append("another order")
        return tuple(said)


def change_classes(
    before: LabelMap,
    *,
    add: Mapping[str, Sequence[str]] | None = None,
    rename: Mapping[str, str] | None = None,
    merge: Mapping[str, Sequence[str]] | None = None,
    remove: Sequence[str] = (),
    things: Sequence[str] = (),
) -> LabelMapChange:
    """A change by its operations; what no operation names stays as it is.

    A merged class stands where the first of its classes stood, new ones stand at the end.

    Args:
        add: new name -> old classes that it was part of.
        rename: old name -> new name.
        merge: new name -> the old classes that it takes together; it may be one of them.
        things: of the added classes, those whose instances can be counted.

    Raises:
        LabelMapChangeError: a class that is not there, a name taken twice, or an old class that
            two operations want.
    """
    add, rename, merge = add or {}, rename or {}, merge or {}
    wanted = [*rename, *(old for olds in merge.values() for old in olds), *remove]
    _refuse_strangers(before, [*wanted, *(old for olds in add.values() for old in olds)])
    for old in sorted({old for old in wanted if wanted.count(old) > 1}):
        raise LabelMapChangeError(f"class {old!r} is to become two things; choose one")
    for name, olds in merge.items():
        if len(olds) < 2:
            raise LabelMapChangeError(f"merge into {name!r}: name two classes or more")
    to = {old: name for name, olds in merge.items() for old in olds} | dict(rename)
    origins: dict[str, Names] = {}
    for old in before.names:
        if old not in remove:
            name = to.get(old, old)
            if name in origins and old not in merge.get(name, ()):
                raise LabelMapChangeError(_taken(name))
            origins[name] = (*origins.get(name, ()), old)
    for name, olds in origins.items():  # a rename before the class that has the name already
        if len(olds) > 1 and set(olds) != set(merge.get(name, ())):
            raise LabelMapChangeError(_taken(name))
    for name in add:
        if name in origins or not name.strip():
            raise LabelMapChangeError(_taken(name))
    if not origins and not add:
        raise LabelMapChangeError("no class would be left")
    after = _map_of(before, origins, add, things)
    return LabelMapChange(
        before=before,
        after=after,
        origins={name: origins.get(name, ()) for name in after.names},
        was_part_of={name: tuple(olds) for name, olds in add.items() if olds},
    )


def change_by_names(before: LabelMap, after: LabelMap) -> LabelMapChange:
    """What can be told from two label maps alone: classes of the same name are the same.

    Raises:
        LabelMapChangeError: the names differ. Whether a class that is gone was renamed, merged or
            removed, and what a new one was called before, no program can know.
    """
    gone = [name for name in before.names if name not in after]
    new = [name for name in after.names if name not in before]
    if gone or new:
        told = f"gone: {', '.join(gone) or 'none'}; new: {', '.join(new) or 'none'}"
        raise LabelMapChangeError(
            f"the classes changed and no change is recorded ({told}); {HOW_TO_SAY_IT}"
        )
    return LabelMapChange(
        before=before, after=after, origins={name: (name,) for name in after.names}
    )


def composed(first: LabelMapChange, second: LabelMapChange) -> LabelMapChange:
    """Both changes as one.

    Raises:
        LabelMapChangeError: the second does not begin where the first ends.
    """
    if first.after.digest != second.before.digest:
        raise LabelMapChangeError(
            f"changes of classes do not join: one ends with {first.after.digest}, the next "
            f"begins with {second.before.digest}"
        )
    origins: dict[str, Names] = {}
    was_part_of: dict[str, Names] = {}
    for name in second.after.names:
        sure = [old for mid in second.origins.get(name, ()) for old in first.origins.get(mid, ())]
        maybe = [o for mid in second.origins.get(name, ()) for o in first.was_part_of.get(mid, ())]
        for mid in second.was_part_of.get(name, ()):
            maybe += [*first.origins.get(mid, ()), *first.was_part_of.get(mid, ())]
        origins[name] = tuple(sure)
        was_part_of[name] = tuple(old for old in dict.fromkeys(maybe) if old not in sure)
    return LabelMapChange(
        before=first.before,
        after=second.after,
        origins=origins,
        was_part_of={name: olds for name, olds in was_part_of.items() if olds},
    )


def inverse(change: LabelMapChange) -> LabelMapChange:
    """The way back: how labels of the new map are to be read in the old one.

    A class that was added goes back to the one it was part of, one that was removed is new again
    (labels of the new map leave it 255). Nothing that is said so is false.

    Raises:
        LabelMapChangeError: a merged class, or one that was part of several: which of them a
            pixel was, is lost.
    """
    lost = [*change.merged]
    lost += [name for name, olds in change.was_part_of.items() if len(olds) > 1]
    lost += [name for name in change.was_part_of if change.origins.get(name)]
    if lost:
        raise LabelMapChangeError(
            f"there is no way back from {', '.join(dict.fromkeys(lost))}: it stands for several "
            "older classes"
        )
    origins: dict[str, Names] = {}
    for old in change.before.names:
        now = change.became(old)
        if now is not None:
            cut = tuple(name for name in change.added if old in change.was_part_of.get(name, ()))
            origins[old] = (now, *cut)
    return LabelMapChange(
        before=change.after,
        after=change.before,
        origins={name: origins.get(name, ()) for name in change.before.names},
    )


def _refuse_strangers(before: LabelMap, names: Sequence[str]) -> None:
    strangers = [name for name in dict.fromkeys(names) if name not in before]
    if strangers:
        raise LabelMapChangeError(
            f"no class {', '.join(map(repr, strangers))}; the label map has: "
            f"{', '.join(before.names)}"
        )


def _taken(name: str) -> str:
    return (
        f"there would be two classes {name!r}; to take classes together say "
        f"--merge {name}+OTHER={name}"
    )


def _map_of(
    before: LabelMap,
    origins: Mapping[str, Names],
    add: Mapping[str, Sequence[str]],
    things: Sequence[str],
) -> LabelMap:
    """The new label map: known classes keep their colours, new ones get colours of their own."""
    names = (*origins, *add)
    if len(names) > IGNORE_INDEX:
        raise LabelMapChangeError(f"{len(names)} classes; at most {IGNORE_INDEX} have ids")
    colours: list[Colour] = [before.colours[before.id_of(olds[0])] for olds in origins.values()]
    # So many colours that enough are left when every old class has taken one of them.
    offered = distinct_colours(min(IGNORE_INDEX, len(before) + len(add)))
    spare = (colour for colour in offered if colour not in set(before.colours))
    colours += [next(spare) for _ in add]
    counted = [name for name, olds in origins.items() if any(o in before.things for o in olds)]
    return LabelMap(names, tuple(colours)).with_things([*counted, *things])
