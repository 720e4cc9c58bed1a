"""The words that label-studio-ml's SAM backends were started with, as our own configuration.

`model_name=sam sam_config=vit_b sam_checkpoint_file=./sam_vit_b_01ec64.pth device=cuda:0
out_mask=True`, as the commands of the playground print them.
"""

import re
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath

from annotation.assist.switches import is_on
from cloud.weights.sam_names import SAM_MODELS
from lifelong.errors import ConfigError
from lifelong.sections.assist import AssistModelSection, AssistSection

_MODEL_WORDS = ("model_name", "sam_config", "sam_checkpoint_file")
_SWITCHES = ("out_mask", "out_poly", "out_bbox")
SEED_WORDS = (*_MODEL_WORDS, "device", *_SWITCHES)

# Of the playground: what is meant where a size or a file is named and no model.
_USUAL = "sam_hq"
_SIZES = re.compile(r"vit_([bhlt])(?![a-z])|vit_(tiny)")


def assist_from_seed_words(words: Mapping[str, str], section: AssistSection) -> AssistSection:
    """The section with what the words say put in the place of its own.

    Raises:
        ConfigError: an unknown word, a value that is not possible, or words that do not fit each
            other or the checkpoint; says what would.
    """
    unknown = [word for word in words if word not in SEED_WORDS]
    if unknown:
        raise ConfigError(
            f"{unknown[0]}={words[unknown[0]]}: not known; expected {', '.join(SEED_WORDS)}"
        )
    changes: dict[str, object] = {}
    if any(words.get(word) for word in _MODEL_WORDS):
        changes["model"] = section_from_seed_words(words)
    if words.get("device"):
        changes["device"] = words["device"]
    for word in _SWITCHES:
        if words.get(word):
            changes[word] = is_on(words, word, None)
    return section.model_copy(update=changes)


def section_from_seed_words(words: Mapping[str, str]) -> AssistModelSection:
    """The model that `model_name`, `sam_config` and `sam_checkpoint_file` mean; others are left.

    Nothing is read: a checkpoint is judged by the name its publishers gave it here, and by what it
    holds when it is loaded.

    Raises:
        ConfigError: see `assist_from_seed_words`.
    """
    checkpoint = words.get("sam_checkpoint_file", "")
    # A path as PowerShell writes it is no name of one file here.
    path = Path(PureWindowsPath(checkpoint).as_posix()) if checkpoint else None
    told = _told_by_name(path)
    type_ = words.get("model_name") or (told[0] if told else _USUAL)
    if type_ not in SAM_MODELS:
        raise ConfigError(f"model_name={type_}: not known; expected one of {', '.join(SAM_MODELS)}")
    model = words.get("sam_config") or None
    if model is None and SAM_MODELS[type_]:
        fits = told is not None and told[0] == type_ and told[1] in SAM_MODELS[type_]
        model = told[1] if told is not None and fits else SAM_MODELS[type_][-1]
    _check(type_, model, path, told)
    return AssistModelSection.model_validate({"type": type_, "model": model, "checkpoint": path})


def _told_by_name(path: Path | None) -> tuple[str, str] | None:
    """Type and model of a published file by its name, sam_hq_vit_l.pth; None: it tells nothing."""
    if path is None:
        return None
    name = path.name.lower()
    if name.startswith(("mobile_sam", "mobilesam")):
        return "mobile_sam", "vit_t"
    if name.startswith(("sam2", "sam2.1")):
        size = next((s for s in SAM_MODELS["sam2"] if s in name), "")
        return ("sam2", size) if size else None
    found = _SIZES.search(name)
    if found is None or not name.startswith("sam_"):
        return None
    return "sam_hq" if name.startswith("sam_hq_") else "sam", f"vit_{found[1] or found[2]}"


def _check(type_: str, model: str | None, path: Path | None, told: tuple[str, str] | None) -> None:
    possible = SAM_MODELS[type_]
    if model is not None and model not in possible:
        owners = [other for other, models in SAM_MODELS.items() if model in models]
        fits = f"; {model} is of model_name={owners[0]}" if owners else ""
        what = f"expected sam_config={' or '.join(possible)}" if possible else "leave it out"
        raise ConfigError(f"model_name={type_} sam_config={model}: {what}{fits}")
    if told is None or told == (type_, model):
        return
    right = f"model_name={told[0]} sam_config={told[1]}"
    if told[1] not in SAM_MODELS[told[0]]:
        right = f"{told[0]} {told[1]}, which is not served here"
    raise ConfigError(
        f"sam_checkpoint_file={path}: by its name the weights of {right}, not of "
        f"model_name={type_} sam_config={model}; change one of them"
    )
