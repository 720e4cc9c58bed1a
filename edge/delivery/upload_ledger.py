"""The ledger: what has left this node in the last two days, by a clock that nobody can cheat.

Time is counted in seconds that have certainly passed. While the machine runs they are those of
its boot clock. Between two boots they are what the wall clock says, within limits: at least none,
at most a day, and none at all when the wall clock jumped during the boot before. So a jump back
across a reboot only makes the node wait longer; a jump ahead may bring one budget too early for
each such reboot, and no more.

A line is on the disk before its bytes leave, so a kill never makes a byte unseen. The moment at
which they had left comes with the next line; after a kill, the last line counts as ten minutes
later, or as of the restart.
"""

import json
import logging
import math
import os
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from edge.boot_clock import Moment, read_moment
from lifelong.links.durable_files import sync_folder, write_whole

logger = logging.getLogger(__name__)

HOUR_S, DAY_S = 3600.0, 86400.0
KEPT_S = 2 * DAY_S
JUMP_S = 600.0  # the wall clock drifts, and is corrected by seconds; more is a jump
IN_FLIGHT_S = 600.0  # storage's requests end sooner, however they end
MERGED_S = 60.0  # old lines within so many seconds become one, dated as the last of them
REWRITTEN_FROM = 4096  # lines


@dataclass(slots=True)
class _Spent:
    at: float  # counted seconds at which it had left
    size: int  # bytes
    samples: int


class Ledger:
    """What was spent, on disk; only one process has it (the node's state is locked)."""

    def __init__(self, path: Path, clock: Callable[[], Moment] = read_moment) -> None:
        self._path = path
        self._clock = clock
        self._spent: deque[_Spent] = deque()
        self._owed = b""  # lines that a full disk did not take
        self._lines = 0
        self._is_leaving = False
        path.parent.mkdir(parents=True, exist_ok=True)
        self._began, self._last = clock(), 0.0
        self._offset = self._read()
        self._rewrite()

    def now(self) -> float:
        """Seconds counted since this ledger began; never goes back."""
        self._last = max(self._last, self._offset + self._clock().up - self._began.up)
        return self._last

    def spend(self, size: int, samples: int = 0) -> None:
        """Write down what is about to leave; on the disk when this returns.

        A disk that is full does not hold deliveries up, which are what empties it: the line is
        remembered, and written with the next one.
        """
        self.left()
        if self._lines >= REWRITTEN_FROM:
            self._rewrite()
        spent = _Spent(self.now(), size, samples)
        settled = self._spent[-1].at if self._spent else spent.at
        self._spent.append(spent)
        self._is_leaving = True
        self._append(self._line(spent, settled))

    def left(self) -> None:
        """What was spent last has left by now, or has failed to."""
        if self._is_leaving:
            self._is_leaving = False
            self._spent[-1].at = self.now()

    def bytes_since(self, at: float, until: float = math.inf) -> int:
        """Bytes that left at or after `at` and before `until`, counted seconds."""
        return sum(s.size for s in self._recent(at) if s.at < until)

    def samples_since(self, at: float) -> int:
        """Samples that left at or after `at`, counted seconds."""
        return sum(s.samples for s in self._recent(at))

    def _recent(self, at: float) -> list[_Spent]:
        found = []
        for spent in reversed(self._spent):
            if spent.at < at:
                break
            found.append(spent)
        return found

    def _line(self, spent: _Spent, settled: float) -> bytes:
        moment = self._clock()
        body = json.dumps(
            {
                "at": spent.at,
                "settled": settled,
                "bytes": spent.size,
                "samples": spent.samples,
                "boot": moment.boot,
                "up": moment.up,
                "wall": moment.wall,
            }
        )
        return f"{zlib.crc32(body.encode()):08x} {body}\n".encode()

    def _append(self, line: bytes) -> None:
        self._owed += line
        try:
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                written = os.write(handle, self._owed)
                self._owed = self._owed[written:]
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            logger.warning("%s: what leaves is remembered in memory only: %s", self._path, error)
        self._lines += 1

    def _read(self) -> float:
        """Take in what was spent before; returns the counted seconds of this moment."""
        lines = _whole_lines(self._path)
        if not lines:
            return 0.0
        self._last = lines[-1].at
        for line, after in zip(lines, [*lines[1:], None], strict=True):
            at = max(line.at, after.settled) if after else line.at
            self._spent.append(_Spent(at, line.size, line.samples))
        now = max(self._last, *(s.at for s in self._spent)) + _passed(lines, self._began)
        # Nobody saw the last one leave: it may have done so until now.
        self._spent[-1].at = min(now, self._spent[-1].at + IN_FLIGHT_S)
        return now

    def _rewrite(self) -> None:
        """Forget what is too old, merge what is near, and pin the present moment."""
        oldest, kept = self.now() - KEPT_S, deque[_Spent]()
        for spent in self._spent:
            if spent.at < oldest:
                continue
            if kept and int(kept[-1].at // MERGED_S) == int(spent.at // MERGED_S):
                last = kept[-1]
                kept[-1] = _Spent(spent.at, last.size + spent.size, last.samples + spent.samples)
            else:
                kept.append(spent)
        self._spent = kept
        written = [_Spent(oldest, 0, 0), *kept, _Spent(self.now(), 0, 0)]
        lines = [self._line(spent, before.at) for before, spent in pairwise(written)]
        try:
            write_whole(self._path, b"".join(lines))
            self._owed = b""
        except OSError as error:
            logger.warning("%s: cannot be rewritten: %s", self._path, error)
        else:
            sync_folder(self._path.parent)
        self._lines = len(lines)


@dataclass(frozen=True, slots=True)
class _Line:
    at: float
    settled: float
    size: int
    samples: int
    moment: Moment


def _whole_lines(path: Path) -> list[_Line]:
    """The lines of a ledger in the order in which they were written; damaged ones are told."""
    found: list[_Line] = []
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        logger.warning("%s: cannot be read, counted afresh: %s", path, error)
        return []
    for number, text in enumerate(content.splitlines(), 1):
        try:
            check, _, body = text.partition(b" ")
            if int(check, 16) != zlib.crc32(body):
                raise ValueError("its checksum is wrong")
            line = json.loads(body)
            moment = Moment(str(line["boot"]), float(line["up"]), float(line["wall"]))
            found.append(
                _Line(
                    float(line["at"]),
                    float(line["settled"]),
                    int(line["bytes"]),
                    int(line["samples"]),
                    moment,
                )
            )
        except (ValueError, KeyError, TypeError) as error:
            logger.warning("%s:%d: passed over: %s", path, number, error)
    return found


def _passed(lines: list[_Line], now: Moment) -> float:
    """Seconds that have certainly passed since the last of `lines`."""
    last = lines[-1].moment
    if last.boot == now.boot:
        return max(0.0, now.up - last.up)
    offsets = [one.moment.wall - one.moment.up for one in lines if one.moment.boot == last.boot]
    if max(offsets) - min(offsets) > JUMP_S:
        logger.warning("the clock jumped before this boot: only the time since it counts")
        return now.up
    # Off from the last line until this boot began, if the wall clock is right.
    return now.up + min(max(0.0, now.wall - now.up - last.wall), DAY_S + IN_FLIGHT_S)
