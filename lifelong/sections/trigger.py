"""Configuration of triggers: when a round begins, in Sedna's own fields and some more."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lifelong.sections.types import Section

Operator = Literal[">", "gt", ">=", "ge", "=", "==", "eq", "!=", "ne", "<=", "le", "<", "lt"]
Metric = Literal[
    "num_of_samples",  # waiting hard examples of the incumbent, Sedna's only metric
    "class_samples",  # of them, those in which the incumbent saw the class
    "mean_novelty",  # of them, 0 .. 1; 0.5 is the model's own 0.95 quantile
    "mean_score",  # of them, how unsure the incumbent was, 0 .. 1
    "hours_waited",  # the oldest waiting one
    "hours_since_round",  # since the last round ended
    "draft_agreement",  # mIoU of drafts against people in the last round with annotations, 0 .. 1
    "drift_alarms",  # nodes whose report holds an alarm
]


class ConditionSection(Section):
    """Something that must hold before a round begins."""

    metric: Metric = "num_of_samples"
    operator: Operator = ">="
    threshold: float
    class_name: str = ""  # of the metric class_samples

    @model_validator(mode="after")
    def _class_where_one_is_meant(self) -> Self:
        if (self.metric == "class_samples") != bool(self.class_name):
            raise ValueError("class_name belongs to the metric class_samples, and only to it")
        return self


class TimerSection(Section):
    """Hours of the day (UTC) in which a round may begin; may wrap over midnight."""

    start: Annotated[str, Field(pattern=r"^([01]\d|2[0-4]):[0-5]\d$")]
    end: Annotated[str, Field(pattern=r"^([01]\d|2[0-4]):[0-5]\d$")]


class TriggerSection(Section):
    """When a round begins; without conditions as soon as `rounds.min_examples` wait."""

    condition: ConditionSection | None = None  # as Sedna writes the only one
    conditions: tuple[ConditionSection, ...] = ()
    combine: Literal["any", "all"] = "any"  # of the conditions; the timer must hold in any case
    timer: TimerSection | None = None
    # Sedna's pause between two looks; the service looks every `rounds.step_seconds` anyway.
    checkPeriodSeconds: Annotated[int, Field(ge=1)] = 60  # noqa: N815
