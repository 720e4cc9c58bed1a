"""From the configuration's names to a drafter."""

from collections.abc import Callable
from pathlib import Path

from cloud.preannotation.closed_set import ClosedSetDrafter
from cloud.preannotation.confidence import IDENTITY, Calibration, read_calibration
from cloud.preannotation.devices import chosen_device, chosen_precision
from cloud.preannotation.drafting import Drafter
from cloud.preannotation.hub import from_here_or_hub
from cloud.preannotation.mask_proposals import MaskProposer, proposer_from
from cloud.preannotation.ontology import Ontology, ontology_of, read_ontology
from cloud.preannotation.open_vocabulary import OpenVocabularyDrafter, namer_from
from cloud.preannotation.sam.by_name import promptable_from
from cloud.preannotation.semantic_labels import labeler_from
from cloud.preannotation.text_prompts import text_prompt_drafter
from lifelong.records.label_map import LabelMap
from lifelong.sections.drafting import PreannotationSection

# Calibrations of the shipped models, fitted by tools/calibrate_drafts.py and named after the two
# branches that they were fitted for.
CALIBRATIONS = Path(__file__).parent / "weights"


def drafter_from(section: PreannotationSection, label_map: LabelMap) -> Drafter:
    """The drafter a configuration names, with its weights loaded: those that are on this machine
    without any question to the hub.

    Raises:
        ConfigError: a name needs a path that is not given, or a file says something it must not.
        ModelLoadError: weights that cannot be loaded; says what was expected.
        LabelMapError: a model whose classes the label map does not have.
    """
    return from_here_or_hub(lambda: DRAFTERS[section.method](section, label_map))


def ontology_from(section: PreannotationSection, label_map: LabelMap) -> Ontology:
    """The file a configuration names, or the label map's own words."""
    if section.ontology is None:
        return ontology_of(label_map)
    return read_ontology(section.ontology, label_map)


def calibration_for(proposed_by: str, labelled_by: str) -> Calibration:
    """The shipped calibration of two branches; raw scores where none is shipped."""
    shipped = CALIBRATIONS / f"calibration.{proposed_by}.{labelled_by}.json"
    return read_calibration(shipped) if shipped.is_file() else IDENTITY


def _proposer(section: PreannotationSection) -> MaskProposer:
    return proposer_from(
        section.masks,
        device=section.device,
        precision=section.precision,
        weights_path=section.weights_path,
    )


def _closed_set(section: PreannotationSection, label_map: LabelMap) -> Drafter:
    proposer = _proposer(section)
    labeler = labeler_from(
        section.semantic,
        label_map,
        ontology=ontology_from(section, label_map),
        device=section.device,
        weights_path=section.weights_path,
        precision=section.precision,
        align_corners=section.ssa_compat,
    )
    return ClosedSetDrafter(
        proposer,
        labeler,
        label_map,
        vote=section.vote,
        calibration=(
            calibration_for(proposer.name, labeler.name)
            if section.calibration is None
            else read_calibration(section.calibration)
        ),
        bgr=section.ssa_compat,
    )


def _open_vocabulary(section: PreannotationSection, label_map: LabelMap) -> Drafter:
    proposer = _proposer(section)
    namer = namer_from(
        section.open_vocabulary, device=section.device, weights_path=section.weights_path
    )
    return OpenVocabularyDrafter(proposer, namer, ontology_from(section, label_map), label_map)


def _text_prompts(section: PreannotationSection, label_map: LabelMap) -> Drafter:
    device = chosen_device(section.device)
    sam = promptable_from(
        section.masks,
        device=device,
        precision=chosen_precision(section.precision, device),
        weights_path=section.weights_path,
    )
    return text_prompt_drafter(
        section.text_prompts,
        sam,
        label_map,
        device=section.device,
        weights_path=section.weights_path,
    )


DRAFTERS: dict[str, Callable[[PreannotationSection, LabelMap], Drafter]] = {
    "closed_set": _closed_set,
    "open_vocabulary": _open_vocabulary,
    "text_prompts": _text_prompts,
}
