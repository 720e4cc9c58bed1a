"""A figure of a bench: its name, in words, where it lies in the result, and how it is shown.

`bench/chapters.py` declares them; `bench/table.py` makes docs/benchmarks.md of them, and
`bench/marks.py` puts them into the pages that quote them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

_UNITS_ALONE = frozenset({"%", "x"})  # behind a number without a blank


class NoFigureError(ValueError):
    """A result lacks what was asked for, or nothing of that name is declared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure, with the peer's where both stand side by side."""

    name: str  # within its bench; pages quote `BENCH.NAME`
    says: str
    at: str  # keys from the outside in, ":" between; of a list, the place or a `name`
    beside: str = ""  # the same of the peer
    unit: str = ""
    digits: int = 0
    times: float = 1.0  # 100 for a share that is told in per cent
    # Which is better, for the ratio; "" when the two have none.
    better: Literal["less", "more", ""] = "less"
    # Where it lies and what must be there, for one that is quoted with its size in words.
    given: tuple[str, object] | None = None
    tabled: bool = True  # False: for a page that quotes it, and no row of docs/benchmarks.md


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """What docs/benchmarks.md tells of one bench."""

    figures: tuple[Figure, ...]
    peer: str = ""  # heading of its column
    # Of what the figures are: text with {keys} of the result.
    sizes: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A figure of a result as a reader sees it, without its unit."""

    figure: Figure
    ours: str
    peer: str = ""
    ratio: str = ""

    def with_unit(self, value: str) -> str:
        """As a cell of the table has it."""
        unit = self.figure.unit
        if not value or not unit or not value[-1].isdigit():
            return value
        return f"{value}{'' if unit in _UNITS_ALONE else ' '}{unit}"

    def quotable(self, bench: str) -> Iterator[tuple[str, str]]:
        """Every name that a page may quote it by, with the text that stands there then."""
        name = f"{bench}.{self.figure.name}"
        yield name, self.ours
        if self.peer:
            yield f"{name}.peer", self.peer
        if self.ratio:
            yield f"{name}.ratio", self.ratio


def shown(chapter: Chapter, figures: Mapping[str, Any]) -> list[Shown]:
    """The chapter's figures that a result holds; smaller sizes lack some."""
    found = []
    for figure in chapter.figures:
        ours = value_at(figures, figure.at)
        other = figure.given and value_at(figures, figure.given[0]) != figure.given[1]
        if ours is None or other:
            continue
        peer = value_at(figures, figure.beside) if figure.beside else None
        found.append(
            Shown(
                figure=figure,
                ours=_text(ours, figure),
                peer="" if peer is None else _text(peer, figure),
                ratio=_ratio(ours, peer, figure),
            )
        )
    return found


def quotable(
    chapters: Mapping[str, Chapter], results: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """Everything that pages may quote, by its name."""
    return {
        name: text
        for bench, result in results.items()
        if bench in chapters
        for one in shown(chapters[bench], result["figures"])
        for name, text in one.quotable(bench)
    }


def declared(chapters: Mapping[str, Chapter]) -> frozenset[str]:
    """Every name that a result of some size has a value for."""
    return frozenset(
        f"{bench}.{figure.name}{part}"
        for bench, told in chapters.items()
        for figure in told.figures
        for part in ("", *((".peer", ".ratio") if figure.beside else ()))
    )


def sizes_of(chapter: Chapter, figures: Mapping[str, Any]) -> str:
    """What was measured, in words; empty when the chapter does not say.

    Raises:
        NoFigureError: the result has no such key.
    """
    try:
        return chapter.sizes.format_map(figures)
    except (KeyError, IndexError, TypeError) as error:
        raise NoFigureError(f"no {error} in the result, which {chapter.sizes!r} names") from error


def value_at(figures: Any, path: str) -> Any:
    """What lies there; None: nothing does."""
    found = figures
    for key in path.split(":"):
        if isinstance(found, list):
            found = {str(place): one for place, one in enumerate(found)} | {
                one["name"]: one for one in found if isinstance(one, Mapping) and "name" in one
            }
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    return found


def _text(value: Any, figure: Figure) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{figure.times * value:,.{figure.digits}f}"
    raise NoFigureError(f"{figure.name}: {figure.at} is no number: {value!r}")


def _ratio(ours: Any, peer: Any, figure: Figure) -> str:
    """How many times as good ours is; two digits that count."""
    if peer is None or not figure.better or not (ours and peer):
        return ""
    ratio = peer / ours if figure.better == "less" else ours / peer
    return f"{ratio:.0f}" if ratio >= 9.95 else f"{ratio:.1f}" if ratio >= 1.95 else f"{ratio:.2f}"
