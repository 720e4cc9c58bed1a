"""`cornerloop learn`: one strategy through a sequence of labelled folders, with its figures."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cloud.learning.training_flags import TRAINING
from lifelong.given_settings import Given
from lifelong.setting_flags import with_settings


@with_settings(*TRAINING, pairs_within="training")
def learn(
    *,
    data: Annotated[
        Path, typer.Option(help="DIR/{domain}/{train,eval}/{images,train_ids}, class ids, 255.")
    ],
    domains: Annotated[
        str, typer.Option(help="In which order, e.g. day,dusk. Default: all, by name.")
    ] = "",
    given: Sequence[Given],
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
    from lifelong.config import load_config, load_label_map

    known = load_config(config, given)
    label_map, section = load_label_map(known), known.training
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
