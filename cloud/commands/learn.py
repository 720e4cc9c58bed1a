"""`cornerloop learn`: one strategy through a sequence of labelled folders, with its figures."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lifelong.records.label_map import LabelMap
    from lifelong.sections.training import TrainingSection


def learn(
    data: Annotated[
        Path, typer.Option(help="DIR/{domain}/{train,eval}/{images,train_ids}, class ids, 255.")
    ],
    domains: Annotated[
        str, typer.Option(help="In which order, e.g. day,dusk. Default: all, by name.")
    ] = "",
    strategy: Annotated[str | None, typer.Option(help="Instead of training.strategy.")] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of training.seed.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of training, e.g. --set steps=400. May be repeated."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Take label map and training from it.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the course is kept; goes on from there.")] = Path(
        "runs/learn"
    ),
    labels: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Of each later domain, learn only this share.")
    ] = 1.0,
    selection: Annotated[
        str, typer.Option(help="Who chooses them: ours, random, entropy, k_centre …")
    ] = "ours",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Learn domains one after the other; be examined on all of them after each."""
    from cloud.learning.course import Course
    from cloud.learning.course_figures import figures_of
    from cloud.learning.course_picture import draw_course
    from cloud.learning.domains import read_domains
    from cloud.learning.label_choice import LabelChoice
    from cloud.weights.student_weights import beginning_of

    label_map, section = _settings(config, strategy, seed, settings or [])
    begun = beginning_of(section, label_map)
    course = Course(
        read_domains(data, [name for name in domains.split(",") if name]),
        section,
        label_map,
        out,
        begin=begun.weights if begun is not None else None,
        normalisation=begun.normalisation if begun is not None else None,
        choice=LabelChoice(share=labels, strategy=selection) if labels < 1.0 else None,
    )
    stages = _with_progress(course)
    figures = {
        "strategy": section.strategy,
        "seed": section.seed,
        "network": section.network,
        **figures_of(stages, course.untrained()),
    }
    (out / "report.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    (out / "model.bundle").write_bytes(course.bundle(len(stages) - 1).to_bytes())
    draw_course(stages, out / "learning.png")
    if as_json:
        typer.echo(json.dumps(figures))
        return
    typer.echo(course_text(figures))
    typer.echo(f"{out}/report.json, learning.png, model.bundle")


def course_text(figures: dict[str, Any]) -> str:
    """The accuracy matrix and what is made of it, in points of mIoU, for people."""
    names = figures["domains"]
    width = max(len("untrained"), *(len(name) for name in names)) + 6
    lines = [" " * width + "".join(f"{name:>10}" for name in names)]
    rows = [("untrained", list(figures["untrained"].values()))]
    rows += [(f"after {name}", row) for name, row in zip(names, figures["matrix"], strict=True)]
    lines += [f"{name:<{width}}" + "".join(f"{_points(v):>10}" for v in row) for name, row in rows]
    ends = figures["intervals"]
    lines.append("")
    for key in ("acc", "bwt", "fwt", "forgetting", "plasticity"):
        interval = f"  ({_points(ends[key][0])} to {_points(ends[key][1])})" if key in ends else ""
        lines.append(f"{key:<{width}}{_points(figures[key]):>10}{interval}")
    other = figures["ianvs_compatible"]
    lines.append(f"Ianvs-compatible BWT {_points(other['bwt'])}, FWT {_points(other['fwt'])}")
    return "\n".join(lines)


def _points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _settings(
    config: Path | None, strategy: str | None, seed: int | None, settings: list[str]
) -> "tuple[LabelMap, TrainingSection]":
    import yaml
    from pydantic import ValidationError

    from lifelong.config import Config, load_config, load_label_map
    from lifelong.errors import ConfigError
    from lifelong.sections.training import TrainingSection

    given = load_config(config) if config is not None else Config()
    changes: dict[str, Any] = {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text}: expected KEY=VALUE, e.g. steps=400")
        changes[key] = yaml.safe_load(value)
    changes |= {"strategy": strategy} if strategy is not None else {}
    changes |= {"seed": seed} if seed is not None else {}
    try:
        section = TrainingSection.model_validate(given.training.model_dump() | changes)
    except ValidationError as error:
        told = "; ".join(f"training.{e['loc'][0]}: {e['msg']}" for e in error.errors())
        raise ConfigError(told) from error
    return load_label_map(given), section


def _with_progress(course: Any) -> Any:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        rows: dict[str, Any] = {}

        def told(domain: str, step: int, steps: int, loss: float) -> None:
            if domain not in rows:
                rows[domain] = bars.add_task(domain, total=steps)
            bars.update(rows[domain], completed=step, description=f"{domain}, loss {loss:.3f}")

        return course.run(told)
