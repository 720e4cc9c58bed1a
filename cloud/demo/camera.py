"""The demo's camera: pictures appear in the folder that the edge watches."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cloud.demo.plan import DemoPlan
from cloud.demo.worlds import World, write_truth
from lifelong.links.durable_files import write_whole

GRACE_S = 3.0  # after the edge has nothing left to look at or to deliver


class Camera:
    """Shows pictures of one condition after another; remembers how many, across restarts."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world = world
        self._frames = folder / "frames"
        self._truth = folder / "truth"
        self._record = folder / "camera.json"
        self._seen = folder / "edge-state"
        self._ended: set[str] = set()
        self._idle_since: float | None = None  # monotonic seconds

    def show(self, condition: str, count: int) -> int:
        """Show up to `count` further pictures; answers how many there were."""
        self._idle_since = None
        shown = self.shown()
        start = shown.get(condition, 0)
        target = self._frames / condition
        target.mkdir(parents=True, exist_ok=True)
        number = 0
        for picture in self._world.stream(condition, start, count):
            # Labels first: nobody may ever meet a frame whose truth is not known yet.
            write_truth(self._truth / condition, picture)
            hidden = target / f".{picture.name}.part"
            hidden.write_bytes(picture.image)
            os.utime(hidden)
            hidden.replace(target / f"{picture.name}.jpg")
            number += 1
        if number < count:
            self._ended.add(condition)
        self._write({**shown, condition: start + number})
        return number

    def shown(self) -> dict[str, int]:
        """How many pictures of each condition were shown."""
        if not self._record.exists():
            return {}
        return {str(k): int(v) for k, v in json.loads(self._record.read_bytes()).items()}

    def is_ahead(self, condition: str) -> bool:
        """Is there something still under way, or nothing left to show?"""
        if condition in self._ended:
            return True
        if not self.all_seen() or self.edge_health().get("outbox_examples"):
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = time.monotonic()
        # What was delivered a moment ago has to reach the cloud before it can begin a round.
        idle = time.monotonic() - self._idle_since if self._idle_since else 0.0
        return self.shown().get(condition, 0) > 0 and idle < GRACE_S

    def all_seen(self) -> bool:
        """Has the edge looked at every picture shown?"""
        return self.seen() >= sum(self.shown().values())

    def seen(self) -> int:
        """How many pictures the edge has looked at, in all its lives."""
        try:
            lines = (self._seen / "frames.jsonl").read_text(encoding="utf-8").splitlines()
        except OSError:
            return 0
        return len(set(lines))

    def edge_health(self) -> dict[str, Any]:
        """What the edge last wrote of itself; empty before it has."""
        try:
            return dict(json.loads((self._seen / "health.json").read_bytes()))
        except (OSError, ValueError):
            return {}

    def for_refusal(self, plan: DemoPlan) -> str:
        """A condition for the round that is refused: one not met yet, or the last one again."""
        unmet = [c for c in self._world.conditions if c != plan.start and c not in plan.conditions]
        return unmet[0] if unmet else plan.conditions[-1]

    def _write(self, shown: Mapping[str, int]) -> None:
        write_whole(self._record, json.dumps(shown).encode())
