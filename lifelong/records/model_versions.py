"""`ModelVersion`, `EvaluationReport`, `GateDecision`: what is known of each trained model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from lifelong.records.ids import RoundNumber, SampleId, VersionId


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One trained model and where it came from."""

    version_id: VersionId
    parent: VersionId | None  # the incumbent it was trained from
    round_number: RoundNumber  # 0: there before the first round
    bundle_key: str
    sha256: str  # of the bundle file
    label_map_digest: str
    network: str
    strategy: str  # e.g. "replay+distillation"
    weights_sha256: str  # of the weights alone: equal seed and data give an equal one
    trained_on: tuple[SampleId, ...] = ()
    replayed: tuple[SampleId, ...] = ()
    seed: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureCounts:
    """Pixels hit, true and answered, by picture and class: what intervals are made of.

    `lifelong/judging/picture_counts.py` packs and unpacks them.
    """

    pictures: int  # N
    classes: tuple[str, ...]  # C names, those that any picture or answer holds
    packed: str  # base64 of zlib of (N, C, 3) little-endian uint32


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """How one model does on one learning task's hold-out."""

    miou: float  # mean over the classes present in the hold-out, 0 .. 1
    pixel_accuracy: float  # 0 .. 1
    iou: Mapping[str, float]  # by class name; absent classes are left out
    images: int
    # By class name: in how many of them it occurs; what is said of a class rests on these.
    class_images: Mapping[str, int] = field(default_factory=dict)
    counts: PictureCounts | None = None  # None: an older report, judged by its plain values
    # Classes that were answered as another one in more than half of their pixels, and as which.
    taken_for: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport:
    """How one model does on every hold-out."""

    version_id: VersionId
    tasks: Mapping[str, TaskResult]  # by learning task


@dataclass(frozen=True, slots=True, kw_only=True)
class GateDecision:
    """Accepted or refused, with every reason in words."""

    version_id: VersionId
    incumbent: VersionId | None
    accepted: bool
    reasons: tuple[str, ...]  # why it was refused; empty when accepted
    notes: tuple[str, ...] = ()  # what was gained and lost, in words


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """A candidate's whole examination: both reports and the decision, as the evaluator wrote it."""

    round_number: RoundNumber
    candidate: EvaluationReport
    incumbent: EvaluationReport | None
    decision: GateDecision


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFailure:
    """Why a round's training could not be carried out; its samples wait for the next round."""

    round_number: RoundNumber
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What edges should run: `releases/current.json`, and its history `releases/{number}.json`."""

    number: int  # 1, 2, 3 … counts releases and roll-backs
    version_id: VersionId
    bundle_key: str
    sha256: str  # of the bundle file
    label_map_digest: str
    round_number: RoundNumber
    released_at: datetime  # UTC
    why: str  # "round 3 accepted", "rolled back by operator" …
    is_rollback: bool = False  # an earlier version on purpose; a node takes it although it is old
    share: float = 1.0  # of the fleet that takes it at this stage, 0 .. 1
    key_id: str = ""  # of the key that signed; "" when nobody did
    signature: str = ""  # base64 of the Ed25519 signature over everything above
