"""`cornerloop preannotate`: options to a section of the configuration, and the run told as it
goes."""

import logging
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lifelong.config import load_config, load_label_map
from lifelong.errors import ConfigError
from lifelong.given_settings import Given
from lifelong.sections.drafting import SSA_MASKS, PreannotationSection
from lifelong.setting_flags import Setting, with_settings

logger = logging.getLogger(__name__)

_TELL_EVERY_S = 30.0  # where there is no terminal to draw a bar on
_METHODS = {
    "open_vocabulary": "named in words (--open-vocabulary)",
    "text_prompts": "looked for by words (--text)",
}


@with_settings(
    Setting(flag="--label-map", key="label_map", note="JSON of your classes; else Cityscapes' 19"),
    Setting(flag="--ontology", key="preannotation.ontology", note="YAML of words for a class"),
    Setting(flag="--device", key="preannotation.device", note="auto, cpu, cuda, cuda:1 …"),
    pairs_within="preannotation",
)
def preannotate(
    *,
    images: Annotated[Path, typer.Argument(help="Folder of pictures, nested or not.")],
    out: Annotated[Path, typer.Option(help="The data set: raw_data/ and ssa_output/ in it.")],
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", envvar="CORNERLOOP_CONFIG", help="Configuration file."),
    ] = None,
    given: Sequence[Given],
    masks: Annotated[
        str | None,
        typer.Option(help="TYPE[:MODEL], e.g. sam:vit_h, mobile_sam, superpixels, none."),
    ] = None,
    mask_weights: Annotated[
        Path | None, typer.Option(help="File or folder of the mask branch's weights.")
    ] = None,
    semantic: Annotated[
        str | None,
        typer.Option(help="TYPE[:MODEL], e.g. tiny, transformers:FOLDER_OR_HUB_ID, onnx:FILE."),
    ] = None,
    open_vocabulary: Annotated[
        bool, typer.Option("--open-vocabulary", help="Name every mask in words.")
    ] = False,
    light: Annotated[bool, typer.Option("--light", help="The smaller naming models.")] = False,
    text: Annotated[
        list[str] | None,
        typer.Option(help="PROMPT=CLASS to look for; may be given several times."),
    ] = None,
    ssa_compat: Annotated[
        bool, typer.Option("--ssa-compat", help="SSA's settings, and its BGR pictures.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes that draft.")] = 1,
    shard: Annotated[str, typer.Option(help="INDEX/COUNT: only this share, from 0.")] = "0/1",
    resume: Annotated[
        bool, typer.Option(help="Leave out what is drafted already; --no-resume drafts anew.")
    ] = True,
    png: Annotated[bool, typer.Option(help="A picture of each draft beside its JSON.")] = True,
    max_empty: Annotated[
        float, typer.Option(min=0, max=1, help="Share of drafts without a class that is no alarm.")
    ] = 0.2,
    max_failed: Annotated[
        float, typer.Option(min=0, max=1, help="Share that may fail without exit code 1.")
    ] = 0.0,
) -> None:
    """Draft masks for a folder of pictures, in Semantic Segment Anything's layout."""
    from cloud.drafting.raw_pictures import shard_from
    from cloud.drafting.run import DraftingRun, exit_code_of

    known = load_config(config, given)
    section = section_from(
        known.preannotation, masks=masks, mask_weights=mask_weights, semantic=semantic,
        open_vocabulary=open_vocabulary, light=light, text=text or [], ssa_compat=ssa_compat,
    )  # fmt: skip
    run = DraftingRun(
        images, out, section, load_label_map(known), workers=workers, shard=shard_from(shard),
        resume=resume, with_png=png, max_empty_share=max_empty,
    )  # fmt: skip
    _warn_of_unread(images)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: run.stop())
    with _Told() as told:
        report = run.run(told.progress)
    if report.done < report.pictures:
        typer.echo("stopped before the end; the same command goes on from here", err=True)
    for failure in report.failures[:10]:
        typer.echo(f"failed: {failure.error}", err=True)
    if len(report.failures) > 10:
        typer.echo(f"… and {len(report.failures) - 10} more, see the report", err=True)
    for warning in report.warnings:
        typer.secho(f"WARNING: {warning}", err=True, fg="yellow")
    typer.echo(
        f"{report.drafted} drafted, {report.skipped} were done, {len(report.failures)} failed "
        f"of {report.pictures}, {report.seconds:.0f} s -> {out}"
    )
    sys.exit(exit_code_of(report, max_failed))


def _warn_of_unread(images: Path) -> None:
    from cloud.drafting.raw_pictures import SUFFIXES, unread_pictures

    if unread := unread_pictures(images):
        named = ", ".join(unread[:3]) + (" …" if unread[3:] else "")
        typer.secho(
            f"WARNING: {len(unread)} left out ({named}): save as one of "
            f"{', '.join(sorted(SUFFIXES))}",
            err=True,
            fg="yellow",
        )


def section_from(
    section: PreannotationSection, *, masks: str | None, mask_weights: Path | None,
    semantic: str | None, open_vocabulary: bool, light: bool, text: list[str],
    ssa_compat: bool,
) -> PreannotationSection:  # fmt: skip
    """The configuration's section with what the command line says instead.

    Raises:
        ConfigError: options that cannot be meant together, or a name that does not exist.
    """
    if open_vocabulary and text:
        raise ConfigError("--open-vocabulary and --text are two ways of drafting; choose one")
    told = section.model_dump()
    if ssa_compat:
        told["ssa_compat"] = True
        told["vote"] |= {"weights": "majority", "erased_classes": "flag"}
        told["masks"] |= SSA_MASKS.model_dump(exclude={"type", "model", "checkpoint"})
    if masks is not None:
        kind, _, model = masks.partition(":")
        told["masks"] |= {"type": kind, "model": model or None, "checkpoint": None}
    if mask_weights is not None:
        told["masks"]["checkpoint"] = mask_weights
    if semantic is not None:
        kind, _, model = semantic.partition(":")
        told["semantic"] |= {"type": kind, "model": model or None}
    if open_vocabulary:
        told["method"] = "open_vocabulary"
    if light:
        told["open_vocabulary"]["light"] = True
    if text:
        told["method"] = "text_prompts"
        told["text_prompts"]["prompts"] = dict(_prompt_from(one) for one in text)
    if light and told["method"] != "open_vocabulary":
        raise ConfigError("--light means the smaller models of --open-vocabulary; say that too")
    if semantic is not None and told["method"] != "closed_set":
        raise ConfigError(
            "--semantic names the classes of closed-set drafts; leave it out where drafts are "
            f"{_METHODS[told['method']]}"
        )
    if told["ssa_compat"] and told["method"] != "closed_set":
        raise ConfigError(
            "--ssa-compat compares closed-set drafts with those of SSA's main_ssa.py; leave it "
            f"out, and preannotation.ssa_compat too, where drafts are {_METHODS[told['method']]}"
        )
    return section_of(told)


def section_of(told: dict[str, Any]) -> PreannotationSection:
    """A checked section.

    Raises:
        ConfigError: one line for each value that does not fit.
    """
    from pydantic import ValidationError

    try:
        return PreannotationSection.model_validate(told)
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}, got {e['input']!r}"
            for e in error.errors()
        ]
        raise ConfigError("preannotate: " + "; ".join(lines)) from error


def _prompt_from(text: str) -> tuple[str, str]:
    prompt, _, name = text.rpartition("=")
    if not prompt.strip() or not name.strip():
        raise ConfigError(f"--text {text!r}: expected PROMPT=CLASS, e.g. 'traffic cone=cone'")
    return prompt.strip(), name.strip()


class _Told:
    """A bar with rate and time left on a terminal; elsewhere a line now and then."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("drafting"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[failed]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("drafting", total=None, rate="", failed="")
        self._quiet = not console.is_terminal
        self._began = self._told_at = time.monotonic()

    def __enter__(self) -> "_Told":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def progress(self, report: Any, workers: int) -> None:
        """Told after each picture."""
        now = time.monotonic()
        here = report.drafted + len(report.failures)
        per_minute = 60 * here / max(now - self._began, 1e-3)
        left = (report.pictures - report.done) / max(per_minute, 1e-3)
        failed = f"{len(report.failures)} failed" if report.failures else ""
        rate = f"{per_minute:.1f} a minute"
        self._bar.update(
            self._task, total=report.pictures, completed=report.done, rate=rate, failed=failed
        )
        if self._quiet and here and now - self._told_at > _TELL_EVERY_S:
            self._told_at = now
            logger.info(
                "%d of %d drafts, %s, %.0f minutes left %s",
                report.done, report.pictures, rate, left, failed,
            )  # fmt: skip
