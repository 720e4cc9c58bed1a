"""A LifelongLearningJob and its Dataset as users write them for `sedna.io/v1alpha1`.

Only what the local job acts on is read; pod templates keep everything else for a cluster.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lifelong.errors import ConfigError
from lifelong.round_triggers import OPERATORS


class _Spec(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class EnvironmentEntry(_Spec):
    """One variable of a container; entries without a literal value are the cluster's business."""

    name: str
    value: str = ""


class Container(_Spec):
    """What a pod template starts."""

    name: str
    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[EnvironmentEntry, ...] = ()


class PodSpec(_Spec):
    """The part of a pod template that matters without a cluster."""

    containers: Annotated[tuple[Container, ...], Field(min_length=1)]


class Template(_Spec):
    """A pod template."""

    spec: PodSpec


class Stage(_Spec):
    """evalSpec and deploySpec."""

    template: Template


class Condition(_Spec):
    """When training begins; `num_of_samples` is the only metric Sedna offers."""

    operator: Literal[">", "gt", ">=", "ge", "=", "==", "eq", "!=", "ne", "<=", "le", "<", "lt"]
    threshold: float
    metric: Literal["num_of_samples"]

    def holds(self, samples: int) -> bool:
        """Is the condition true for so many waiting training lines?"""
        return OPERATORS[self.operator](float(samples), self.threshold)


class Timer(_Spec):
    """Hours of the day in which training may begin, inclusive; may wrap over midnight."""

    start: Annotated[str, Field(pattern=r"^\d\d:\d\d$")]
    end: Annotated[str, Field(pattern=r"^\d\d:\d\d$")]

    def holds(self, clock: str) -> bool:
        """Is `clock` ("HH:MM") within the window? Compared as text, as Sedna does."""
        if self.start <= self.end:
            return self.start <= clock <= self.end
        return clock >= self.start or clock <= self.end


class Trigger(_Spec):
    """Condition, and timer where there is one."""

    condition: Condition
    timer: Timer | None = None


class TrainStage(Stage):
    """trainSpec."""

    trigger: Trigger


class DatasetReference(_Spec):
    """Which Dataset, and how it is cut."""

    name: str
    train_prob: Annotated[float, Field(alias="trainProb", gt=0, le=1)]


class JobSpec(_Spec):
    """spec of a LifelongLearningJob."""

    dataset: DatasetReference
    output_dir: Annotated[str, Field(alias="outputDir", pattern=r"^(/|s3://).+")]
    train: Annotated[TrainStage, Field(alias="trainSpec")]
    eval: Annotated[Stage, Field(alias="evalSpec")]
    deploy: Annotated[Stage, Field(alias="deploySpec")]


class DatasetSpec(_Spec):
    """spec of a Dataset."""

    url: Annotated[str, Field(pattern=r"^(/|s3://).+")]
    format: Annotated[str, Field(pattern=r"^(?i:txt|csv)$")]
    node_name: Annotated[str, Field(alias="nodeName", min_length=1)]


class Metadata(_Spec):
    """Name and namespace."""

    name: str
    namespace: str = "default"


class Dataset(_Spec):
    """kind: Dataset."""

    metadata: Metadata
    spec: DatasetSpec


class LifelongLearningJob(_Spec):
    """kind: LifelongLearningJob."""

    metadata: Metadata
    spec: JobSpec


class Manifest(BaseModel):
    """One job and the Dataset it names."""

    model_config = ConfigDict(frozen=True)
    job: LifelongLearningJob
    dataset: Dataset


class _Yaml12Loader(yaml.SafeLoader):
    """YAML 1.2 numbers: PyYAML would read an unquoted `24:00` as 1440, as YAML 1.1 says."""


_Yaml12Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":int", ":float"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Yaml12Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789")
)
_Yaml12Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][-+]?[0-9]+)?$"),
    list("-+0123456789."),
)


def load_manifest(path: Path) -> Manifest:
    """Read one YAML file, or all of a folder, holding one LifelongLearningJob and its Dataset.

    Raises:
        ConfigError: a file cannot be read, an object is missing or wrong; names file and field.
    """
    objects = list(_objects(path))
    jobs = [o for o in objects if o.get("kind") == "LifelongLearningJob"]
    if len(jobs) != 1:
        raise ConfigError(f"{path}: expected one LifelongLearningJob, found {len(jobs)}")
    try:
        job = LifelongLearningJob.model_validate(jobs[0])
        wanted = job.spec.dataset.name
        datasets = {
            dataset.metadata.name: dataset
            for dataset in (
                Dataset.model_validate(o) for o in objects if o.get("kind") == "Dataset"
            )
        }
    except ValidationError as error:
        lines = [
            f"{path}: {'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
            for item in error.errors()
        ]
        raise ConfigError("\n".join(lines)) from error
    if wanted not in datasets:
        known = ", ".join(datasets) or "none"
        raise ConfigError(
            f"{path}: spec.dataset.name {wanted!r} is no Dataset here; found: {known}"
        )
    return Manifest(job=job, dataset=datasets[wanted])


def _objects(path: Path) -> Iterable[dict[str, Any]]:
    files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
    if not files:
        raise ConfigError(f"{path}: holds no .yaml file")
    for file in files:
        try:
            documents = list(yaml.load_all(file.read_text(encoding="utf-8"), _Yaml12Loader))
        except (OSError, yaml.YAMLError) as error:
            raise ConfigError(f"{file}: cannot be read as YAML ({error})") from error
        yield from (document for document in documents if isinstance(document, dict))
