"""A LifelongLearningJob and its Dataset as users write them for `sedna.io/v1alpha1`.

Only what the local job acts on is read; pod templates keep everything else for a cluster. What
is refused is refused by field, with what to do; what Sedna would pass over in silence is told.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cloud.job.manifest_files import read_objects
from cloud.job.trigger import METRIC
from cloud.job.volumes import collisions
from lifelong.errors import ConfigError
from lifelong.judging.comparisons import COMPARISONS


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
    """When training begins; an operator or a metric that Sedna does not know never fires."""

    operator: str
    threshold: float
    metric: str


class Timer(_Spec):
    """Hours of the day (UTC) in which training may begin, inclusive; may wrap over midnight."""

    start: Annotated[str, Field(pattern=r"^([01]\d|2[0-4]):[0-5]\d$")]
    end: Annotated[str, Field(pattern=r"^([01]\d|2[0-4]):[0-5]\d$")]


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
    source: dict[str, Any] = Field(default_factory=dict)  # the object as the manifest has it


class Manifest(BaseModel):
    """One job and the Dataset it names."""

    model_config = ConfigDict(frozen=True)
    job: LifelongLearningJob
    dataset: Dataset


_Kind = TypeVar("_Kind", bound=BaseModel)
_AnyStage = TypeVar("_AnyStage", bound=Stage)

# What to do about a field that is missing or wrong, by the end of its path.
_ADVICE = {
    "trigger.condition": "Sedna needs one: {metric: num_of_samples, operator: '>=', threshold: 1}",
    "trainProb": "the share of new lines that trains, above 0 and up to 1",
    "outputDir": "a host path that begins with / (or s3://bucket/prefix); Sedna's local controller "
    "dies of anything else",
    "timer.start": "HH:MM with a leading zero, 00:00 to 24:00, since Sedna compares it as text",
    "timer.end": "HH:MM with a leading zero, 00:00 to 24:00, since Sedna compares it as text",
    "spec.url": "the path of the index file, from /, or s3://bucket/key; Sedna refuses http://, "
    "file:// and relative paths, and watches a refused Dataset never again",
    "spec.format": "txt or csv; Sedna's local controller reads no other",
    "nodeName": "the node that has the index file; without it nobody watches the Dataset",
    "containers": "a pod needs one container",
    "command": "a list of words",
    "threshold": "a number",
}


def load_manifest(path: Path, *, our_workers: bool = False) -> Manifest:
    """Read a YAML file, a folder of them, or a kustomize folder: one job and its Dataset.

    Args:
        our_workers: containers of train and eval that name no command run Cornerloop's workers.

    Raises:
        ConfigError: a file cannot be read, an object is missing or wrong; names file, field,
            what is wrong and what to do.
    """
    objects = read_objects(path)
    jobs = [o for o in objects if o.get("kind") == "LifelongLearningJob"]
    if len(jobs) != 1:
        raise ConfigError(f"{path}: expected one LifelongLearningJob, found {len(jobs)}")
    sets = [o for o in objects if o.get("kind") == "Dataset"]
    told: list[str] = []
    job = _parsed(LifelongLearningJob, {**jobs[0], "source": jobs[0]}, told)
    datasets = [_parsed(Dataset, o, told) for o in sets]
    if told or job is None:
        raise ConfigError("\n".join(f"{path}: {line}" for line in told))
    if our_workers:
        job = _with_our_workers(job)
    wanted, here = job.spec.dataset.name, job.metadata.namespace
    found = [d for d in datasets if d and d.metadata.name == wanted]
    if not found:
        known = ", ".join(d.metadata.name for d in datasets if d) or "none"
        raise ConfigError(
            f"{path}: spec.dataset.name {wanted!r} is no Dataset here; found: {known}"
        )
    if found[0].metadata.namespace != here:
        raise ConfigError(
            f"{path}: Dataset {wanted}: metadata.namespace {found[0].metadata.namespace!r} is not "
            f"the job's {here!r}; Sedna looks in the job's namespace only"
        )
    manifest = Manifest(job=job, dataset=found[0])
    if clash := collisions(job.spec.output_dir, found[0].spec.url):
        raise ConfigError("\n".join(f"{path}: {line}" for line in clash))
    return manifest


def notices(manifest: Manifest) -> tuple[str, ...]:
    """What Sedna takes from this manifest without a word, and does not do."""
    return tuple(_notices(manifest))


def _notices(manifest: Manifest) -> Iterator[str]:
    spec = manifest.job.spec
    trigger = spec.train.trigger
    if trigger.condition.metric != METRIC:
        yield (
            f"spec.trainSpec.trigger.condition.metric {trigger.condition.metric!r}: Sedna offers "
            f"{METRIC} only; this trigger never fires"
        )
    if trigger.condition.operator not in COMPARISONS:
        yield (
            f"spec.trainSpec.trigger.condition.operator {trigger.condition.operator!r}: unknown, "
            f"this trigger never fires; one of {' '.join(COMPARISONS)}"
        )
    if "checkPeriodSeconds" in (trigger.model_extra or {}):
        yield "spec.trainSpec.trigger.checkPeriodSeconds: Sedna reads it and looks every 10 s"
    for name in spec.model_extra or {}:
        if name != "credentialName":
            yield f"spec.{name}: no field of Sedna's; the API server drops it"
    for name, stage in (("trainSpec", spec.train), ("evalSpec", spec.eval)):
        if "trigger" in (stage.model_extra or {}):
            yield f"spec.{name}.trigger: only trainSpec has a trigger; the API server drops it"
    for name, stage in (
        ("trainSpec", spec.train),
        ("evalSpec", spec.eval),
        ("deploySpec", spec.deploy),
    ):
        if (stage.template.model_extra or {}).get("metadata"):
            yield f"spec.{name}.template.metadata: labels there are dropped by the API server"


def _parsed(kind: type[_Kind], plain: dict[str, Any], told: list[str]) -> _Kind | None:
    try:
        return kind.model_validate(plain)
    except ValidationError as error:
        name = (plain.get("metadata") or {}).get("name", "?")
        for item in error.errors():
            field = ".".join(str(part) for part in item["loc"])
            told.append(f"{kind.__name__} {name}: {field}: {_wrong(item)}{_advice(field)}")
        return None


def _wrong(item: Any) -> str:
    if item["type"] == "missing":
        return "is missing"
    value = item.get("input")
    if isinstance(value, str) and value.startswith("$"):
        return f"{value!r} is a variable that was not filled in; `envsubst` does that"
    return f"{value!r} does not do ({item['msg']})" if not isinstance(value, dict) else item["msg"]


def _advice(field: str) -> str:
    for end, words in _ADVICE.items():
        if field.endswith(end):
            return f"; {words}"
    return ""


def _with_our_workers(job: LifelongLearningJob) -> LifelongLearningJob:
    """Images of others cannot run here: our workers take their place, with the same environment."""
    spec = job.spec
    return job.model_copy(
        update={
            "spec": spec.model_copy(
                update={
                    "train": _with_command(spec.train, ("cornerloop", "sedna-train")),
                    "eval": _with_command(spec.eval, ("cornerloop", "sedna-eval")),
                }
            )
        }
    )


def _with_command(stage: _AnyStage, command: Sequence[str]) -> _AnyStage:
    first, *others = stage.template.spec.containers
    if first.command:
        return stage
    ours = first.model_copy(update={"command": tuple(command), "args": ()})
    pod = stage.template.spec.model_copy(update={"containers": (ours, *others)})
    template = stage.template.model_copy(update={"spec": pod})
    return stage.model_copy(update={"template": template})
