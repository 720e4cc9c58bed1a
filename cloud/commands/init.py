"""`cornerloop init DIR`: a folder in which the whole loop can begin, made in one step.

Configuration, key, classes and the folders that pictures go into. What lies there already is never
changed.
"""

import json
import os
import shlex
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from lifelong.config import load_config, load_label_map
from lifelong.errors import ConfigError
from lifelong.links.durable_files import write_whole
from lifelong.links.loopback_ports import free_port
from lifelong.records.label_map import CITYSCAPES

_CONFIG = """\
# One edge node, one cloud, one machine. `docs/configuration.md` has every key.
storage: shared/storage       # where edge and cloud meet; a bucket: s3://bucket/prefix
{classes}holdouts: holdouts            # pictures that examine and never train: holdouts/TASK/eval/
journal_path: journal
edge:
  id: edge-1
  source: {{type: folder, path: frames}}
  outbox: {{path: outbox}}
  state_path: edge-state
  updates: {{trusted_keys: keys/ring.json}}
releases: {{signing_key: keys/signing.json}}  # secret: whoever has it decides what edges run
{words}{annotators}rounds:
  min_examples: 8             # a round begins when so many hard examples have arrived
  annotation_budget: 32       # at most so many go to people in one round
job:
  dataset_path: host/var/lib/cornerloop/dataset
  report_not_before_seconds: 0
  linger_seconds: 0
web: {{port: {web_port}}}
"""

_LABEL_STUDIO = """\
label_studio:
  url: http://127.0.0.1:{port}
  token_env: CORNERLOOP_LABEL_STUDIO_TOKEN  # the name of the variable, never the token
  project: {project}
  local_files_root: shared    # what Label Studio may serve; keys must not lie in it
"""
_WORDS = """\
# What drafts are named by: words that mean a class of yours, e.g. `vehicle: [car, truck, bus]`.
# A class that has one of the shipped models' own words for its name needs none; they know
# {known}.
classes:
{classes}
"""
_WITHOUT = "annotation_folder: people     # drafts as files, corrections as files\n"


def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make; or one without config.yaml.")],
    classes: Annotated[
        str, typer.Option(help="Your classes, e.g. road,car,person; else 19 of Cityscapes.")
    ] = "",
    things: Annotated[
        str, typer.Option(help="Those of them that can be counted: drafted as polygons.")
    ] = "",
    without_label_studio: Annotated[
        bool, typer.Option("--without-label-studio", help="Corrections as files in a folder.")
    ] = False,
) -> None:
    """Make a folder with a configuration, a signing key, and a place for everything."""
    from typer.main import get_command

    from cloud.commands.keys import keys_app

    path = folder / "config.yaml"
    if path.exists():
        raise ConfigError(f"{path}: there is one already, nothing was changed; choose another name")
    names = _names(classes)
    for place in ("pictures", "camera", "frames", "holdouts", "keys"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    if names:
        write_whole(folder / "classes.json", _label_map(names, _names(things)).encode())
        write_whole(folder / "words.yaml", _words(names).encode())
    elif things:
        raise ConfigError("--things names some of --classes; say these too")
    unfinished = folder / ".unfinished-config.yaml"
    text = _text(folder, named=bool(names), studio=not without_label_studio)
    unfinished.write_text(text, encoding="utf-8")
    try:
        classes_told = ", ".join(load_label_map(load_config(unfinished)).names)
        if not (folder / "keys" / "ring.json").exists():
            password = os.environ.get("CORNERLOOP_SIGNING_PASSWORD", "")
            words = ["new", "--config", str(unfinished), *([] if password else ["--no-password"])]
            get_command(keys_app).main(words, prog_name="cornerloop keys", standalone_mode=False)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    unfinished.rename(path)
    typer.echo(f"{path}: {'without' if without_label_studio else 'with'} Label Studio")
    typer.echo(f"classes, ids from 0: {classes_told}")
    if foreign := _foreign(names):
        typer.echo(
            f"the shipped models draft no {', '.join(foreign)} until {folder / 'words.yaml'} says "
            f"which of their words mean {'it' if len(foreign) == 1 else 'them'}"
        )
    typer.echo(
        f"pictures to begin with go to {folder / 'pictures'}, the edge's to {folder / 'frames'}"
    )
    if not without_label_studio:
        next_one = shlex.join(["cornerloop", "label-studio", "--config", str(path)])
        typer.echo(f"next, in a terminal of its own: {next_one}")


def _foreign(names: Sequence[str]) -> list[str]:
    return [name for name in names if name not in CITYSCAPES.names]


def _words(names: Sequence[str]) -> str:
    known = textwrap.fill(", ".join(CITYSCAPES.names), 96).replace("\n", "\n# ")
    classes = [f"  {json.dumps(name, ensure_ascii=False)}: []" for name in _foreign(names)]
    return _WORDS.format(known=known, classes="\n".join(classes) or "  {}")


def _names(told: str) -> list[str]:
    return [name.strip() for name in told.split(",") if name.strip()]


def _label_map(names: Sequence[str], things: Sequence[str]) -> str:
    if unknown := sorted(set(things) - set(names)):
        raise ConfigError(f"--things: {', '.join(unknown)}: none of the classes {', '.join(names)}")
    entries = [{"name": name, "thing": name in things} for name in names]
    return json.dumps({"classes": entries}, indent=1, ensure_ascii=False)


def _text(folder: Path, *, named: bool, studio: bool) -> str:
    project = json.dumps(folder.absolute().name[:50].ljust(3, "_"), ensure_ascii=False)
    return _CONFIG.format(
        classes="label_map: classes.json       # its order gives the ids\n" if named else "",
        words="preannotation: {ontology: words.yaml}  # what drafts are named by\n"
        if named
        else "",
        annotators=(
            _LABEL_STUDIO.format(port=free_port(8080), project=project) if studio else _WITHOUT
        ),
        web_port=free_port(8000),
    )
