"""Figures in pages: a mark around a value says which bench's figure it is.

    the same vote, <!--figure vote.seconds.ratio-->69<!--/--> times as fast

Who reads the page rendered sees the value alone. `python -m bench.table` writes the values anew
from bench/results, and a test compares them.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.figures import NoFigureError
from bench.plan import ROOT

_MARK = re.compile(r"<!--figure ([a-z_]+(?:\.[a-z0-9_]+)+)-->([^<>|\n]*)<!--/-->")
_BEGIN, _END = re.compile(r"<!--\s*figure"), re.compile(r"<!--\s*/")


@dataclass(frozen=True, slots=True)
class Quoted:
    """A marked value of a page."""

    name: str
    value: str


def pages() -> list[Path]:
    """Those that may quote figures."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def quoted_in(text: str, where: str) -> Iterator[Quoted]:
    """Every mark of a page, in order.

    Raises:
        NoFigureError: a mark is not written as it must be.
    """
    found = list(_MARK.finditer(text))
    for one in (_BEGIN, _END):
        if len(one.findall(text)) != len(found):
            raise NoFigureError(
                f"{where}: {len(found)} whole marks, {len(one.findall(text))} times "
                f"{one.pattern}; write <!--figure BENCH.NAME-->VALUE<!--/--> on one line"
            )
    yield from (Quoted(one[1], one[2]) for one in found)


def rewritten(
    text: str, values: Mapping[str, str], where: str, *, stays: Collection[str] = ()
) -> str:
    """The page with the values of now.

    Args:
        text: of the page.
        values: by the figure's name.
        where: the page's name.
        stays: figures that keep their value when there is no other.

    Raises:
        NoFigureError: a mark is broken, or names what has no value.
    """
    for one in quoted_in(text, where):
        if one.name not in values and one.name not in stays:
            raise NoFigureError(
                f"{where}: no figure {one.name} in bench/results; "
                "python -m bench.table --names lists those there are"
            )
    return _MARK.sub(
        lambda one: f"<!--figure {one[1]}-->{values.get(one[1], one[2])}<!--/-->", text
    )
