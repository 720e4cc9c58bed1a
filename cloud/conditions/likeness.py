"""Which learning tasks the deployed model cannot tell apart, by the embeddings of their samples."""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from cloud.conditions.clusters import Likeness, likeness
from cloud.conditions.embeddings import Embeddings
from lifelong.knowledge_base import KnowledgeBase
from lifelong.learning_tasks import GENERAL

_MOST_COMPARED = 32  # samples of a task; more would only take longer
_SEED = 0  # shuffles are the same at every look


def compared(kb: KnowledgeBase, embeddings: Embeddings, first: str, second: str) -> Likeness | None:
    """Two learning tasks side by side; None when one has no sample that can be looked at."""
    rows = [_rows(kb, embeddings, task) for task in (first, second)]
    if not all(len(one) for one in rows):
        return None
    return likeness(rows[0], rows[1], np.random.default_rng(_SEED))


def alike(kb: KnowledgeBase, embeddings: Embeddings) -> list[tuple[str, str, Likeness]]:
    """Pairs of learning tasks that cannot be told apart, without `general`, which is none."""
    tasks = sorted({s.learning_task for s in kb.samples.values()} - {GENERAL})
    found = [(a, b, compared(kb, embeddings, a, b)) for a, b in combinations(tasks, 2)]
    return [(a, b, one) for a, b, one in found if one is not None and one.cannot_be_told_apart]


def _rows(kb: KnowledgeBase, embeddings: Embeddings, task: str) -> NDArray[np.float64]:
    """(N, K + 1), of at most 32 samples, evenly spread by id."""
    members = sorted(
        (s for s in kb.samples.values() if s.learning_task == task), key=lambda s: s.sample_id
    )
    places = np.linspace(0, len(members) - 1, min(_MOST_COMPARED, len(members))).astype(int)
    chosen = [members[place] for place in places]
    rows = [embeddings.of(sample.sample_id, sample.image_key) for sample in chosen]
    return np.array([row for row in rows if row is not None], dtype=np.float64)
