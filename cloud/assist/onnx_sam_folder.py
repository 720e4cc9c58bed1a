"""The folder that `cornerloop models export` writes: graphs, and `model.json` that describes them.

Nothing in it is code, and nothing is taken for good before its hash was compared: a file that was
cut, changed or mixed up with another export is refused with what to do.
"""

import hashlib
from pathlib import Path, PurePath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from lifelong.errors import ModelLoadError

DESCRIPTION = "model.json"
FLOAT32, INT8 = "float32", "int8"
_AGAIN = "`cornerloop models export` writes it anew"
_BLOCK = 1 << 20


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OnnxFile(_Part):
    """One file of the folder."""

    name: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size: int  # bytes

    @field_validator("name")
    @classmethod
    def _stays_here(cls, name: str) -> str:
        if name != PurePath(name).name or name in {"", ".", ".."} or "\\" in name:
            raise ValueError(f"{name!r} is no file of this folder")
        return name


class OnnxGraph(_Part):
    """A graph, and the file of its weights where they do not fit into one of 2 GB."""

    graph: OnnxFile
    weights: OnnxFile | None = None

    @property
    def files(self) -> tuple[OnnxFile, ...]:
        """All that belong to it."""
        return (self.graph,) if self.weights is None else (self.graph, self.weights)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


class Int8Loss(_Part):
    """What the int8 encoder loses beside the float32 one, measured when it was made."""

    method: str  # static or dynamic
    calibrated_on: int  # pictures; 0 where the method needs none
    pictures: int  # that were examined, none of them calibrated on
    prompts: int
    iou_with_float32: float  # mean IoU of the two encoders' masks, 0 .. 1
    worst_iou_with_float32: float  # of the tenth of the prompts that differ most, mean
    iou_with_truth: float | None  # of int8; None where the pictures have no truth
    iou_with_truth_float32: float | None
    size_ratio: float  # bytes of int8 over float32
    time_ratio: float  # seconds of int8 over float32, on the machine that exported
    words: str


class OnnxSamDescription(_Part):
    """`model.json`."""

    schema_version: Literal[1] = Field(alias="schema", default=1)
    kind: Literal["segment-anything"] = "segment-anything"
    name: str  # as the configuration says it, e.g. sam_vit_b
    side: int = Field(ge=16)  # of the encoder's square, pixels
    stride: int = Field(ge=1)  # pixels of that square a cell of the embedding
    mean: tuple[float, float, float]  # of pixels in 0 .. 255; red, green, blue
    std: tuple[float, float, float]
    takes_masks: bool
    stability_offset: float
    opset: int
    exported_from: str  # type, model and file of the weights, for people
    weights_sha256: str = Field(pattern="^[0-9a-f]{64}$")  # of what was exported
    made_with: dict[str, str]  # versions of the libraries
    # Largest difference to torch when the export was checked, as a share of the largest value.
    embedding_difference: float
    logit_difference: float
    encoder: OnnxGraph
    decoder: OnnxGraph
    encoder_int8: OnnxGraph | None = None
    int8: Int8Loss | None = None

    @property
    def low_res_side(self) -> int:
        """Of the square logits that the decoder answers with, and takes as a mask."""
        return 4 * (self.side // self.stride)

    def encoder_of(self, precision: str) -> OnnxGraph | None:
        """float32 or int8; None where there is no such encoder."""
        return {FLOAT32: self.encoder, INT8: self.encoder_int8}.get(precision)

    def to_json(self) -> str:
        """As it stands in the file."""
        return self.model_dump_json(by_alias=True, indent=1) + "\n"


def read_description(folder: Path) -> OnnxSamDescription:
    """What the folder says it holds.

    Raises:
        ModelLoadError: no such folder, no `model.json` in it, or one that says something else.
    """
    where = folder / DESCRIPTION
    if not folder.is_dir():
        raise ModelLoadError(
            f"{folder}: no such folder; expected one that `cornerloop models export` wrote"
        )
    if not where.is_file():
        raise ModelLoadError(f"{where}: no such file, so this is no exported SAM; {_AGAIN}")
    try:
        return OnnxSamDescription.model_validate_json(where.read_bytes())
    except (ValidationError, OSError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else str(error)
        raise ModelLoadError(f"{where}: not the description of an export ({what}); {_AGAIN}") from (
            error
        )


def verify(folder: Path, graph: OnnxGraph) -> Path:
    """The path of a graph whose files are what the description says.

    Raises:
        ModelLoadError: a file is missing, or has other bytes; names it.
    """
    for file in graph.files:
        path = folder / file.name
        if not path.is_file():
            raise ModelLoadError(f"{path}: no such file; {_AGAIN}, or copy the whole folder again")
        found = path.stat().st_size
        if found != file.size or sha256_of(path) != file.sha256:
            raise ModelLoadError(
                f"{path}: {found:,} bytes that are not those that were exported "
                f"({file.size:,} bytes, SHA-256 {file.sha256[:12]}…); copy the folder again, or "
                f"{_AGAIN}"
            )
    return folder / graph.graph.name


def described_file(path: Path) -> OnnxFile:
    """Name, hash and size of a file as it is now."""
    return OnnxFile(name=path.name, sha256=sha256_of(path), size=path.stat().st_size)


def sha256_of(path: Path) -> str:
    """Of the file's bytes, hex; read in blocks, since weights are large.

    Raises:
        ModelLoadError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise ModelLoadError(f"{path}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()
