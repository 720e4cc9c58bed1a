"""Typed ids; a `SampleId` is the hash of the encoded image, so every upload names itself."""

import hashlib
import re
from typing import NewType

SampleId = NewType("SampleId", str)  # 16 hex digits
VersionId = NewType("VersionId", str)  # 16 hex digits
EdgeId = NewType("EdgeId", str)  # chosen by the operator: letters, digits, "-", "_" and "."
RoundNumber = NewType("RoundNumber", int)  # 1, 2, 3 …

_EDGE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
# Names that Windows keeps for devices, with any ending; and it drops dots at the end.
_NOT_EVERYWHERE = re.compile(r"(?:con|prn|aux|nul|com[1-9]|lpt[1-9])(?:\..*)?\Z|.*\.\Z", re.I)


def sha256_hex(data: bytes) -> str:
    """64 hex digits of the SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sample_id_of(encoded_image: bytes) -> SampleId:
    """The id of an encoded image: the first 16 hex digits of its SHA-256."""
    return SampleId(sha256_hex(encoded_image)[:16])


def version_id_of(bundle_payload: bytes) -> VersionId:
    """The id of a model version: the first 16 hex digits of its payload's SHA-256."""
    return VersionId(sha256_hex(bundle_payload)[:16])


def edge_id(text: str) -> EdgeId:
    """Check an operator's name for an edge node; it becomes part of storage keys.

    Raises:
        ValueError: the name could leave its folder or is not portable.
    """
    if not _EDGE_ID.match(text):
        raise ValueError(
            f"edge id {text!r}: use 1 to 63 letters, digits, '-', '_' or '.', "
            "starting with a letter or digit"
        )
    if _NOT_EVERYWHERE.match(text):
        raise ValueError(
            f"edge id {text!r}: storage on Windows could not keep a folder of that name; "
            "choose one that is no device's and does not end with '.'"
        )
    return EdgeId(text)
