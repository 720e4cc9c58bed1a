"""What a format must do to be exported: give files and a record for a picture, then an index.

`entry` is pure and runs in worker processes, one picture at a time. `index` sees the records of
all pictures, sorted by name, as a stream: a format must not gather them in memory.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from annotation.labelled_pictures import LabelledPicture

Record = Mapping[str, object]  # plain JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What one picture becomes."""

    files: Mapping[str, bytes] = field(default_factory=dict)  # relative path -> content
    image_path: str | None = None  # where a copy of the image belongs; None: nowhere
    record: Record = field(default_factory=dict)  # what `index` needs of this picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """One picture's record as `index` sees it."""

    name: str  # of the picture
    split: str  # "train", "val" or "test"
    record: Record


Stream = Callable[[], Iterator[Indexed]]  # begins anew at every call, sorted by name


class Writer(Protocol):
    """One format."""

    def entry(self, picture: LabelledPicture, split: str) -> Entry:
        """Files and record of one picture.

        Args:
            split: "train", "val" or "test"; layouts with a folder a split need it.

        Raises:
            RecordError: the picture cannot be said in this format; names it.
        """

    def index(self, pictures: Stream) -> Iterable[tuple[str, Iterator[bytes]]]:
        """The files about all pictures: (relative path, content in pieces), made lazily."""
