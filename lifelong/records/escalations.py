"""Joint inference: what an edge node asks about a frame, and what the cloud answers.

`escalations/{edge_id}/{question_id}/` holds `image.jpg` and, last, `question.json`; the cloud puts
`answer.png` (class ids) and, last, `answer.json` beside them. The node removes all four when it is
done; the cloud removes what nodes left behind.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from lifelong.records.ids import EdgeId, VersionId
from lifelong.records.keys import ESCALATIONS

IMAGE, QUESTION = "image.jpg", "question.json"
ANSWER_MASK, ANSWER = "answer.png", "answer.json"

# In the order in which they go: without a question nobody begins, without an answer nobody reads.
OBJECTS = (QUESTION, ANSWER, IMAGE, ANSWER_MASK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A hard frame whose answer a node would like to have from the cloud, soon."""

    question_id: str  # 16 hex digits by chance; an answer to another question is not for us
    edge_id: EdgeId
    sequence: int  # of the frame
    asked_at: datetime  # UTC, by the device's clock: to be read by people, not to be judged by
    deadline_seconds: float  # from the question's arrival on nobody waits for longer
    image_sha256: str
    height: int  # pixels
    width: int  # pixels
    label_map_digest: str  # which classes the node understands
    version_id: VersionId  # the model that was unsure
    score: float  # 0 (sure) .. 1 (no idea)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the cloud says of it; a refused question has a reason and no mask."""

    question_id: str
    image_sha256: str  # of the picture that was looked at
    verdict: Literal["answered", "refused"]
    reason: str = ""  # why it was refused
    mask_sha256: str = ""
    height: int = 0  # pixels, of the mask
    width: int = 0
    label_map_digest: str = ""
    drafted_by: str = ""  # the models behind the mask, e.g. "tiny_sam+tiny_segformer"
    seconds: float = 0.0  # what it took


def question_folder(edge_id: EdgeId, question_id: str) -> str:
    """Where a question and its answer lie."""
    return f"{ESCALATIONS}/{edge_id}/{question_id}"
