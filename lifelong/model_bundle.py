"""`ModelBundle`: ONNX + manifest in one self-delimiting, checksummed file.

Layout, big-endian:

    8 bytes   magic "CLBUNDLE"
    2 bytes   format number, 1
    8 bytes   payload length n
    32 bytes  SHA-256 of the payload
    n bytes   payload: a zip, entries stored, exactly `manifest.json` and `model.onnx`

Whatever follows the payload is not read: Sedna copies a new bundle over an old one without
truncating it. Nothing in a bundle is ever unpickled.
"""

import io
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field

from lifelong.errors import ChecksumError, CorruptRecordError
from lifelong.preprocessing import Preprocessing
from lifelong.records.ids import RoundNumber, VersionId, sha256_hex, version_id_of
from lifelong.records.label_map import LabelMap
from lifelong.records.novelty import Familiarity
from lifelong.records.wire import from_json, to_json

MAGIC = b"CLBUNDLE"
FORMAT = 1
_HEADER = struct.Struct(">8sHQ32s")
MAX_PAYLOAD = 2 * 1024**3
_ENTRIES = ("manifest.json", "model.onnx")


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleManifest:
    """What a bundle says of its model."""

    label_map: LabelMap
    preprocessing: Preprocessing
    network: str
    weights_sha256: str
    parent: VersionId | None = None
    round_number: RoundNumber = RoundNumber(0)
    strategy: str = ""
    # Quantiles of the frame scores on pictures the model was trained for, by score name and
    # then by quantile ("0.50", "0.90" …): how unsure is unusual for this model.
    score_quantiles: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    # What it was trained for, in the numbers that tell the known from the new; may be empty.
    familiarity: Familiarity = field(default_factory=Familiarity)
    precision: str = "fp32"  # what it computes with: fp32, fp16, int8
    precision_loss: float = 0.0  # of mIoU beside fp32 on the same pictures; negative: it won


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelBundle:
    """A verified bundle in memory."""

    version_id: VersionId
    sha256: str  # of the whole file
    manifest: BundleManifest
    onnx: bytes

    def to_bytes(self) -> bytes:
        """The file again, byte for byte."""
        return _framed(_payload(self.manifest, self.onnx))


def make_bundle(manifest: BundleManifest, onnx: bytes) -> ModelBundle:
    """Pack a model; equal input gives an equal file and an equal version id."""
    payload = _payload(manifest, onnx)
    return ModelBundle(
        version_id=version_id_of(payload),
        sha256=sha256_hex(_framed(payload)),
        manifest=manifest,
        onnx=onnx,
    )


def read_bundle(data: bytes, where: str) -> ModelBundle:
    """Verify and open a bundle file; bytes behind the payload are passed over.

    Raises:
        CorruptRecordError: not a bundle, truncated, or of another format; names `where`.
        ChecksumError: the payload is not the one its header names.
    """
    if len(data) < _HEADER.size or data[:8] != MAGIC:
        raise CorruptRecordError(f"{where}: not a model bundle (first bytes {data[:8]!r})")
    _, number, length, digest = _HEADER.unpack_from(data)
    if number != FORMAT:
        raise CorruptRecordError(f"{where}: bundle format {number}, this version reads {FORMAT}")
    payload = data[_HEADER.size : _HEADER.size + length]
    if length > MAX_PAYLOAD or len(payload) < length:
        raise CorruptRecordError(
            f"{where}: truncated bundle, {len(payload)} of {length} payload bytes; fetch it again"
        )
    if sha256_hex(payload) != digest.hex():
        raise ChecksumError(f"{where}: the bundle's payload does not match its SHA-256")
    manifest, onnx = _unpacked(payload, where)
    return ModelBundle(
        version_id=version_id_of(payload),
        sha256=sha256_hex(data[: _HEADER.size + length]),
        manifest=manifest,
        onnx=onnx,
    )


def _framed(payload: bytes) -> bytes:
    digest = bytes.fromhex(sha256_hex(payload))
    return _HEADER.pack(MAGIC, FORMAT, len(payload), digest) + payload


def _payload(manifest: BundleManifest, onnx: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in zip(_ENTRIES, (to_json(manifest), onnx), strict=True):
            # A fixed date: the same model packs to the same bytes at any hour.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    return buffer.getvalue()


def _unpacked(payload: bytes, where: str) -> tuple[BundleManifest, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(payload)) as archive:
            entries = archive.infolist()
            if tuple(entry.filename for entry in entries) != _ENTRIES:
                raise CorruptRecordError(
                    f"{where}: a bundle holds {' and '.join(_ENTRIES)}, "
                    f"this one {[entry.filename for entry in entries]}"
                )
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise CorruptRecordError(f"{where}: compressed entries are not accepted")
            manifest, onnx = (archive.read(entry) for entry in entries)
    except (zipfile.BadZipFile, ValueError, EOFError, RuntimeError) as error:
        # The last one of encrypted entries, and as NotImplementedError of newer archives.
        raise CorruptRecordError(f"{where}: unreadable bundle payload ({error})") from error
    return from_json(BundleManifest, manifest, f"{where}!manifest.json"), onnx
