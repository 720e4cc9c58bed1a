"""How a program of ours logs: lines for people or JSON for machines, without secrets and pixels.

    {"at": "2026-11-22T08:00:00.123+00:00", "level": "warning", "logger": "cloud.service",
     "node": "cloud", "request": "9f2c…", "message": "round step failed, will try again: …"}

Only the command lines call `set_up`. The ids that tie lines together stand in the messages and in
fields: a sample's (16 hex digits, from the edge to the training), a round's number, Label
Studio's task, and the request's (`lifelong/links/request_ids.py`).
"""

import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TextIO

from lifelong.links.redaction import cleaned, cleaned_value, hide_environment
from lifelong.links.request_ids import current_request

FORMAT_VARIABLE = "CORNERLOOP_LOG_FORMAT"
# Libraries that tell of every step of theirs; at DEBUG they print whole requests.
_CHATTY = ("httpx", "httpcore", "urllib3", "PIL", "onnx_ir", "onnxscript", "torch.onnx")
# Whatever moves a terminal's cursor but the line breaks and tabs of a traceback.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class LogFormat(StrEnum):
    """How lines look."""

    TEXT = "text"
    JSON = "json"


class WithoutSecrets(logging.Filter):
    """Cleans a record before any handler's formatter sees it; lets every record through."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Put the cleaned message in place of message and arguments."""
        record.msg = _message_of(record)
        record.args = None
        if record.exc_info:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
            record.exc_info = None
        if record.exc_text:
            record.exc_text = cleaned(record.exc_text)
        if record.stack_info:
            record.stack_info = cleaned(record.stack_info)
        return True


class OurHandler(logging.StreamHandler[TextIO]):
    """The one that `set_up` made."""


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, node: str) -> None:
        super().__init__()
        self._node = node

    def format(self, record: logging.LogRecord) -> str:
        """See the module."""
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "at": at.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "node": self._node,
        }
        if current_request():
            line["request"] = current_request()
        line["message"] = record.getMessage()
        if record.exc_text:
            line["traceback"] = record.exc_text
        return json.dumps(line, ensure_ascii=False)


class TextLines(logging.Formatter):
    """For people; the id of a request stands at the end of the line that it belongs to.

    Names and reasons come from outside. Only what we log begins at the left: a line break in one
    of them cannot make up a line of its own, nor an escape repaint the terminal.
    """

    def __init__(self) -> None:
        super().__init__(_TEXT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's name)
        """See the class."""
        text = super().formatMessage(record)
        return f"{text} [{current_request()}]" if current_request() else text

    def format(self, record: logging.LogRecord) -> str:
        """See the class."""
        text = _UNPRINTABLE.sub(lambda found: repr(found[0])[1:-1], super().format(record))
        return "\n    ".join(text.split("\n"))


def set_up(
    *,
    level: int,
    form: str = "",
    node: str = "",
    stream: TextIO | None = None,
    environ: Mapping[str, str] = os.environ,
) -> logging.Handler | None:
    """Send everything from `level` on to `stream` (stderr), cleaned.

    Where a program that we are part of has set up logging, its handlers stay and are cleaned too.

    Args:
        form: "text" or "json"; "": what the environment says, else text.
        node: who logs, e.g. "cloud".

    Returns:
        the handler, for tests to take off again; None where there are others.
    """
    hide_environment(environ)
    # Of pictures from outside, some in their own words; what we cannot read is told by name.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    is_json = (form or environ.get(FORMAT_VARIABLE, "")).strip().lower() == LogFormat.JSON
    root = logging.getLogger()
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))
    others = [one for one in root.handlers if not isinstance(one, OurHandler)]
    for other in others:
        if not any(isinstance(one, WithoutSecrets) for one in other.filters):
            other.addFilter(WithoutSecrets())
    if others:
        return None
    for old in root.handlers[:]:
        root.removeHandler(old)
    handler = OurHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(node or "cornerloop") if is_json else TextLines())
    handler.addFilter(WithoutSecrets())
    root.addHandler(handler)
    root.setLevel(level)
    return handler


def _message_of(record: logging.LogRecord) -> str:
    """The whole message, cleaned; one that does not fit its arguments is told, not lost."""
    message = str(record.msg)
    if record.args:
        args = cleaned_value(record.args if isinstance(record.args, dict) else tuple(record.args))
        try:
            message = message % args
        except (TypeError, ValueError, KeyError):
            message = f"{message} {args!r}"
    return cleaned(message)
