"""The one YAML schema: frozen sections, how to load it, how to say what is wrong with it."""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError

from lifelong.errors import ConfigError
from lifelong.given_settings import Given, is_given, merged, whose
from lifelong.links.redaction import hide_environment
from lifelong.records.colours import Colour, distinct_colours
from lifelong.records.label_map import CITYSCAPES, LabelMap, label_map_of
from lifelong.sections.annotation import LabelStudioSection
from lifelong.sections.assist import AssistSection
from lifelong.sections.conditions import ConditionsSection
from lifelong.sections.drafting import MODEL_NAMES, MasksSection, PreannotationSection
from lifelong.sections.edge import EdgeSection
from lifelong.sections.fleet import EdgesSection, ReleasesSection
from lifelong.sections.gate import GateSection as GateSection
from lifelong.sections.labels import LabelsSection
from lifelong.sections.queue import QueueSection
from lifelong.sections.review import ReviewSection
from lifelong.sections.training import SCRATCH
from lifelong.sections.training import TrainingSection as TrainingSection
from lifelong.sections.trigger import TriggerSection
from lifelong.sections.types import DatasetPlace, IndexName, Positive, Seconds, Section
from lifelong.sections.web import WebSection as WebSection


class RoundsSection(Section):
    """One turn of the loop."""

    min_examples: Positive = 8  # a round begins when so many hard examples have arrived
    annotation_budget: Positive = 32  # at most so many go to people in one round
    proceed_share: Annotated[float, Field(gt=0, le=1)] = 1.0  # of the tasks, finished or skipped
    step_seconds: Seconds = 1.0  # pause between two looks
    lease_seconds: Annotated[float, Field(ge=2)] = 30.0
    trigger: TriggerSection = TriggerSection()


class JobSection(Section):
    """The Sedna job that trains and judges: locally by `cornerloop job run`, or in a cluster."""

    # Folder of the Dataset's index file and its pictures, or s3://bucket/prefix.
    dataset_path: DatasetPlace = Path("dataset")
    index: IndexName = "index.txt"
    # Of a round's annotations, how many train; the rest examine. The same number as the
    # manifest's trainProb, since Sedna cuts the index by that.
    train_share: Annotated[float, Field(gt=0, le=1)] = 0.9
    # A report within the first seconds of a pod's life, or just before its end, is lost by
    # Sedna's own status writes; `cornerloop job run` sets both to 0.
    report_not_before_seconds: Seconds = 15.0
    linger_seconds: Seconds = 20.0


class Config(Section):
    """Everything a node of Cornerloop may be told; a section it does not need may be absent."""

    storage: str = "storage"  # folder, file://, s3://bucket/prefix …
    label_map: Path | None = None  # JSON; None: the 19 Cityscapes classes
    # Of the Cityscapes classes: colours that every eye tells apart, or the data set's own.
    colours: Literal["safe", "data_set"] = "safe"
    holdouts: Path | None = None  # folder with one hold-out per learning task, each laid out
    # as {task}/eval/{images,train_ids}; None: only samples of the knowledge base examine
    journal_path: Path = Path("journal")
    edge: EdgeSection | None = None
    label_studio: LabelStudioSection = LabelStudioSection()
    assist: AssistSection = AssistSection()
    review: ReviewSection = ReviewSection()
    labels: LabelsSection = LabelsSection()
    annotation_folder: Path | None = None  # people work on files there, without Label Studio
    preannotation: PreannotationSection = PreannotationSection()
    queue: QueueSection = QueueSection()
    conditions: ConditionsSection = ConditionsSection()
    rounds: RoundsSection = RoundsSection()
    training: TrainingSection = TrainingSection()
    gate: GateSection = GateSection()
    releases: ReleasesSection = ReleasesSection()
    edges: EdgesSection = EdgesSection()
    job: JobSection = JobSection()
    web: WebSection = WebSection()


def load_config(path: Path | None, given: Sequence[Given] = ()) -> Config:
    """Read a configuration file, and put what a command line gave in its place.

    Relative paths in the file start at the file's own folder, given ones at the working folder.
    Secrets in the environment variables that it names are never logged from then on.

    Args:
        path: None: no file; every key that is not given has its default.

    Raises:
        ConfigError: one line for each mistake, with file or flag, key and what would be right.
    """
    content = merged({} if path is None else _content_of(path), given)
    try:
        config = Config.model_validate(content)
    except ValidationError as error:
        lines = [
            f"{whose(_place(item), given) or path or 'without --config'}: {_line(item)}"
            for item in error.errors()
        ]
        raise ConfigError("\n".join(lines)) from error
    hide_environment(names=_secret_variables(config))
    base = Path.cwd() if path is None else path.absolute().parent
    return _with_absolute_paths(config, base, given)


def _content_of(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); name an existing file"
        ) from error
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path}: expected sections (storage:, edge:, …), got {type(content).__name__}"
        )
    return content


def _secret_variables(section: BaseModel) -> Iterator[str]:
    """Names of the variables that a configuration says hold secrets."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _secret_variables(value)
        elif name.endswith("_env") and name != "user_env" and isinstance(value, str) and value:
            yield value


def load_label_map(config: Config) -> LabelMap:
    """The label map that a configuration names: Cityscapes, or a JSON file.

    The file holds `{"id2label": {"0": "road", …}}` as seed 003 has it, or
    `{"classes": [{"name": "road", "colour": [128, 64, 128], "thing": false}, …]}`; `colour` and
    `thing` may be left out. Classes without colours of their own get distinct ones.

    Raises:
        ConfigError: the file cannot be read or says something else.
        LabelMapError: names or colours are used twice.
    """
    if config.label_map is None:
        return CITYSCAPES if config.colours == "data_set" else CITYSCAPES.with_distinct_colours()
    return read_label_map(config.label_map)


def read_label_map(path: Path) -> LabelMap:
    """A label map from such a file.

    Raises:
        ConfigError: the file cannot be read or says something else.
        LabelMapError: names or colours are used twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); label_map must name an existing file"
        ) from error
    try:
        content = yaml.safe_load(text)
        if "id2label" in content:
            ids = {int(key): str(name) for key, name in content["id2label"].items()}
            if sorted(ids) != list(range(len(ids))):
                raise ConfigError(f"{path}: ids must run from 0 without gaps")
            known = {name for name in CITYSCAPES.things if name in ids.values()}
            pairs = zip((ids[i] for i in range(len(ids))), distinct_colours(len(ids)), strict=True)
            return label_map_of(pairs).with_things(known)
        entries = content["classes"]
        spare = distinct_colours(len(entries))
        chosen = [_colour_of(entry, spare[i]) for i, entry in enumerate(entries)]
        names = [str(entry["name"]) for entry in entries]
        things = [str(entry["name"]) for entry in entries if entry.get("thing")]
        return label_map_of(zip(names, chosen, strict=True)).with_things(things)
    except (
        yaml.YAMLError, KeyError, TypeError, ValueError, IndexError, AttributeError
    ) as error:  # fmt: skip
        raise ConfigError(
            f'{path}: expected {{"id2label": {{"0": "road", …}}}} or '
            f'{{"classes": [{{"name": …, "colour": [r, g, b]}}]}} ({error!r})'
        ) from error


def _colour_of(entry: Any, otherwise: Colour) -> Colour:
    if "colour" not in entry:
        return otherwise
    red, green, blue = (int(part) for part in entry["colour"])
    return (red, green, blue)


def _place(item: Any) -> list[str]:
    return [str(part) for part in item["loc"]]


def _line(item: Any) -> str:
    parts = _place(item)
    key = ".".join(parts)
    if item["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(parts[-1], _known_keys(parts[:-1]), n=1, cutoff=0.5)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        return f"{key}: unknown key{hint}"
    return f"{key}: {item['msg']}"


def _known_keys(parts: list[str]) -> list[str]:
    """Keys of the section at `parts`; union variants are named in pydantic's location."""
    sections: list[type[BaseModel]] = [Config]
    for part in parts:
        found = [
            variant
            for section in sections
            if part in section.model_fields
            for variant in _sections_in(section.model_fields[part].annotation)
        ]
        if found:
            sections = found
    return [name for section in sections for name in section.model_fields]


def _sections_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for inner in getattr(annotation, "__args__", ()) for found in _sections_in(inner)]


def _placed(value: Any, base: Path) -> Any:
    """A model's name, or several: a path where something lies, else a name of the hub."""
    if isinstance(value, tuple):
        return tuple(_placed(one, base) for one in value)
    if value == SCRATCH:
        return value  # also where a folder is called so
    place = base / Path(value).expanduser()
    return str(place.resolve()) if place.exists() else value


def _with_absolute_paths(config: Config, base: Path, given: Sequence[Given]) -> Config:
    """Paths of a file mean "from where this file lies", wherever the command was started; those
    of a command line mean "from here"."""

    def start_of(key: tuple[str, ...]) -> Path:
        return Path.cwd() if is_given(key, given) else base

    def absolute(section: BaseModel, above: tuple[str, ...]) -> BaseModel:
        changes: dict[str, object] = {}
        for name in type(section).model_fields:
            value, key = getattr(section, name), (*above, name)
            if isinstance(value, Path):
                changes[name] = (start_of(key) / value).resolve()
            elif isinstance(value, BaseModel):
                changes[name] = absolute(value, key)
            elif name in MODEL_NAMES and not isinstance(section, MasksSection) and value:
                changes[name] = _placed(value, start_of(key))
        return section.model_copy(update=changes)

    result = absolute(config, ())
    assert isinstance(result, Config)
    if "://" not in config.storage:
        storage = (start_of(("storage",)) / config.storage).resolve()
        result = result.model_copy(update={"storage": str(storage)})
    return result
