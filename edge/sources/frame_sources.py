"""Where frames come from: a watched folder. Video files: `edge/sources/video_sources.py`; cameras:
`edge/sources/camera_sources.py` and `edge/sources/live_frames.py`.

A source is an iterator of `Frame | None`; None means "nothing new for now", so that the node can
do its other duties. `remember(frame)` writes a frame down as processed.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image

from edge.seen_frames import SeenFrames
from lifelong.errors import ImageError
from lifelong.links.journal import Journal
from lifelong.records.ids import EdgeId
from lifelong.records.pixels import Frame, image_from_bytes
from lifelong.sections.edge import FolderSource

logger = logging.getLogger(__name__)

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
MAX_FILE_MIB = 256  # larger files are not pictures of a camera


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a file may take to become a picture."""

    # A file is whole when it has not changed for this long; an atomic rename brings an old file.
    settled_s: float = 0.5
    tries: int = 3  # of reading a file that is no picture
    retry_s: float = 0.5  # pause between two of them


@dataclass(slots=True)
class _Suspect:
    """A file that was looked at but not processed yet."""

    key: str
    since: float  # monotonic seconds at which `key` was first met
    tries: int = 0
    not_before: float = 0.0  # monotonic seconds


class FolderFrames:
    """Pictures of a folder and its sub-folders in the order of their names, each once.

    A file counts as new when its name, size or time of change is new. A file that cannot be read
    after some tries is reported to the journal as `frame.unreadable` and passed over.
    """

    def __init__(
        self,
        section: FolderSource,
        *,
        edge_id: EdgeId,
        attributes: Mapping[str, str],
        seen: SeenFrames,
        journal: Journal,
        wait: Callable[[float], None],
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        again: bool = False,
    ) -> None:
        """`again`: process files that were processed before, for replays."""
        self._section = section
        self._edge_id = edge_id
        self._attributes = dict(attributes)
        self._seen = seen
        self._journal = journal
        self._wait = wait
        self._patience = patience or Patience()
        self._clock, self._wall_clock = clock, wall_clock
        self._prefix = f"replay {wall_clock()}:" if again else ""
        self._suspects: dict[str, _Suspect] = {}
        self._keys: dict[int, str] = {}  # sequence -> key of the frames on their way
        self.unreadable = 0
        self.passed_over = 0
        self.trouble = ""

    def __iter__(self) -> Iterator[Frame | None]:
        self._forget_what_is_gone()
        while True:
            frames = 0
            for frame in self._newest() if self._is_live else self._all():
                frames += 1
                yield frame
            if self._section.stop_when_empty and not frames and not self._suspects:
                return
            if not frames:
                yield None
                self._wait(self._section.poll_seconds)

    def remember(self, frame: Frame) -> None:
        """The frame was processed; it will not come again, also after a restart."""
        key = self._keys.pop(frame.sequence, None)
        if key is not None:
            self._seen.remember(key, frame.sequence)

    @property
    def _is_live(self) -> bool:
        return self._section.back_pressure == "latest"

    def _all(self) -> Iterator[Frame]:
        for name, key, _ in self._new_files():
            frame = self._read(name, key)
            if frame is not None:
                yield frame

    def _newest(self) -> Iterator[Frame]:
        """The newest file that can be read; the older ones are remembered as if processed."""
        files = sorted(self._new_files(), key=lambda file: (file[2], file[0]))
        while files:
            name, key, _ = files.pop()
            frame = self._read(name, key)
            if frame is None:
                continue
            if not files:
                yield frame
                return
            del self._keys[frame.sequence]
            # They came before it, so their numbers do too.
            numbered = [(old, frame.sequence + i) for i, (_, old, _) in enumerate(files)]
            self._seen.remember_all(numbered)
            self.passed_over += len(files)
            for passed, _, _ in files:
                self._suspects.pop(passed, None)
            frame = replace(frame, sequence=self._seen.next_sequence)
            self._keys[frame.sequence] = key
            yield frame
            return

    def _new_files(self) -> Iterator[tuple[str, str, int]]:
        """Relative names, keys and times of change (ns) of settled files that are not known yet,
        in order of names."""
        found: dict[str, os.stat_result] = {}
        for folder, folders, names in os.walk(self._section.path):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                # Hidden names are how copying tools call what they have not finished.
                if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                    path = Path(folder, name)
                    try:
                        found[path.relative_to(self._section.path).as_posix()] = path.stat()
                    except OSError:
                        continue  # gone between the listing and the look
        for name in self._suspects.keys() - found.keys():
            del self._suspects[name]
        for name in sorted(found):
            key = f"{self._prefix}{name}|{found[name].st_size}|{found[name].st_mtime_ns}"
            if self._seen.knows(key):
                self._suspects.pop(name, None)
            elif self._has_settled(name, key, found[name].st_mtime):
                yield name, key, found[name].st_mtime_ns

    def _has_settled(self, name: str, key: str, changed_at: float) -> bool:
        now = self._clock()
        suspect = self._suspects.get(name)
        if suspect is None or suspect.key != key:
            suspect = self._suspects[name] = _Suspect(key, since=now)
        age = self._wall_clock() - changed_at
        # A time of change in the future says nothing: then only our own watching counts.
        settled = max(age, now - suspect.since) >= self._patience.settled_s
        return settled and now >= suspect.not_before

    def _read(self, name: str, key: str) -> Frame | None:
        path = self._section.path / name
        try:
            changed = path.stat()
            if changed.st_size > MAX_FILE_MIB * 2**20:
                raise ImageError(f"{path}: larger than {MAX_FILE_MIB} MiB; scale it down")
            data = path.read_bytes()
            image = image_from_bytes(data, str(path))
        except FileNotFoundError:
            return None
        except (ImageError, OSError, Image.DecompressionBombError) as error:
            self._failed(name, key, error)
            return None
        self._suspects.pop(name, None)
        sequence = self._seen.next_sequence
        self._keys[sequence] = key
        return Frame(
            image=image,
            edge_id=self._edge_id,
            captured_at=datetime.fromtimestamp(changed.st_mtime, UTC),
            sequence=sequence,
            attributes=self._attributes_of(name),
            encoded=data,
        )

    def _failed(self, name: str, key: str, error: Exception) -> None:
        suspect = self._suspects.setdefault(name, _Suspect(key, since=self._clock()))
        suspect.tries += 1
        suspect.not_before = self._clock() + self._patience.retry_s
        if suspect.tries < self._patience.tries:
            return
        del self._suspects[name]
        self.unreadable += 1
        logger.warning("gave up on %s after %d tries: %s", name, suspect.tries, error)
        self._journal.event("frame.unreadable", file=name, reason=str(error))
        self._seen.remember(key, self._seen.next_sequence)

    def _attributes_of(self, name: str) -> dict[str, str]:
        attributes = {**self._attributes, "frame": name.rpartition(".")[0]}
        folder, slash, _ = name.partition("/")
        if slash and self._section.attribute_from_folder:
            attributes[self._section.attribute_from_folder] = folder
        return attributes

    def _forget_what_is_gone(self) -> None:
        root = self._section.path
        # An empty or missing folder is more likely an unmounted disk than a clean-up.
        if not root.is_dir() or not any(root.iterdir()):
            return
        self._seen.forget(lambda key: not (root / key.rsplit("|", 2)[0]).exists())
