"""What every section of the configuration is made of: frozen, and refusing unknown keys."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz")

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0)]


def _dataset_place(value: Any) -> Any:
    if not isinstance(value, str) or "://" not in value:
        return Path(value) if isinstance(value, str) else value
    if not value.startswith("s3://") or len(value.strip("/").split("/")) < 3:
        raise ValueError("a folder or s3://bucket/prefix; Sedna's controller reads nothing else")
    return value.rstrip("/")


def _index_name(value: str) -> str:
    if not value or "/" in value or "\\" in value or value.split() != [value]:
        raise ValueError("a plain file name; the folder is job.dataset_path")
    if value.lower().endswith(_ARCHIVES):
        raise ValueError("Sedna unpacks and deletes what ends so; call it index.txt")
    return value


DatasetPlace = Annotated[Path | str, BeforeValidator(_dataset_place)]
IndexName = Annotated[str, AfterValidator(_index_name)]


class Section(BaseModel):
    """A frozen part of the configuration that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)
