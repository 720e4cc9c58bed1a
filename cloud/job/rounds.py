"""Which round a worker of the job is for: the rounds and the knowledge base decide.

Sedna's counters begin anew after a restart, its index of a lost report is an old one, and it
starts a worker whenever lines come or somebody asks. Its pod is the occasion, not the order.
"""

from cloud.rounds import Rounds
from lifelong.knowledge_base import KnowledgeBase
from lifelong.records.model_versions import ModelVersion
from lifelong.records.rounds import Round, RoundState

# After GATING the verdict is known: training the round once more would change nothing.
_TRAINABLE = frozenset({RoundState.TRAINING, RoundState.GATING})
_JUDGEABLE = _TRAINABLE | {RoundState.RELEASING}


def round_to_train(rounds: Rounds) -> Round | None:
    """The round that waits for a candidate, or for the verdict on the one it has."""
    return _newest(rounds, _TRAINABLE)


def candidate_to_judge(rounds: Rounds, kb: KnowledgeBase) -> ModelVersion | None:
    """The candidate whose verdict a round waits for, or has begun to carry out."""
    round_ = _newest(rounds, _JUDGEABLE)
    return kb.candidate_of(round_.number) if round_ else None


def why_none_trains(rounds: Rounds) -> str:
    """In words, for who looks at a job that says Train/Failed."""
    all_ = rounds.all()
    how = f"round {all_[-1].number} is {all_[-1].state}" if all_ else "there is no round yet"
    return (
        f"no round waits for training: {how}; nothing is lost, samples come from finished "
        "annotation tasks (`cornerloop rounds`)"
    )


def _newest(rounds: Rounds, states: frozenset[RoundState]) -> Round | None:
    found = [round_ for round_ in rounds.all() if round_.state in states]
    return found[-1] if found else None
