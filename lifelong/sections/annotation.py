"""Configuration of the place where people work: Label Studio, its project, the drafts in it."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from lifelong.sections.types import Count, Seconds, Section


class LabelStudioSection(Section):
    """Where people work."""

    url: str = "http://127.0.0.1:8080"
    token_env: str = "CORNERLOOP_LABEL_STUDIO_TOKEN"  # name of the variable, never the token
    project: str = "Cornerloop"
    # How Label Studio reaches images: served from this folder, which must be the storage folder
    # or one above it, or by s3:// address when storage is a bucket.
    local_files_root: Path | None = None
    timeout_seconds: Annotated[float, Field(gt=0)] = 60
    poll_seconds: Seconds = 2.0
    # Shapes of a draft: things as polygons and the rest as brush, or all of it as one of them.
    draft: Literal["auto", "brush", "polygons"] = "auto"
    polygon_tolerance_px: Annotated[float, Field(ge=0, le=100)] = 1.0  # of "auto"
    draft_by_class: dict[str, Literal["brush", "polygons"]] = Field(default_factory=dict)
    # Where Label Studio reaches `cornerloop serve`, e.g. http://127.0.0.1:8000, to say that there
    # is something to see; "": it is only asked every `poll_seconds`.
    webhook_url: str = ""
    webhook_secret_env: str = "CORNERLOOP_WEBHOOK_SECRET"  # name of the variable, never the secret
    ml_backend: str = ""  # address of an interactive model that the project is connected to
    resort_at_once: Count = 50  # places in the queue corrected there in one look; 0: none
