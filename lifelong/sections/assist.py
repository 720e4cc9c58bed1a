"""The `assist` section: the model behind Label Studio's smart tool, and where it is served."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from lifelong.sections.types import Count, Positive, Seconds, Section


class AssistModelSection(Section):
    """One model that answers clicks."""

    type: Literal["tiny", "sam", "sam_hq", "sam2", "mobile_sam", "onnx"] = "tiny"
    # `sam` and `sam_hq`: vit_b, vit_l or vit_h; `sam2`: tiny, small, base_plus or large; `onnx`:
    # int8 for that encoder instead of the float32 one.
    model: str | None = None
    # File or folder of the weights, of `onnx` the folder that `cornerloop models export` wrote;
    # None: what `cornerloop models pull` brought, and of `tiny` the shipped ones.
    checkpoint: Path | None = None
    # Mirror a strip where pictures are padded, so that masks reach that border; None: of `tiny`.
    mirror_border: bool | None = None


class AssistSection(Section):
    """Interactive annotation."""

    enabled: bool = True  # `cornerloop serve` answers Label Studio's smart tool under /assist
    host: str = "127.0.0.1"  # of `cornerloop assist`, as is the port
    port: Annotated[int, Field(ge=0, le=65535)] = 9090
    model: AssistModelSection = AssistModelSection()
    # Further models; a project asks for one by `model_name` in the backend's extra parameters.
    models: dict[str, AssistModelSection] = Field(default_factory=dict)
    device: str = "auto"  # auto, cpu, cuda, cuda:1 …
    # Of the encoder; clicks are decoded in float32. `auto`: bfloat16 where the processor computes
    # in it, float32 elsewhere and for the tiny SAM.
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    # Where embeddings are kept; None: `embeddings` beside the journal.
    embeddings_path: Path | None = None
    memory_mib: Positive = 512  # of embeddings in memory
    disk_mib: Count = 10_240  # of embeddings on disk; 0: none there
    workers: Positive = 1  # embeddings computed at once
    waiting: Positive = 64  # people's requests that may wait; what is more is refused
    patience_seconds: Seconds = 60.0  # how long a click waits for a model that is loading
    prefetch_tasks: Count = 5  # the next tasks of a project, embedded before they are opened
    # None of them said: one shape, of the brush, else of polygons, else a box.
    out_mask: bool | None = None
    out_poly: bool | None = None
    out_bbox: bool | None = None
    polygon_tolerance_px: Annotated[float, Field(ge=0, le=100)] = 1.0
    # Names of the variables with user and password that Label Studio sends; where the password's
    # is not set, one is made at the first start and kept beside the journal.
    user_env: str = "CORNERLOOP_ASSIST_USER"
    password_env: str = "CORNERLOOP_ASSIST_PASSWORD"
    # Hosts beside Label Studio's own that pictures may be fetched from though their address is
    # private; "*" for all.
    private_hosts: tuple[str, ...] = ()
    max_picture_mib: Positive = 64  # of one picture's file
