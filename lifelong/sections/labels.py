"""Configuration of what labels are trusted: by whom they were checked, and who looks again."""

from typing import Annotated

from pydantic import Field

from lifelong.sections.types import Section, Share


class LabelsSection(Section):
    """Labels are dear: whose word counts without a person, and whose work is looked at twice."""

    # A draft that is sure enough becomes a label without a person, once people's corrections
    # have proven for such drafts that at most `max_error_rate` of their pixels are wrong.
    auto_accept: bool = False
    max_error_rate: Annotated[float, Field(gt=0, lt=1)] = 0.02
    # Of the drafts that were sure enough, so many go to people all the same; what they find
    # there is the measured error rate, and ends auto-acceptance when it is too high.
    audit_share: Annotated[float, Field(gt=0, le=1)] = 0.1
    # In training a label that no person saw counts so much beside one that a person made.
    auto_weight: Share = 0.5
    # Of a round's tasks, at most so many go back once to their annotator, the ones with regions
    # that the model confidently takes for something else; 0: none.
    ask_again_share: Share = 0.0
