"""What a bench has done already, one line a run, so that it goes on where it was stopped."""

import json
from pathlib import Path
from typing import Any


def kept_in(path: Path | None) -> dict[str, dict[str, Any]]:
    """What an earlier run has done; the file is to be removed when the settings change."""
    if path is None or not path.exists():
        return {}
    return dict(json.loads(line) for line in path.read_text().splitlines())


def keep_in(path: Path | None, name: str, figures: dict[str, Any]) -> None:
    """Add one line."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as lines:
            lines.write(json.dumps([name, figures]) + "\n")
