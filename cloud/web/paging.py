"""One page of a list, and where the ones before and after it are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from fastapi import Query

T = TypeVar("T")
ROWS = 25
PageNumber = Annotated[int, Query(ge=1, le=10**6)]  # one that is too high means the last page


@dataclass(frozen=True, slots=True, kw_only=True)
class Paged(Generic[T]):
    """So many rows, and which page of how many they are."""

    rows: Sequence[T]
    number: int  # 1, 2, 3 …
    count: int  # of pages, at least 1
    total: int  # of rows
    first: int  # number of the first row shown, counted from 1


def paged(items: Sequence[T], number: int, size: int = ROWS) -> Paged[T]:
    """The rows of page `number`; the last page when there are not so many.

    >>> paged("abcdefg", 2, 3).rows, paged("abcdefg", 9, 3).rows, paged("", 1).count
    ('def', 'g', 1)
    """
    count = max(1, -(-len(items) // size))
    number = min(max(number, 1), count)
    start = (number - 1) * size
    return Paged(
        rows=items[start : start + size],
        number=number,
        count=count,
        total=len(items),
        first=start + 1,
    )
