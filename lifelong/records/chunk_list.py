"""`ChunkList`: of which content-addressed pieces a version's bundle consists."""

import re
from dataclasses import dataclass

from lifelong.records.ids import VersionId

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One piece; the same bytes in two bundles are one object in storage."""

    sha256: str  # 64 hex digits, lower case
    size: int  # bytes

    def __post_init__(self) -> None:
        # The hash becomes part of a key and of a file's name.
        if not _SHA256.match(self.sha256) or self.size < 1:
            raise ValueError(f"no chunk: {self.sha256[:80]!r} of {self.size} bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkList:
    """A bundle as its chunks in order, `models/{version_id}.chunks.json`.

    Nobody signs it: what is joined by it must have the SHA-256 that the signed release names.
    """

    version_id: VersionId
    chunks: tuple[Chunk, ...]

    @property
    def size(self) -> int:
        """Bytes of the whole bundle."""
        return sum(chunk.size for chunk in self.chunks)
