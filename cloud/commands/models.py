"""`cornerloop models`: which public weights there are, bring them here, are they still right?"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from cloud.weights.catalogue import CatalogueEntry, catalogue, entry_named
from cloud.weights.check import Checked, check
from cloud.weights.records import read_record, record_path, recorded_entries
from cloud.weights.store import is_present, place_of, weights_folder
from lifelong.config import load_config
from lifelong.errors import LifelongError

models_app = typer.Typer(
    help="Public weights: list, pull (or copy from a stick), check.", no_args_is_help=True
)

PathOption = Annotated[
    Path | None,
    typer.Option(
        "--weights-path", help="Where weights lie. Default: CORNERLOOP_WEIGHTS, else the cache."
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Take preannotation.weights_path from this file."),
]
_TIMEOUT = 30.0  # seconds without a byte, not of the whole


@models_app.command("list")
def list_models(
    weights_path: PathOption = None,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Every model of the catalogue, and every other one that was pulled."""
    folder = _folder(weights_path, config)
    rows = [_row(entry, folder) for entry in _entries(folder)]
    if as_json:
        typer.echo(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    typer.echo(f"weights in {folder}\n")
    for row in rows:
        here = "here" if row["present"] else "not here"
        typer.echo(f"{row['name']}: {row['what']}, {row['size_text']}, {here}")
        known = f"SHA-256 {row['sha256']}" if row["sha256"] else "no published SHA-256"
        typer.echo(f"    {row['source']}\n    {known}; licence: {row['licence']}")


@models_app.command("pull")
def pull_models(
    names: Annotated[list[str], typer.Argument(help="Names of the catalogue, or hub ids.")],
    mirror: Annotated[
        str | None, typer.Option("--from", help="A mirror's address, or a folder.")
    ] = None,
    weights_path: PathOption = None,
    config: ConfigOption = None,
) -> None:
    """Bring weights here and check them; what is here already is only checked."""
    import httpx

    from cloud.weights.pull import pull
    from cloud.weights.sources import source_of
    from cloud.weights.transfer import WebFiles

    folder = _folder(weights_path, config)
    entries = [entry_named(name) for name in names]
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with (
        httpx.Client(follow_redirects=True, timeout=_TIMEOUT) as client,
        Progress(*columns, TransferSpeedColumn(), console=Console(stderr=True)) as bars,
    ):
        source = source_of(mirror, WebFiles(client))
        for entry in entries:
            if entry.licence != "Apache-2.0":
                bars.console.print(f"{entry.name}: licence: {entry.licence}", style="bold")
            pulled = pull(entry, folder, source, _Bars(bars).tell)
            for note in pulled.notes:
                bars.console.print(note)
            brought = f"{len(pulled.fetched)} files brought, {len(pulled.kept)} were there"
            typer.echo(f"{entry.name}: {pulled.place} ({brought})")


@models_app.command("check")
def check_models(
    names: Annotated[list[str] | None, typer.Argument(help="Default: all that are here.")] = None,
    weights_path: PathOption = None,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Hash what is here and compare it with the catalogue or the record of its pull."""
    folder = _folder(weights_path, config)
    entries = [entry_named(name) for name in names] if names else _entries(folder)
    results: list[tuple[str, Checked]] = []
    for entry in entries:
        found = list(check(entry, folder))
        if names and not found:
            words = f"is not there; `cornerloop models pull {entry.name}` brings it"
            found = [Checked(path=place_of(entry, folder), good=False, words=words)]
        results += [(entry.name, one) for one in found]
    if as_json:
        plain = [{"name": n, **asdict(c), "path": str(c.path)} for n, c in results]
        typer.echo(json.dumps(plain, indent=1, ensure_ascii=False))
    else:
        for name, one in results:
            typer.echo(f"{'ok ' if one.good else 'BAD'} {name}: {one.path} {one.words}")
        if not results:
            typer.echo(f"nothing to check in {folder}")
    if not all(one.good for _, one in results):
        raise typer.Exit(1)


@models_app.command("reduce")
def reduce_model(
    bundle: Annotated[Path, typer.Argument(help="A bundle file that computes in fp32.")],
    precision: Annotated[str, typer.Option("--precision", help="int8 or fp16.")],
    data: Annotated[
        Path,
        typer.Option("--data", help="Folder with images and train_ids, of what it is used for."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Where the reduced bundle goes.")],
    max_loss: Annotated[
        float, typer.Option("--max-loss", help="Of mIoU, 0.01 = one point; more: no file.")
    ] = 0.01,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Make a bundle compute with fewer bits, and say what that costs.

    Every second picture of the folder calibrates, the others tell the loss.
    """
    from cloud.learning.bundle_reduction import reduce_file

    told = reduce_file(bundle, precision, data, out, max_loss=max_loss)
    if as_json:
        typer.echo(json.dumps(told, ensure_ascii=False))
    else:
        typer.echo("\n".join(f"{name}: {value}" for name, value in told.items()))
    if told["refused"]:
        raise typer.Exit(1)


@models_app.command("export")
def export_model(
    name: Annotated[str, typer.Argument(help="tiny_sam, sam_vit_b, sam_vit_l, mobile_sam …")],
    to: Annotated[
        Path | None, typer.Option("--to", "--out", help="Folder to write. Default: ./NAME-onnx.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="File of the weights, not a pulled one.")
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="An int8 encoder too, with its loss.")
    ] = False,
    calibrate: Annotated[
        Path | None,
        typer.Option("--calibrate", help="Pictures for int8, or images beside train_ids."),
    ] = None,
    weights_path: PathOption = None,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Write a SAM as ONNX, for clicks without torch (assist.model.type: onnx)."""
    from cloud.assist_service.models_export import export

    folder = to or Path(f"{name}-onnx")
    described = export(
        name,
        folder,
        checkpoint=checkpoint,
        weights_path=_folder(weights_path, config),
        int8=int8 or calibrate is not None,
        calibrate=calibrate,
        tell=lambda words: typer.echo(words, err=True),
    )
    if as_json:
        typer.echo(described.to_json())
        return
    for graph in (described.encoder, described.decoder, described.encoder_int8):
        if graph is not None:
            typer.echo(f"{folder / graph.graph.name}: {graph.size / 1e6:,.1f} MB")
    typer.echo(f"assist.model: {{type: onnx, checkpoint: {folder}}} answers clicks with it")


class _Bars:
    """One progress bar a file."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, Any] = {}

    def tell(self, name: str, done: int, total: int | None) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total)
        self._bars.update(self._tasks[name], completed=done, total=total)


def _folder(weights_path: Path | None, config: Path | None) -> Path:
    if weights_path is None and config is not None:
        weights_path = load_config(config).preannotation.weights_path
    return weights_folder(weights_path)


def _entries(folder: Path) -> list[CatalogueEntry]:
    known = catalogue()
    return [*known.values(), *(e for e in recorded_entries(folder) if e.name not in known)]


def _row(entry: CatalogueEntry, folder: Path) -> dict[str, Any]:
    present = is_present(entry, folder)
    try:
        record = read_record(record_path(entry, folder)) if present else None
    except LifelongError:
        record = None  # `check` says what is wrong with it
    return {
        **asdict(entry),
        "size_text": f"{entry.size / 1e6:,.1f} MB" if entry.size else entry.about or "–",
        "present": present,
        "where": str(place_of(entry, folder)) if present else None,
        "pulled_at": record.pulled_at.isoformat() if record else None,
    }
