"""One element of a job's `status.conditions`: as we keep it, and as Sedna writes it.

Sedna's form carries `data` as a JSON string whose keys come in the order of a Go structure and
whose unknown keys are dropped; both are kept here, so that a list of ours equals one of Sedna's.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

BY_LC = "reported by lc"

# The model fields that survive Sedna's Global Manager, in its order; empty ones are left out,
# except these first two and `classes`.
_MODEL_FIELDS = (
    "format", "url", "device_soc_versions", "metrics", "history_metric", "current_metric",
    "classes", "number_of_labeled_unseen_sample", "number_of_model", "number_of_unseen_sample",
)  # fmt: skip
_ALWAYS = {"format": "", "url": "", "classes": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCondition:
    """What a job's state was; the last one of a list is the state."""

    stage: str  # Train, Eval, Deploy
    type: str  # Waiting, Ready, Starting, Running, Completed, Failed
    at: datetime | None  # UTC; None: whoever wrote it gave no time
    data: Mapping[str, Any] = field(default_factory=dict)  # empty: it carries none
    message: str = ""  # BY_LC when it came from the local controller
    note: str = ""  # why, in our words; no part of Sedna's form

    @property
    def name(self) -> str:
        """`Train/Waiting` and so on."""
        return f"{self.stage}/{self.type}"

    def part(self, side: str) -> Mapping[str, Any]:
        """`input` or `output` of the data; empty when there is none."""
        value = self.data.get(side)
        return value if isinstance(value, Mapping) else {}

    def models(self, side: str) -> list[dict[str, Any]]:
        """Models of `input` or `output`."""
        found = self.part(side).get("models")
        if not isinstance(found, Sequence) or isinstance(found, str):
            return []
        return [dict(model) for model in found if isinstance(model, Mapping)]

    @property
    def round_number(self) -> int:
        """N of a Ready condition's `…/train/N` or `…/eval/N`; -1 when it names none."""
        tail = str(self.part("input").get("outputDir", "")).rsplit("/", 1)[-1]
        return int(tail) if tail.isdigit() else -1


def named(conditions: Sequence[JobCondition], name: str) -> list[JobCondition]:
    """Those of one stage and type, `Eval/Completed` for one."""
    return [c for c in conditions if c.name == name]


def last_round(conditions: Sequence[JobCondition]) -> Sequence[JobCondition]:
    """From the last Train/Ready on; all, when there is none."""
    for index in range(len(conditions) - 1, -1, -1):
        if conditions[index].name == "Train/Ready":
            return conditions[index:]
    return conditions


def newest_models(conditions: Sequence[JobCondition], stage: str) -> list[dict[str, Any]]:
    """Models of the newest Completed of a stage that carries any, as Sedna looks them up.

    It passes over a Completed without data, whose models then are those of an earlier round; one
    that says `{"output": {}}` is an answer: no models.
    """
    for condition in reversed(named(conditions, f"{stage}/Completed")):
        if "output" in condition.data:
            return condition.models("output")
    return []


def to_sedna(condition: JobCondition) -> dict[str, Any]:
    """The condition with the keys that the API server would show."""
    at = f"{condition.at:%Y-%m-%dT%H:%M:%SZ}" if condition.at else None
    plain: dict[str, Any] = {
        "type": condition.type,
        "status": "True",
        "lastHeartbeatTime": at,
        "lastTransitionTime": at,
        "stage": condition.stage,
    }
    if condition.message:
        plain["message"] = condition.message
    if condition.data or condition.message == BY_LC:
        plain["data"] = data_text(condition.data)
    return plain


def from_sedna(plain: Mapping[str, Any]) -> JobCondition:
    """A condition as an API server printed it; what cannot be read counts as absent."""
    text = plain.get("data")
    try:
        data = json.loads(text) if isinstance(text, str) and text else {}
    except ValueError:
        data = {}
    return JobCondition(
        stage=str(plain.get("stage", "")),
        type=str(plain.get("type", "")),
        at=moment(plain.get("lastTransitionTime")),
        data=data if isinstance(data, Mapping) else {},
        message=str(plain.get("message") or ""),
    )


def data_text(data: Mapping[str, Any]) -> str:
    """The `data` string, byte for byte as Sedna's Global Manager writes it."""
    known: dict[str, Any] = {}
    if isinstance(asked := data.get("input"), Mapping):
        side: dict[str, Any] = {}
        if asked.get("models"):
            side["models"] = [surviving(model) for model in asked["models"]]
        for key in ("dataURL", "dataIndexURL", "outputDir"):
            if asked.get(key):
                side[key] = asked[key]
        known["input"] = side
    if isinstance(told := data.get("output"), Mapping):
        models = [surviving(model) for model in told.get("models") or ()]
        known["output"] = {"models": models} if models else {}
    return json.dumps(known, separators=(",", ":"), ensure_ascii=False)


def surviving(model: Mapping[str, Any]) -> dict[str, Any]:
    """A model's fields that Sedna keeps, in Sedna's order."""
    kept = {key: model.get(key, _ALWAYS.get(key)) for key in _MODEL_FIELDS}
    return {key: value for key, value in kept.items() if value or key in _ALWAYS}


def moment(value: object) -> datetime | None:
    """A Kubernetes time; None when it is none."""
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
