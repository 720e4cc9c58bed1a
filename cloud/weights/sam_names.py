"""Which SAMs there are and where their weights lie: known without torch, which loads slowly."""

import hashlib
from pathlib import Path

from cloud.weights.store import located, weights_in
from lifelong.errors import ConfigError, ModelLoadError

# Models of each type; the first one is meant where none is named.
SAM_MODELS: dict[str, tuple[str, ...]] = {
    "sam": ("vit_h", "vit_l", "vit_b"),
    "sam_hq": ("vit_h", "vit_l", "vit_b"),
    "sam2": ("large", "base_plus", "small", "tiny"),
    "mobile_sam": ("vit_t",),
    "tiny": (),
}
TINY_SAM_WEIGHTS = Path(__file__).parents[1] / "preannotation" / "weights" / "tiny_sam.safetensors"


def sam_model(type_: str, model: str | None, *, section: str) -> str:
    """The model that is meant; "" where its type has one only.

    Args:
        type_: one of SAM_MODELS.
        model: None where none is named.
        section: of the configuration, for the error: preannotation.masks.

    Raises:
        ConfigError: the type has no such model.
    """
    possible = SAM_MODELS[type_]
    if model is None:
        return possible[0] if possible else ""
    if model not in possible:
        what = f"expected one of {', '.join(possible)}" if possible else "leave it out"
        raise ConfigError(f"{section}.model: type {type_!r} has no model {model!r}; {what}")
    return model


def sam_name(type_: str, model: str) -> str:
    """What the catalogue of weights and people call it: sam_vit_b, mobile_sam, tiny_sam."""
    if type_ == "tiny":
        return "tiny_sam"
    return type_ if type_ == "mobile_sam" else f"{type_}_{model}"


def sam_weights(type_: str, model: str, checkpoint: Path | None, weights: Path | None) -> Path:
    """File or folder of the weights.

    Args:
        type_: one of SAM_MODELS.
        model: as `sam_model` gives it.
        checkpoint: the one that is named; None: what was pulled, and of `tiny` the shipped one.
        weights: where `cornerloop models pull` keeps weights; None: its usual place.

    Raises:
        ModelLoadError: nothing was pulled; says how to.
    """
    if checkpoint is not None:
        return checkpoint
    return TINY_SAM_WEIGHTS if type_ == "tiny" else located(sam_name(type_, model), weights)


def weights_files(place: Path) -> list[Path]:
    """The file itself, or the configuration and the weights of a transformers folder."""
    if place.is_dir():
        return [place / name for name in ("config.json", *weights_in(place))]
    return [place]


def weights_digest(place: Path) -> str:
    """SHA-256 of the weights, hex; of a single file that of the file.

    Raises:
        ModelLoadError: there is no such file, or it cannot be read.
    """
    digests = []
    for path in weights_files(place):
        try:
            with path.open("rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise ModelLoadError(
                f"{path}: cannot be read ({error.strerror}); expected the file or folder of "
                "the weights"
            ) from error
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()
