"""`cornerloop backup`, `cornerloop restore`: the whole state out, and back.

Exit codes: 0 done, 1 an error of ours, something that was to be in the backup is not, or a backup
that is not whole, 2 usage.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lifelong.errors import ConfigError, LifelongError
from lifelong.links.journal import JSONValue

if TYPE_CHECKING:
    from cloud.backup.parts import Part
    from cloud.backup.records import BackupRecord
    from cloud.backup.writing import Tell
    from lifelong.config import Config
    from lifelong.links.storage import Storage

_KEPT_TOLD = 20

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="CORNERLOOP_CONFIG", help="Configuration file."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
FolderOption = Annotated[
    list[str] | None,
    typer.Option(
        "--folder", metavar="NAME=DIR",
        help="A folder of the job too (its --state, its outputs); may be repeated, state first.",
    ),
]  # fmt: skip


def backup(
    out: Annotated[str, typer.Argument(help="A folder, or s3://bucket/prefix.")],
    config: ConfigOption = None,
    folder: FolderOption = None,
    with_signing_key: Annotated[
        bool,
        typer.Option(
            "--with-signing-key",
            help="The key that signs releases too: whoever has the copy and its password decides "
            "what every node runs.",
        ),
    ] = False,
    label_studio: Annotated[
        bool,
        typer.Option(
            help="Label Studio too: the data folder of `cornerloop label-studio`, accounts and "
            "secret key with it; of any other, what its API tells of our project."
        ),
    ] = True,
    verify: Annotated[
        bool, typer.Option("--verify", help="Only read the backup OUT, and hash it again.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Copy the whole state, while the loop runs; again into the same place, only what is new."""
    if verify:
        _verify(out, as_json=as_json)
        return
    if config is None:
        raise typer.BadParameter("name the configuration whose state is to be copied (--config)")
    from cloud.backup.parts import parts_of, read_folders
    from cloud.backup.writing import back_up, open_place, refuse_nested
    from lifelong.config import load_config
    from lifelong.links.journal import utc_now

    known = load_config(config)
    storage, folders = _open_storage(known), read_folders(folder or [])
    parts = parts_of(known, config, storage, with_signing_key=with_signing_key, folders=folders)
    refuse_nested(out, parts, storage)
    _record(known, storage, "state.backed_up", place=out, with_signing_key=with_signing_key)
    troubles = _add_studio(parts, known, config) if label_studio else []
    left_out = [] if label_studio else ["label-studio: left out on request"]
    if known.releases.signing_key is not None and not with_signing_key:
        left_out.append("signing-key: only with --with-signing-key")
    with _progress() as tell:
        done = back_up(
            open_place(out, for_writing=True), storage, parts, now=utc_now, tell=tell,
            folders=tuple(folders), left_out=[*left_out, *troubles],
        )  # fmt: skip
    _journal(known).event("state.backed_up", backup_id=done.record.backup_id, copied=done.copied)
    told = {
        **_told(done.record, out),
        "copied": done.copied,
        "copied_bytes": done.copied_bytes,
        "removed": done.removed,
        "troubles": troubles,
    }
    text = (
        f"{out}: {told['items']} objects and files, {told['bytes'] / 2**20:.1f} MiB; "
        f"{done.copied} new ones copied ({done.copied_bytes / 2**20:.1f} MiB)"
    )
    _say(
        told,
        "\n".join([text, *(f"not in it: {line}" for line in told["left_out"])]),
        as_json=as_json,
    )
    if troubles:
        raise typer.Exit(1)


def restore(
    backup: Annotated[str, typer.Argument(help="A folder or s3://… that `backup` wrote.")],
    config: Annotated[
        Path,
        typer.Option(
            "--config",
            "-c",
            envvar="CORNERLOOP_CONFIG",
            help="Where everything goes to; a file that is not there is taken from the backup.",
        ),
    ],
    folder: FolderOption = None,
    into_existing: Annotated[
        bool,
        typer.Option(
            "--into-existing",
            help="Only add what is missing; nothing that is there is changed or removed.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Put a backup back into an empty place; interrupted, the same command goes on."""
    from cloud.backup.parts import parts_of, read_folders
    from cloud.backup.records import read_record
    from cloud.backup.restoring import restore as put_back
    from cloud.backup.writing import open_place
    from cloud.releasing.releases import Releases
    from cloud.releasing.signing_keys import signer_source
    from lifelong.config import load_config
    from lifelong.links.journal import utc_now

    place = open_place(backup, for_writing=False)
    record = read_record(place)
    took = _take_config(place, record, config)
    known, folders = load_config(config), read_folders(folder or [])
    _refuse_unnamed(record, folders)
    storage = _open_storage(known)
    parts = parts_of(
        known, config, storage, with_signing_key=True, folders=folders,
        known={item.part for item in record.items},
    )  # fmt: skip
    parts += _studio_folder(known, config)
    journal = _journal(known)
    releases = Releases(storage, journal, utc_now, signer_source(known.releases, storage))
    with _progress() as tell:
        done = put_back(
            place, record, storage, parts, releases, completes=into_existing, now=utc_now,
            tell=tell,
        )  # fmt: skip
    _record(known, storage, "state.restored", backup_id=record.backup_id, place=backup)
    journal.event("state.restored", backup_id=record.backup_id, written=done.written)
    told: dict[str, Any] = {
        **_told(record, backup),
        "config": str(config),
        "config_taken": took,
        "written": done.written,
        "there": done.there,
        "kept": done.kept,
        "forgotten": done.forgotten,
        "no_place": done.no_place,
        "release": done.release.number if done.release else None,
        "not_released": done.not_released,
        "open_round": done.open_round or None,
        "work": done.work,
    }
    _say(told, "\n".join(_restored_text(told)), as_json=as_json)
    if done.not_released:
        raise typer.Exit(1)


def _verify(out: str, *, as_json: bool) -> None:
    from cloud.backup.records import verify
    from cloud.backup.writing import open_place

    with _progress() as tell:
        found = verify(open_place(out, for_writing=False), tell)
    told = {
        "backup_id": found.backup_id, "objects": found.objects, "bytes": found.size,
        "missing": list(found.missing), "damaged": list(found.damaged), "whole": found.is_whole,
    }  # fmt: skip
    lines = [f"missing: {one}" for one in found.missing]
    lines += [f"damaged: {one}" for one in found.damaged]
    lines.append(
        f"{out}: {found.objects} objects, {found.size / 2**20:.1f} MiB, "
        + ("all as they were written" if found.is_whole else "NOT whole")
    )
    _say(told, "\n".join(lines), as_json=as_json)
    if not found.is_whole:
        raise typer.Exit(1)


def _add_studio(parts: "list[Part]", config: "Config", config_path: Path) -> list[str]:
    """Label Studio's side as parts; why it is not, in words, when it cannot be asked.

    One of our own is copied as it lies, whether or not it runs just now.
    """
    if config.annotation_folder is not None:
        return []
    from cloud.assembly import open_label_studio
    from cloud.backup.studio_copy import studio_part
    from cloud.own_label_studio import is_ours

    ours = _studio_folder(config, config_path) if is_ours(config, config_path) else []
    parts += ours
    section = config.label_studio
    try:
        studio = open_label_studio(config)
        try:
            parts.append(studio_part(studio, section.project, section.url))
        finally:
            studio.close()
    except LifelongError as error:
        if not ours:
            return [f"label-studio: {error} (`--no-label-studio` backs up without it)"]
    return []


def _studio_folder(config: "Config", config_path: Path) -> "list[Part]":
    """Where a Label Studio of our own has its data, or would have it."""
    from cloud.backup.studio_folder import studio_folder_part
    from cloud.own_label_studio import own_data_folder, own_port

    if own_port(config) is None:
        return []
    return [studio_folder_part(own_data_folder(config_path))]


def _take_config(place: "Storage", record: "BackupRecord", config: Path) -> bool:
    """Write the configuration of the backup where none is; True when it was."""
    if config.exists():
        return False
    from cloud.backup.records import object_key
    from lifelong.links.durable_files import write_whole

    item = next((item for item in record.items if item.part == "config"), None)
    if item is None:
        raise ConfigError(f"{config}: not there, and the backup has none; write one")
    config.parent.mkdir(parents=True, exist_ok=True)
    write_whole(config, place.get(object_key(item.sha256), sha256=item.sha256))
    return True


def _refuse_unnamed(record: "BackupRecord", folders: dict[str, Path]) -> None:
    missing = [name for name in record.folders if name not in folders]
    if missing:
        raise ConfigError(
            f"the backup holds folder {missing[0]!r}: say where it goes, --folder {missing[0]}=DIR"
        )


def _open_storage(config: "Config") -> "Storage":
    from lifelong.links.storage import open_storage

    return open_storage(config.storage)


def _journal(config: "Config") -> Any:
    from lifelong.links.journal import Journal

    return Journal(config.journal_path, "cloud")


def _record(config: "Config", storage: "Storage", what: str, **facts: JSONValue) -> None:
    """Say in the audit log who carries the state away, or brings another one."""
    from cloud.audit_log import AuditLog
    from cloud.backup.mark import refuse_unfinished
    from cloud.operator_actions import terminal_user
    from lifelong.links.journal import utc_now

    refuse_unfinished(storage)
    witness = config.web.access_path / "audit-witness.json"
    AuditLog(storage, utc_now, witness=witness).record(terminal_user(), what, **facts)


def _told(record: "BackupRecord", place: str) -> dict[str, Any]:
    parts: dict[str, int] = {}
    for item in record.items:
        parts[item.part] = parts.get(item.part, 0) + 1
    return {
        "backup": place,
        "backup_id": record.backup_id,
        "began_at": record.began_at.isoformat(),
        "ended_at": record.ended_at.isoformat(),
        "items": len(record.items),
        "bytes": record.size,
        "parts": parts,
        "left_out": list(record.left_out),
    }


def _restored_text(told: dict[str, Any]) -> Iterator[str]:
    yield f"restored {told['written']} objects and files, {told['there']} were there already"
    if told["config_taken"]:
        yield f"configuration: {told['config']}, from the backup"
    for one in told["kept"][:_KEPT_TOLD]:
        yield f"kept as it is there: {one}"
    if len(told["kept"]) > _KEPT_TOLD:
        yield f"… and {len(told['kept']) - _KEPT_TOLD} more"
    if told["forgotten"]:
        yield f"{told['forgotten']} objects stay away: their samples were forgotten since"
    for part in told["no_place"]:
        yield f"no place in the configuration for part {part}"
    if told["release"]:
        yield f"release {told['release']}: nodes are told to run the restored version"
    if told["not_released"]:
        yield (
            f"NOT released: {told['not_released']}; nodes keep what they run until you say "
            "`cornerloop rollback VERSION` where the signing key is"
        )
    if told["open_round"]:
        yield (
            f"round {told['open_round']} goes on when `cornerloop serve` starts; tasks that Label "
            f"Studio has lost are offered again (people's work of {told['work']} is in the backup)"
        )


@contextmanager
def _progress() -> "Iterator[Tell]":
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("")

        def tell(part: str, done: int) -> None:
            progress.update(bar, description=f"{part}: {done}")

        yield tell


def _say(told: dict[str, Any], text: str, *, as_json: bool) -> None:
    typer.echo(json.dumps(told, indent=1, ensure_ascii=False) if as_json else text)
