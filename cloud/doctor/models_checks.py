"""The doctor's look at weights: those that drafts need, and what a first student begins with."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from cloud.doctor.checks import Finding, Patient, broken, warning, well
from cloud.weights.catalogue import CatalogueEntry, entry_named
from cloud.weights.check import check
from cloud.weights.store import is_present, place_of, weights_folder
from lifelong.errors import ModelLoadError
from lifelong.sections.drafting import MasksSection, PreannotationSection
from lifelong.sections.training import SCRATCH

# What is meant where `preannotation.masks.model` names none; the same as `sam/by_name.py` says,
# which takes seconds to import.
USUAL_SIZES = {"sam": "vit_h", "sam_hq": "vit_h", "sam2": "large"}


def weights_of_drafts(section: PreannotationSection) -> Iterator[tuple[str, str]]:
    """What a drafter loads that is not shipped: (key of the configuration, name or path)."""
    if section.method in {"closed_set", "open_vocabulary", "text_prompts"}:
        yield from _masks(section.masks)
    if section.method == "closed_set" and section.semantic.model is not None:
        yield "preannotation.semantic.model", section.semantic.model
    if section.method == "open_vocabulary":
        from cloud.preannotation.open_vocabulary import LIGHT  # brings torch

        words = section.open_vocabulary
        chosen = words.model_copy(update=LIGHT) if words.light else words
        for name in ("captioner", "clip", "clipseg"):
            yield f"preannotation.open_vocabulary.{name}", getattr(chosen, name)
        for labeler in chosen.labelers:
            yield "preannotation.open_vocabulary.labelers", labeler
    if section.method == "text_prompts":
        from cloud.preannotation.text_detectors import GROUNDING_DINO, OWLV2

        usual = {"grounding_dino": GROUNDING_DINO, "owlv2": OWLV2}
        prompts = section.text_prompts
        yield "preannotation.text_prompts.model", prompts.model or usual[prompts.detector]


def _masks(masks: MasksSection) -> Iterator[tuple[str, str]]:
    key = "preannotation.masks"
    if masks.checkpoint is not None:
        yield f"{key}.checkpoint", str(masks.checkpoint)
    elif masks.type in USUAL_SIZES:
        yield key, f"{masks.type}_{masks.model or USUAL_SIZES[masks.type]}"
    elif masks.type == "mobile_sam":
        yield key, "mobile_sam"


def look_at_weights(patient: Patient) -> Iterable[Finding]:
    """Is everything there that drafts are made with?"""
    found: list[Finding] = []
    wanted = list(weights_of_drafts(patient.config.preannotation))
    for key, name in wanted:
        found += _presence(key, name, patient)
    yield from found
    if not found:
        told = ", ".join(name for _, name in wanted) or "only shipped ones are needed"
        yield well("weights", told)


def _presence(key: str, name: str, patient: Patient) -> Iterator[Finding]:
    if _is_path(name):
        if not Path(name).expanduser().exists():
            yield broken(key, f"{name} is not there", "correct the path, or name what was pulled")
        return
    try:
        entry, folder = entry_named(name), _folder(patient)
    except ModelLoadError as error:
        yield broken(key, str(error))
        return
    if is_present(entry, folder):
        return
    pull = f"`cornerloop models pull {entry.name}` brings them, without a network by --from FOLDER"
    if entry.kind == "hub":
        # transformers' own cache may have it; only loading tells.
        yield warning(key, f"{name}: no weights at {place_of(entry, folder)}", pull)
    else:
        yield broken(key, f"{name}: no weights at {place_of(entry, folder)}", pull)


def look_at_hashes(patient: Patient) -> Iterable[Finding]:
    """Are the pulled weights still the bytes that the catalogue, or the record, names?"""
    entries: dict[str, CatalogueEntry] = {}
    for _, name in _pulled_names(patient):
        if not _is_path(name):
            entry = entry_named(name)
            if is_present(entry, _folder(patient)):
                entries[entry.name] = entry
    found, count = [], 0
    for entry in entries.values():
        patient.tell(f"hashing {entry.name}")
        for one in check(entry, _folder(patient)):
            count += 1
            if not one.good:
                found.append(broken(str(one.path), one.words))
    yield from found
    if not found:
        yield well("weights", f"{count} files are what they were")


def _pulled_names(patient: Patient) -> Iterator[tuple[str, str]]:
    yield from weights_of_drafts(patient.config.preannotation)
    if patient.config.training.init != SCRATCH:
        yield "training.init", patient.config.training.init


def look_at_student(patient: Patient) -> Iterable[Finding]:
    """Is there what a first model begins with?"""
    init = patient.config.training.init
    if init == SCRATCH:
        yield well("training.init", "nothing is needed")
        return
    from cloud.weights.student_weights import place_of_init  # brings torch

    place = place_of_init(init, patient.config.preannotation.weights_path)
    yield well("training.init", f"{init}: {place}")


def _folder(patient: Patient) -> Path:
    return weights_folder(patient.config.preannotation.weights_path)


def _is_path(name: str) -> bool:
    path = Path(name).expanduser()
    return path.is_absolute() or name.startswith(".") or path.exists()
