"""From the `assist` section to what answers clicks."""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from annotation.assist.segmenter import Found, Thresholds
from cloud.assist.embedding_files import EmbeddingFiles
from cloud.assist.embeddings import EmbeddingMemory, Embeddings
from cloud.assist.finders import Seen
from cloud.assist.likeness import EmbeddingLikeness
from cloud.assist.model_room import ModelRoom
from cloud.assist.segmenters import Segmenters
from cloud.assist.turns import Turns
from cloud.assist.work_book import WorkBook
from cloud.assist_service.models import AssistLoader
from cloud.weights.text_detector_weights import missing_detector
from lifelong.config import Config, load_label_map

if TYPE_CHECKING:
    from cloud.preannotation.word_choice import ConfiguredWords

_MIB = 1 << 20


def make_segmenter(config: Config) -> Segmenters:
    """What `assist` asks for; nothing is loaded before its `start` or the first question.

    Raises:
        ConfigError, LabelMapError: the label map's file cannot be used.
    """
    section = config.assist
    folder = section.embeddings_path or config.journal_path.parent / "embeddings"
    files = EmbeddingFiles(folder, limit_bytes=section.disk_mib * _MIB)
    turns = Turns(workers=section.workers)
    memory = EmbeddingMemory(limit_bytes=section.memory_mib * _MIB)
    room = ModelRoom(
        section.model,
        section.models,
        AssistLoader(config),
        patience_seconds=section.patience_seconds,
    )
    words = _LateWords(config)
    return Segmenters(
        room,
        Embeddings(memory, files if section.disk_mib else None, turns),
        turns,
        WorkBook(),
        workers=section.workers,
        waiting=section.waiting,
        words=words,
        likeness=EmbeddingLikeness(),
        trouble=lambda: words.trouble,
    )


class _LateWords:
    """The word finder of the configuration, made when words are asked for: it needs torch."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._label_map = load_label_map(config)
        self._finder: ConfiguredWords | None = None
        self._lock = threading.Lock()

    def find(
        self, seen: Seen, words: Sequence[str], *, labels: Sequence[str], thresholds: Thresholds
    ) -> Sequence[Found]:
        """See `WordFinder`."""
        return self._made().find(seen, words, labels=labels, thresholds=thresholds)

    @property
    def trouble(self) -> str:
        """What is missing of what was asked for, in words; "" while nothing is known to be."""
        if self._finder is None:
            return missing_detector(self._config.preannotation)
        return self._finder.trouble

    def _made(self) -> "ConfiguredWords":
        from cloud.preannotation.word_choice import ConfiguredWords

        with self._lock:
            if self._finder is None:
                self._finder = ConfiguredWords(self._config.preannotation, self._label_map)
            return self._finder
