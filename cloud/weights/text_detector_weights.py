"""Is a text detector asked for, and do its weights lie on this machine? Known without torch."""

from pathlib import Path

from cloud.weights.store import located_hub
from lifelong.sections.drafting import PreannotationSection

USUAL = {
    "grounding_dino": "IDEA-Research/grounding-dino-tiny",
    "owlv2": "google/owlv2-base-patch16-ensemble",
}


def asks_for_a_detector(section: PreannotationSection) -> bool:
    """Does the configuration draft by text prompts, or name a detector or its model?"""
    named = {"detector", "model"} & section.text_prompts.model_fields_set
    return section.method == "text_prompts" or bool(named)


def detector_of(section: PreannotationSection) -> str:
    """Folder or hub id of the detector's weights."""
    words = section.text_prompts
    return words.model or USUAL[words.detector]


def detector_lies_here(section: PreannotationSection) -> bool:
    """Was it pulled, or is it a folder?"""
    return isinstance(located_hub(detector_of(section), section.weights_path), Path)


def missing_detector(section: PreannotationSection) -> str:
    """In words what is missing of what was asked for, and what to do; "" where nothing is."""
    if not asks_for_a_detector(section) or detector_lies_here(section):
        return ""
    name = detector_of(section)
    return (
        f"the text detector {name} is asked for and not on this machine; `cornerloop models pull "
        f"{name}` brings it, and without it only names of the label map's classes are found"
    )
