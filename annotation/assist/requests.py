"""Label Studio's requests to an interactive model, read for the few fields that are needed.

A request holds every prediction, annotation and draft of its task: megabytes, on a picture that
has been worked on for a while. They are stepped over unread until somebody asks for them, so that
the five hundredth region makes no click slower.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from lifelong.errors import PromptError

_NOTHING = msgspec.Raw(b"[]")
_T = TypeVar("_T")


class Context(msgspec.Struct, frozen=True):
    """What was clicked: every prompt that is still open, oldest first."""

    result: list[dict[str, Any]] = []


class Params(msgspec.Struct, frozen=True):
    """Beside the tasks: the context, and what a project's pictures ask for."""

    context: Context | None = None
    login: str | None = None
    password: str | None = None


class Task(msgspec.Struct, frozen=True):
    """One task, with its regions still in bytes."""

    data: dict[str, Any] = {}
    id: int | None = None
    drafts: msgspec.Raw = _NOTHING
    annotations: msgspec.Raw = _NOTHING
    predictions: msgspec.Raw = _NOTHING

    def regions(self) -> list[dict[str, Any]]:
        """What lies on the picture now, oldest first: the newest draft, else the newest
        annotation, else the newest prediction."""
        for raw in (self.drafts, self.annotations, self.predictions):
            found = _newest(raw)
            if found:
                return found
        return []


class PredictRequest(msgspec.Struct, frozen=True):
    """POST /predict."""

    tasks: list[Task]
    label_config: str = ""
    project: str | int | None = None  # "<id>.<seconds since the epoch>"
    params: Params | None = None

    @property
    def context(self) -> list[dict[str, Any]] | None:
        """The prompts; None where predictions of whole tasks are wanted."""
        context = self.params.context if self.params else None
        return context.result if context is not None else None


class SetupRequest(msgspec.Struct, frozen=True):
    """POST /setup."""

    project: str | int | None = None
    schema: str = ""
    hostname: str | None = None
    access_token: str | None = None
    extra_params: Any = None

    def extras(self) -> Mapping[str, Any]:
        """The extra parameters as a mapping, given as one or as JSON in a string.

        Raises:
            PromptError: anything else.
        """
        given = self.extra_params
        if isinstance(given, str) and given.strip():
            try:
                given = msgspec.json.decode(given)
            except (msgspec.DecodeError, RecursionError) as error:
                raise PromptError(
                    f"extra parameters are no JSON ({error}): {given[:80]}"
                ) from error
        if not given:
            return {}
        if not isinstance(given, dict):
            raise PromptError(
                f"extra parameters are a {type(given).__name__}; expected an object such as "
                '{"model_name": "sam", "out_mask": "true"}'
            )
        return given


class Numbered(msgspec.Struct, frozen=True):
    """Anything with an id."""

    id: int | None = None


class WebhookRequest(msgspec.Struct, frozen=True):
    """POST /webhook; what else it says is not needed."""

    action: str = ""
    project: Numbered | None = None
    task: Numbered | None = None


_PREDICT = msgspec.json.Decoder(PredictRequest, strict=False)
_SETUP = msgspec.json.Decoder(SetupRequest, strict=False)
_WEBHOOK = msgspec.json.Decoder(WebhookRequest, strict=False)


def predict_request(body: bytes) -> PredictRequest:
    """Read the body of POST /predict.

    Raises:
        PromptError: not JSON, or not such a request; says where.
    """
    return _read(_PREDICT, body, "POST /predict")


def setup_request(body: bytes) -> SetupRequest:
    """Read the body of POST /setup.

    Raises:
        PromptError: not JSON, or not such a request; says where.
    """
    return _read(_SETUP, body, "POST /setup")


def webhook_request(body: bytes) -> WebhookRequest:
    """Read the body of POST /webhook.

    Raises:
        PromptError: not JSON, or not such a request; says where.
    """
    return _read(_WEBHOOK, body, "POST /webhook")


def project_number(project: str | int | None) -> int | None:
    """7 of "7.1763790000", the way Label Studio names a project here; None where it has none."""
    first = str(project if project is not None else "").partition(".")[0]
    return int(first) if first.isascii() and first.isdigit() and len(first) < 19 else None


def _read(decoder: "msgspec.json.Decoder[_T]", body: bytes, where: str) -> _T:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PromptError(f"{where}: not a request of Label Studio ({error})") from error


class _Work(msgspec.Struct, frozen=True):
    """A draft, an annotation or a prediction."""

    result: Any = None
    updated_at: str = ""
    created_at: str = ""


def _newest(raw: msgspec.Raw) -> list[dict[str, Any]]:
    """The regions of the piece of work that was touched last."""
    try:
        pieces = msgspec.json.decode(raw, type=list[_Work], strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    for piece in sorted(pieces, key=lambda one: one.updated_at or one.created_at, reverse=True):
        if isinstance(piece.result, list) and piece.result:
            return [one for one in piece.result if isinstance(one, dict)]
    return []
