"""What lies in the inbox: deliveries that are complete, and whether they keep their promises."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from lifelong.errors import (
    ChecksumError,
    CorruptRecordError,
    ObjectNotFoundError,
    RecordError,
    ShapeError,
)
from lifelong.links.storage import Entry, Storage
from lifelong.records.device_records import from_device
from lifelong.records.ids import edge_id, sample_id_of, sha256_hex
from lifelong.records.keys import (
    IMAGE,
    MASK,
    RECORD,
    edge_mask_key,
    image_key,
    part_key,
)
from lifelong.records.pixels import image_from_bytes, mask_from_png
from lifelong.records.samples import HardExample

# What an edge may send: a broken one, or a hostile one, must not fill the service's memory.
MAX_BYTES = {RECORD: 2**20, IMAGE: 64 * 2**20, MASK: 32 * 2**20}
MAX_PARTS = 4096

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_VERSION = re.compile(r"[0-9a-f]{16}\Z")  # part of keys
_SCENE = re.compile(r"(?:[0-9a-f]{16})?\Z")


class GoneError(Exception):
    """Another service has taken this delivery a moment ago."""


class DamagedError(RecordError):
    """A delivery that lacks or spoils something; sent again it may be whole."""


@dataclass(slots=True)
class Folder:
    """One folder of the inbox as a listing told of it."""

    path: str  # inbox/{edge}/{sample}
    sizes: dict[str, int] = field(default_factory=dict)  # by name in the folder, bytes
    modified: datetime | None = None  # the newest object's, by the store's clock

    @property
    def is_complete(self) -> bool:
        """Has its record, which comes last, arrived?"""
        return RECORD in self.sizes

    @property
    def names(self) -> tuple[str, str]:
        """The edge and the sample that the folder is named for; "" where it has no such part."""
        parts = [*self.path.split("/")[1:], "", ""]
        return parts[0], parts[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A delivery that keeps all its promises."""

    example: HardExample  # with the keys that it will have
    image: bytes
    mask: bytes


def folders_of(entries: list[Entry]) -> list[Folder]:
    """The folders of a listing of the inbox, by path."""
    found: dict[str, Folder] = {}
    for entry in entries:
        parts = entry.key.split("/")
        depth = 3 if len(parts) > 3 else len(parts) - 1
        path = "/".join(parts[:depth])
        folder = found.setdefault(path, Folder(path))
        folder.sizes["/".join(parts[depth:])] = entry.size
        if folder.modified is None or entry.modified > folder.modified:
            folder.modified = entry.modified
    return [found[path] for path in sorted(found)]


def read_record(storage: Storage, folder: Folder) -> HardExample:
    """What a delivery says of itself; nothing of it is verified.

    Raises:
        GoneError: it has been taken.
        RecordError: too large, or no record.
    """
    _check_size(folder, RECORD, folder.sizes[RECORD])
    key = f"{folder.path}/{RECORD}"
    try:
        return from_device(HardExample, storage.get(key), key)
    except ObjectNotFoundError as error:
        raise GoneError from error
    except CorruptRecordError as error:
        raise DamagedError(str(error)) from error


def verified(storage: Storage, folder: Folder, example: HardExample) -> Delivery:
    """Read the files that a record names, and check everything that it says of them.

    Raises:
        GoneError: another service has taken it.
        DamagedError: something is missing or not the bytes that were promised.
        RecordError: what it says can never be right.
    """
    where = folder.path
    try:
        edge_id(example.edge_id)
    except ValueError as error:
        raise RecordError(f"{where}: {error}") from error
    if folder.names != (example.edge_id, example.sample_id):
        raise RecordError(f"{where}: its record says {example.edge_id}/{example.sample_id}")
    if not _VERSION.match(example.version_id) or not _SCENE.match(example.scene_hash):
        raise RecordError(f"{where}: the version or the scene it names has no name of ours")
    image = _file(storage, folder, IMAGE, example.image_sha256, example.parts)
    if sample_id_of(image) != example.sample_id:
        raise RecordError(f"{where}: the image is not the one that its sample id names")
    mask = _file(storage, folder, MASK, example.mask_sha256, example.parts)
    size = (example.height, example.width)
    if image_from_bytes(image, f"{where}/{IMAGE}").shape[:2] != size:
        raise ShapeError(f"{where}/{IMAGE}: is not {size[1]}x{size[0]} as its record says")
    if mask_from_png(mask, f"{where}/{MASK}").shape != size:
        raise ShapeError(f"{where}/{MASK}: is not {size[1]}x{size[0]} as its record says")
    kept = replace(
        example,
        image_key=image_key(example.sample_id),
        mask_key=edge_mask_key(example.sample_id),
        parts={},
        wants_receipt=False,
    )
    return Delivery(example=kept, image=image, mask=mask)


def _file(
    storage: Storage,
    folder: Folder,
    name: str,
    sha256: str,
    parts: Mapping[str, tuple[str, ...]],
) -> bytes:
    hashes = parts.get(name)
    if hashes is None:
        return _object(storage, folder, name, name, sha256)
    if len(hashes) > MAX_PARTS or not all(_SHA256.match(part) for part in hashes):
        raise RecordError(f"{folder.path}/{name}: its list of parts is none, or too long")
    names = [part_key(folder.path, part).removeprefix(f"{folder.path}/") for part in hashes]
    _check_size(folder, name, sum(folder.sizes.get(part, 0) for part in names))
    pieces = [
        _object(storage, folder, part, name, sha256_)
        for part, sha256_ in zip(names, hashes, strict=True)
    ]
    data = b"".join(pieces)
    if sha256_hex(data) != sha256:
        raise DamagedError(f"{folder.path}/{name}: its parts do not make the promised file")
    return data


def _object(storage: Storage, folder: Folder, name: str, of: str, sha256: str) -> bytes:
    """An object of a delivery, not read before its size is known to be within the limit."""
    key = f"{folder.path}/{name}"
    size = storage.size(key)
    if size is not None:
        _check_size(folder, of, size)
        try:
            return storage.get(key, sha256=sha256)
        except ChecksumError as error:
            raise DamagedError(str(error)) from error
        except ObjectNotFoundError:
            pass
    if not storage.exists(f"{folder.path}/{RECORD}"):
        raise GoneError  # who admits or refuses a delivery takes its record away first
    raise DamagedError(f"{key}: missing, although its record has arrived")


def _check_size(folder: Folder, name: str, size: int) -> None:
    if size > MAX_BYTES[name]:
        raise RecordError(
            f"{folder.path}/{name}: {size} bytes, more than the {MAX_BYTES[name]} that are read"
        )
