"""A folder of frames and the objects of one of them, to masks of all frames as files.

Frames go by the numbers in their names, `frame_2` before `frame_10`. The masks of a frame are one
8-bit PNG under the frame's name: 0 is no object, any other value an object's number. Frames are
read one by one; what was written stays when a later one fails.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotation.assist.segmenter import Mask
from cloud.assist.interactive_model import InteractiveModel
from cloud.assist.propagation import FrameObjects, propagated
from lifelong.errors import ConfigError, ImageError, PromptError
from lifelong.labels.folders import IMAGE_SUFFIXES
from lifelong.records.pixels import image_from_bytes, mask_from_png, png_from_mask

TRACKS = "tracks.json"
_NO_OBJECT = 0


@dataclass(slots=True)
class Track:
    """In which frames an object was seen, by their names."""

    number: int
    seen: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)  # where it had been away for too long


@dataclass(frozen=True, slots=True)
class Footage:
    """Frames in their order, and the one whose objects are known."""

    frames: tuple[Path, ...]
    start: int
    objects: dict[int, Mask]


def sequence_of(folder: Path, masks: Path) -> Footage:
    """Frames of a folder, and the objects of the one that `masks` is named after.

    Raises:
        ConfigError: no such folder, no frame, or none of that name.
        ImageError: the masks are no PNG of numbers, or hold no object.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; expected one with frames")
    frames = sorted(
        (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES), key=_order
    )
    stems = [path.stem for path in frames]
    if masks.stem not in stems:
        raise ConfigError(
            f"{masks}: {folder} has no frame {masks.stem!r}; name the masks after the frame that "
            f"they belong to ({', '.join(stems[:3]) or 'the folder has no JPEG or PNG'} …)"
        )
    if stems.count(masks.stem) > 1:
        raise ConfigError(f"{folder}: two frames are called {masks.stem!r}; rename one")
    if not masks.is_file():
        raise ConfigError(f"{masks}: no such file; expected a PNG of object numbers")
    numbers = mask_from_png(masks.read_bytes(), str(masks))
    found = [int(number) for number in np.unique(numbers) if number != _NO_OBJECT]
    if not found:
        raise ImageError(f"{masks}: no object; expected numbers above 0 where objects are")
    objects = {number: numbers == number for number in found}
    return Footage(tuple(frames), stems.index(masks.stem), objects)


def track(
    model: InteractiveModel, given: Footage, out: Path, *,
    say: Callable[[str], None] = lambda _line: None,
) -> list[Track]:  # fmt: skip
    """Write `out/FRAME.png` for every frame and `out/tracks.json`, forward, then backward.

    Raises:
        ConfigError: `out` is the folder of the frames.
        ImageError: a frame that cannot be read.
        ShapeError: a frame of another size.
        PromptError: the masks have another size than their frame.
    """
    if out.resolve() == given.frames[0].parent.resolve():
        raise ConfigError(f"{out}: holds the frames; write the masks into another folder")
    start = given.frames[given.start]
    first = _pixels(start)
    size = (first.shape[0], first.shape[1])
    for mask in given.objects.values():
        if mask.shape != size:
            raise PromptError(f"{start}: {size} pixels, its masks have {mask.shape}")
    out.mkdir(parents=True, exist_ok=True)
    tracks = {number: Track(number) for number in given.objects}
    _write(out, start, given.objects, size)
    for one in tracks.values():
        one.seen.append(start.stem)
    for ways in (given.frames[given.start + 1 :], given.frames[: given.start][::-1]):
        answers = propagated(model, first, _read(ways), given.objects)
        for path in ways:
            _put(out, path, next(answers, None), size, tracks, say)
    order = {path.stem: place for place, path in enumerate(given.frames)}
    for one in tracks.values():
        one.seen.sort(key=order.__getitem__)
    told = [{"object": t.number, "seen": t.seen, "ended": t.ended} for t in tracks.values()]
    (out / TRACKS).write_text(json.dumps({"start": start.stem, "tracks": told}, indent=2) + "\n")
    return list(tracks.values())


def _put(
    out: Path, path: Path, answer: FrameObjects | None, size: tuple[int, int],
    tracks: dict[int, Track], say: Callable[[str], None],
) -> None:  # fmt: skip
    """One frame's file, and what it means for the tracks. None: all have ended before."""
    masks = {} if answer is None else {n: one.mask for n, one in answer.seen.items()}
    if answer is not None:
        for number in masks:
            tracks[number].seen.append(path.stem)
        # The surer one is on top where two overlap.
        masks = dict(sorted(masks.items(), key=lambda item: answer.seen[item[0]].score))
        for number in answer.ended:
            tracks[number].ended.append(path.stem)
            say(f"{path.stem}: object {number} has not been seen for a while; it ends here")
    _write(out, path, masks, size)


def _write(out: Path, frame: Path, masks: dict[int, Mask], size: tuple[int, int]) -> None:
    painted = np.full(size, _NO_OBJECT, np.uint8)
    for number, mask in masks.items():
        painted[mask] = number
    (out / f"{frame.stem}.png").write_bytes(png_from_mask(painted))


def _read(paths: Sequence[Path]) -> Iterator[NDArray[np.uint8]]:
    return (_pixels(path) for path in paths)


def _pixels(path: Path) -> NDArray[np.uint8]:
    return image_from_bytes(path.read_bytes(), str(path))


def _order(path: Path) -> tuple[tuple[int, str, int], ...]:
    """Numbers in names by their value."""
    parts = re.findall(r"\d+|\D+", path.stem)
    return tuple((1, "", int(part)) if part.isdecimal() else (0, part, 0) for part in parts)
