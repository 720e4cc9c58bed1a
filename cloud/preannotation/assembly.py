"""From the configuration's names to a pre-annotator."""

from cloud.preannotation.mask_proposals import proposer_from
from cloud.preannotation.preannotator import Preannotator
from cloud.preannotation.semantic_labels import labeler_from
from lifelong.drafting_config import PreannotationSection
from lifelong.links.storage import Storage
from lifelong.records.label_map import LabelMap


def preannotator_from(
    section: PreannotationSection, storage: Storage, label_map: LabelMap
) -> Preannotator:
    """The pre-annotator a configuration names, with its weights loaded.

    Raises:
        ConfigError: a name needs a path that is not given.
        ModelLoadError: weights that cannot be loaded; says what was expected.
        LabelMapError: the semantic model knows classes that the label map does not have.
    """
    return Preannotator(
        storage,
        proposer_from(section.masks, device=section.device),
        labeler_from(section.semantic, label_map, device=section.device),
    )
