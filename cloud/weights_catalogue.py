"""Public weights by name: what they are, where they come from, how big, under which licence.

The records lie in `weights_catalogue.json`. A figure there was read in a public source; what no
source says is null, never a guess.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from lifelong.errors import ModelLoadError

CATALOGUE_FILE = Path(__file__).with_name("weights_catalogue.json")
# The hub's own address; HF_ENDPOINT or `--from` may name a mirror of it.
HUB_ENDPOINT = "https://huggingface.co"


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
    # Bytes of the file, or of a hub folder's weights; None: not published where we could read it.
    size: int | None = None
    # Hex digits of the file, or of a hub folder's weights; None: not published, likewise.
    sha256: str | None = None
    md5: str | None = None
    # Files of a hub folder that lie elsewhere: name -> path on the hub.
    extra_files: dict[str, str] | None = None


@cache
def catalogue() -> dict[str, CatalogueEntry]:
    """Every entry by its name, in the catalogue's order."""
    entries = TypeAdapter(list[CatalogueEntry]).validate_json(CATALOGUE_FILE.read_bytes())
    return {entry.name: entry for entry in entries}


def entry_named(name: str) -> CatalogueEntry:
    """The entry of that name or hub id; any hub id gets an entry, about which nothing is known.

    Raises:
        ModelLoadError: neither a name of the catalogue nor a hub id.
    """
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
