"""Public weights by name: what they are, where they come from, how big, under which licence.

The records lie in `catalogue.json`. A figure there was read in a public source; what no
source says is null, never a guess. A file that is not in the catalogue is named by its address
and hash, `https://HOST/FILE#sha256=HEX`.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from pydantic import TypeAdapter

from lifelong.errors import ModelLoadError

CATALOGUE_FILE = Path(__file__).with_name("catalogue.json")
# The hub's own address; HF_ENDPOINT or `--from` may name a mirror of it.
HUB_ENDPOINT = "https://huggingface.co"
_HASH = re.compile(r"sha256=([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry:
    """One model of the catalogue."""

    name: str  # as `cornerloop models pull` takes it
    what: str  # one line for people
    kind: Literal["file", "hub"]  # one file, or a folder as transformers saves it
    source: str  # the file's address, or the id on the hub
    licence: str  # as its publisher writes it
    revision: str = "main"  # of a hub id
    filename: str | None = None  # of a file
    # Of the file, or of a hub folder's model.safetensors; None: not published where we looked.
    size: int | None = None  # bytes
    sha256: str | None = None  # hex digits
    sha256_begins: str | None = None  # the digits in the names of torchvision's files
    md5: str | None = None  # the digits in the names of the SAM files are the first of these
    about: str = ""  # the size in words where bytes are not published


@cache
def catalogue() -> dict[str, CatalogueEntry]:
    """Every entry by its name, in the catalogue's order."""
    entries = TypeAdapter(list[CatalogueEntry]).validate_json(CATALOGUE_FILE.read_bytes())
    return {entry.name: entry for entry in entries}


def entry_named(name: str) -> CatalogueEntry:
    """The entry of that name or hub id; any hub id gets an entry, about which nothing is known,
    and so does an address with a hash.

    Raises:
        ModelLoadError: neither a name of the catalogue nor a hub id, or an address without a hash.
    """
    if name.startswith(("https://", "http://")):
        return _entry_at(name)
    for entry in catalogue().values():
        if name == entry.name or (entry.kind == "hub" and name == entry.source):
            return entry
    organisation, _, model = name.partition("/")
    parts = (organisation, model)
    if all(p and p == Path(p).name and not p.startswith(".") for p in parts):
        return CatalogueEntry(
            name=name, what="not in the catalogue", kind="hub", source=name, licence="unknown"
        )
    raise ModelLoadError(
        f"{name}: no model of the catalogue and no hub id ORGANISATION/NAME; "
        f"`cornerloop models list` shows: {', '.join(catalogue())}"
    )


def _entry_at(named: str) -> CatalogueEntry:
    """A file by its address; its hash is part of its name, so that two never share a place."""
    address, _, fragment = named.partition("#")
    filename = Path(unquote(urlsplit(address).path)).name
    digits = _HASH.fullmatch(fragment)
    if digits is None or not filename:
        raise ModelLoadError(
            f"{named}: an address of weights ends in FILE#sha256= and the 64 hex digits of the "
            "file's SHA-256; without them nobody knows what came"
        )
    return CatalogueEntry(
        name=named, what="not in the catalogue", kind="file", source=address, licence="unknown",
        filename=f"{digits[1][:16]}-{filename}", sha256=digits[1],
    )  # fmt: skip
