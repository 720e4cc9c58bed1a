"""Configuration of conditions: which learning task a picture belongs to, and what is a new one."""

from typing import Annotated, Literal

from pydantic import Field

from lifelong.sections.types import Section


class ConditionsSection(Section):
    """How pictures without a named condition are given to learning tasks."""

    by_data: bool = True  # False: only by the frame's attribute, as `general` without one
    # A picture at least as novel belongs to no known task; 0.5 is the model's own 0.95 quantile.
    unseen_from: Annotated[float, Field(gt=0, lt=1)] = 0.6
    min_pictures: Annotated[int, Field(ge=4)] = 8  # alike and unseen: a condition is proposed
    # Who names proposed conditions, and merges tasks that the data cannot tell apart.
    decided_by: Literal["operator", "rule"] = "operator"
