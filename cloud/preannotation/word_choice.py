"""Who answers words: a text detector where there are weights of one, else the semantic model."""

import threading
from collections.abc import Callable, Sequence

from annotation.assist.segmenter import Found, Thresholds
from cloud.assist.finders import Seen, WordFinder
from cloud.preannotation.assembly import ontology_from
from cloud.preannotation.hub import from_here_or_hub
from cloud.preannotation.semantic_labels import labeler_from
from cloud.preannotation.text_detectors import DETECTORS
from cloud.preannotation.word_finder import ClassWords, DetectorWords, Vocabulary
from cloud.weights.text_detector_weights import (
    asks_for_a_detector,
    detector_lies_here,
    missing_detector,
)
from lifelong.errors import LifelongError, ModelLoadError
from lifelong.records.label_map import LabelMap
from lifelong.sections.drafting import PreannotationSection


class ConfiguredWords:
    """The `WordFinder` of a configuration; its weights are loaded by `load`, or when first asked.

    A text detector is used where its weights lie on this machine. Where the configuration asks for
    one (by `method: text_prompts`, or by naming a detector or its model) it is looked for on the
    hub too, and `trouble` says if that was in vain.
    """

    def __init__(self, section: PreannotationSection, label_map: LabelMap) -> None:
        self._section, self._label_map = section, label_map
        self._finder: WordFinder | None = None
        self._trouble = ""
        self._turn = threading.Lock()

    @property
    def trouble(self) -> str:
        """What is missing of what was asked for, and what to do; "" while nothing is known to be.

        Where it says something, words are answered all the same unless `find` says otherwise.
        """
        return self._trouble

    def load(self) -> None:
        """Load the weights if nobody has.

        Raises:
            ModelLoadError, LabelMapError, ConfigError: nobody here can answer words; says why.
        """
        self._ready()

    def find(
        self, seen: Seen, words: Sequence[str], *, labels: Sequence[str], thresholds: Thresholds
    ) -> Sequence[Found]:
        """See `WordFinder`.

        Raises:
            ModelLoadError, LabelMapError, ConfigError: see `load`.
        """
        return self._ready().find(seen, words, labels=labels, thresholds=thresholds)

    def _ready(self) -> WordFinder:
        with self._turn:
            if self._finder is None:
                self._finder = self._loaded()
            return self._finder

    def _loaded(self) -> WordFinder:
        vocabulary = Vocabulary(ontology_from(self._section, self._label_map), self._label_map)
        self._trouble = ""
        is_asked_for = asks_for_a_detector(self._section)
        if is_asked_for or detector_lies_here(self._section):
            try:
                return self._detector(vocabulary, hub=is_asked_for)
            except ModelLoadError as error:
                missing = missing_detector(self._section)
                self._trouble = missing or f"words are answered without a text detector: {error}"
        try:
            return self._classes(vocabulary)
        except LifelongError as error:
            self._trouble = "; ".join(filter(None, (self._trouble, f"no words: {error}")))
            raise

    def _detector(self, vocabulary: Vocabulary, *, hub: bool) -> WordFinder:
        section = self._section
        words = section.text_prompts

        def load() -> WordFinder:
            detector = DETECTORS[words.detector](words, section.device, section.weights_path)
            return DetectorWords(detector, vocabulary, nms_iou=words.nms_iou)

        return _from(load, hub=hub)

    def _classes(self, vocabulary: Vocabulary) -> WordFinder:
        section = self._section

        def load() -> WordFinder:
            labeler = labeler_from(
                section.semantic,
                self._label_map,
                ontology=vocabulary.ontology,
                device=section.device,
                weights_path=section.weights_path,
                precision=section.precision,
            )
            return ClassWords(
                labeler,
                vocabulary,
                box_threshold=section.text_prompts.box_threshold,
                nms_iou=section.text_prompts.nms_iou,
            )

        return _from(load, hub=True)


def _from(load: Callable[[], WordFinder], *, hub: bool) -> WordFinder:
    return from_here_or_hub(load) if hub else load()
