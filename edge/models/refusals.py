"""What this node will not take again: refused releases, and numbers below the highest accepted.

Kept as `refused.json` and `accepted.json` beside the models, so that a restart forgets neither.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from lifelong.errors import LabelMapError, LifelongError, SignatureError
from lifelong.links.durable_files import write_whole
from lifelong.links.journal import Journal
from lifelong.records.ids import VersionId
from lifelong.records.wire import json_object

logger = logging.getLogger(__name__)

KEPT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One release that is not taken, and why."""

    version_id: VersionId  # "unknown" when the release could not be read
    reason: str
    # Of the key ring whose keys did not cover it: another ring gives it a new chance. None: the
    # reason has nothing to do with keys and stands for ever.
    ring: int | None = None
    # Digest of the node's classes that it did not fit: with others it gets a new chance.
    label_map: str | None = None


class Refusals:
    """Remembers refusals by the release's name, and the highest number that was believed."""

    def __init__(self, folder: Path, journal: Journal, label_map_digest: str = "") -> None:
        """Args: `label_map_digest` is that of the node's classes."""
        self._folder = folder
        self._label_map = label_map_digest
        self._journal = journal
        self._by_name = self._read_refused()
        self._highest = self._read_highest()

    @property
    def highest(self) -> int:
        """The highest number of a release that this node has believed; 0 before the first."""
        return self._highest

    @property
    def newest(self) -> Refusal | None:
        """The last one; None when nothing was refused."""
        return next(reversed(self._by_name.values()), None)

    def all(self) -> tuple[Refusal, ...]:
        """Oldest first, at most so many as are kept."""
        return tuple(self._by_name.values())

    def stands(self, name: str, ring: int) -> bool:
        """Was this release refused, and would it be again with this ring's keys and our classes?"""
        found = self._by_name.get(name)
        if found is None or found.label_map not in {None, self._label_map}:
            return False
        return found.ring in {None, ring}

    def add(self, name: str, version_id: VersionId, error: Exception, *, ring: int) -> None:
        """Remember a refusal and say why in the journal: `model.refused`."""
        reason = str(error)
        logger.warning("refused model %s: %s", version_id, reason)
        kind = type(error).__name__
        self._journal.event("model.refused", version_id=version_id, reason=reason, error=kind)
        refusal = Refusal(
            version_id=version_id,
            reason=reason,
            ring=ring if isinstance(error, SignatureError) else None,
            label_map=self._label_map if isinstance(error, LabelMapError) else None,
        )
        self._by_name.pop(name, None)
        self._by_name = dict([*self._by_name.items(), (name, refusal)][-KEPT:])
        content = {
            "schema": 1,
            "refused": {
                name: {
                    "version_id": r.version_id,
                    "reason": r.reason,
                    "ring": r.ring,
                    "label_map": r.label_map,
                }
                for name, r in self._by_name.items()
            },
        }
        self._write("refused.json", content)

    def believed(self, number: int) -> None:
        """A release of this number was believed: lower ones are replays from now on."""
        if number > self._highest:
            self._highest = number
            self._write("accepted.json", {"schema": 1, "number": number})

    def _write(self, name: str, content: dict[str, object]) -> None:
        try:
            write_whole(self._folder / name, json.dumps(content, indent=1).encode())
        except OSError as error:
            logger.warning("%s is not on the disk, only in memory: %s", name, error)

    def _read_refused(self) -> dict[str, Refusal]:
        entries = self._read("refused.json").get("refused", {})
        if not isinstance(entries, dict):
            logger.warning("earlier refusals are not known")
            return {}
        return {str(name): _refusal(entry) for name, entry in entries.items()}

    def _read_highest(self) -> int:
        number = self._read("accepted.json").get("number", 0)
        return number if isinstance(number, int) else 0

    def _read(self, name: str) -> dict[str, object]:
        path = self._folder / name
        try:
            return json_object(path.read_bytes(), str(path))
        except FileNotFoundError:
            return {}
        except (OSError, LifelongError) as error:
            logger.warning("what was refused before is not known: %s", error)
            return {}


def _refusal(entry: object) -> Refusal:
    if not isinstance(entry, dict):  # as versions before 0.5 wrote it: the reason alone
        return Refusal(version_id=VersionId("unknown"), reason=str(entry))
    ring, label_map = entry.get("ring"), entry.get("label_map")
    return Refusal(
        version_id=VersionId(str(entry.get("version_id", "unknown"))),
        reason=str(entry.get("reason", "")),
        ring=ring if isinstance(ring, int) else None,
        label_map=label_map if isinstance(label_map, str) else None,
    )
