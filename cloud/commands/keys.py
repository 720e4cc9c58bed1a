"""`cornerloop keys`: the keys that sign releases; made, replaced, revoked, told to the nodes.

The secret key lies where `releases.signing_key` says, the ring of public keys beside it as
`ring.json`. Whatever changes the ring publishes it. Secrets are written first, then storage, then
the ring's file: a command that was cut short is simply given again.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lifelong.config import Config, load_config
from lifelong.errors import ConfigError

if TYPE_CHECKING:
    from lifelong.records.key_ring import KeyRing
    from lifelong.signatures import Signer

keys_app = typer.Typer(
    help="Keys that sign releases: make, list, rotate, revoke, publish, export.",
    no_args_is_help=True,
)

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", envvar="CORNERLOOP_CONFIG", help="Configuration file.")
]
OpenOption = Annotated[
    bool, typer.Option("--no-password", help="Keep the secret key unencrypted on this disk.")
]
SignedByOption = Annotated[
    Path | None, typer.Option("--signed-by", help="Secret key of another active key.")
]


@keys_app.command()
def new(
    config: ConfigOption,
    out: Annotated[
        Path | None, typer.Option(help="File of a further key; the first lies where it must.")
    ] = None,
    releases_only: Annotated[
        bool, typer.Option("--releases-only", help="A further key that cannot change the ring.")
    ] = False,
    note: Annotated[str, typer.Option(help="What the ring says of it.")] = "",
    no_password: OpenOption = False,
) -> None:
    """Make a key: the first one and its ring, or a further one that the first one signs."""
    from cloud.releasing.key_rings import first_ring, with_key
    from lifelong.links.journal import utc_now

    settings = load_config(config)
    path, password = _key_path(settings), _new_password(settings, none=no_password)
    if not _ring_path(settings).exists():
        if out is not None or releases_only:
            raise ConfigError("the first key lies at releases.signing_key and signs rings, too")
        signer = _secret(settings, path, password)
        ring = first_ring(signer, utc_now(), note)
    else:
        if out is None:
            raise ConfigError(f"there is a key at {path} already; name a file with --out")
        by = _signer(settings)
        signer = _secret(settings, out, password)
        public = signer.public_key(utc_now(), signs_rings=not releases_only, note=note)
        ring = with_key(_ring(settings), public, by, utc_now())
    _take(settings, ring)
    typer.echo(f"key {signer.key_id} is active; `cornerloop keys export FILE` is for the nodes")


@keys_app.command("list")
def list_keys(config: ConfigOption) -> None:
    """All keys there ever were, and whether nodes know of the last change."""
    from cloud.releasing.signing_keys import published_ring
    from lifelong.links.storage import open_storage

    settings = load_config(config)
    ring = _ring(settings)
    published = published_ring(open_storage(settings.storage))
    told = f"published: ring {published.serial}" if published else "not published"
    typer.echo(f"ring {ring.serial}, signed by {ring.key_id}; {told}")
    for key in ring.keys:
        until = f" after release {key.last_release}" if key.state == "retired" else ""
        rights = "" if key.signs_rings else " (releases only)"
        told = f"{key.key_id} {key.state}{until}{rights} {key.made_at:%Y-%m-%d} {key.note}"
        typer.echo(told.rstrip())


@keys_app.command()
def rotate(config: ConfigOption, no_password: OpenOption = False) -> None:
    """Replace the signing key; what the old one signed so far stays good."""
    from cloud.assembly import open_cloud
    from cloud.releasing.key_rings import rotated
    from lifelong.links.journal import utc_now

    settings = load_config(config)
    path, old = _key_path(settings), _signer(settings)
    release = open_cloud(settings).releases.current()
    fresh = path.with_name(f"{path.stem}-new{path.suffix}")
    signer = _secret(settings, fresh, _new_password(settings, none=no_password))
    ring, last = _ring(settings), release.number if release else 0
    if ring.find(signer.key_id) is None:
        ring = rotated(ring, old, signer, last_release=last, now=utc_now())
    _take(settings, ring)
    path.rename(path.with_name(f"{path.stem}-{old.key_id}{path.suffix}"))
    fresh.rename(path)
    typer.echo(f"key {signer.key_id} signs from now on; {old.key_id} is retired")


@keys_app.command()
def revoke(
    config: ConfigOption,
    key_id: Annotated[str, typer.Argument(help="As `keys list` shows it.")],
    signed_by: SignedByOption = None,
) -> None:
    """Take a key's word back for all time: nodes refuse whatever it signed."""
    from cloud.assembly import open_cloud
    from cloud.releasing.key_rings import revoked
    from lifelong.links.journal import utc_now

    settings = load_config(config)
    ring = revoked(_ring(settings), key_id, _signer(settings, signed_by), utc_now())
    _take(settings, ring)
    typer.echo(f"key {key_id} is revoked")
    release = open_cloud(settings).releases.current()
    if release is not None and release.key_id == key_id:
        typer.echo(
            f"release {release.number} was signed by it: nodes run on and complain, new ones take "
            "none; `cornerloop keys publish --resign` releases the same model anew"
        )


@keys_app.command()
def publish(
    config: ConfigOption,
    resign: Annotated[
        bool, typer.Option("--resign", help="Release the present model anew, signed by this key.")
    ] = False,
) -> None:
    """Let nodes see the ring's last change."""
    from cloud.assembly import open_cloud
    from cloud.releasing.key_rings import publish_ring

    settings = load_config(config)
    cloud, ring = open_cloud(settings), _ring(settings)
    moved = publish_ring(cloud.storage, ring)
    typer.echo(f"ring {ring.serial} {'is published' if moved else 'was published before'}")
    if resign:
        release = cloud.releases.sign_anew("signed anew")
        typer.echo(f"release {release.number}: {release.version_id}, signed by {release.key_id}")


@keys_app.command()
def export(
    config: ConfigOption,
    out: Annotated[Path, typer.Argument(help="For edge.updates.trusted_keys of the nodes.")],
) -> None:
    """Write the ring to a file that nodes are installed with; it holds no secret."""
    from lifelong.links.durable_files import write_whole
    from lifelong.records.wire import to_json

    ring = _ring(load_config(config))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, to_json(ring))
    typer.echo(f"ring {ring.serial} is in {out}; name it as edge.updates.trusted_keys")


def _take(settings: Config, ring: "KeyRing") -> None:
    from cloud.releasing.key_rings import publish_ring
    from lifelong.links.durable_files import write_whole
    from lifelong.links.storage import open_storage
    from lifelong.records.wire import to_json

    publish_ring(open_storage(settings.storage), ring)
    write_whole(_ring_path(settings), to_json(ring))


def _key_path(settings: Config) -> Path:
    if settings.releases.signing_key is None:
        raise ConfigError(
            "releases.signing_key is missing: name the file that the secret key is to lie in, "
            "e.g. keys/signing.json"
        )
    return settings.releases.signing_key


def _ring_path(settings: Config) -> Path:
    return _key_path(settings).with_name("ring.json")


def _ring(settings: Config) -> "KeyRing":
    """The ring beside the secret key, or its successor that a command cut short has published."""
    from cloud.releasing.signing_keys import published_ring
    from lifelong.links.storage import open_storage
    from lifelong.records.wire import to_json
    from lifelong.signatures import check_successor, checked_ring

    path = _ring_path(settings)
    try:
        ring = checked_ring(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigError(
            f"{path}: no key ring there ({error.strerror}); `cornerloop keys new` makes one"
        ) from error
    published = published_ring(open_storage(settings.storage))
    if published is not None and published.serial > ring.serial:
        return check_successor(to_json(published), ring, "the published key ring")
    return ring


def _secret(settings: Config, path: Path, password: str | None) -> "Signer":
    """A new key in this file; the one that lies there when a command was cut short before."""
    from cloud.releasing.signing_keys import new_seed, write_secret

    return _signer(settings, path) if path.exists() else write_secret(path, new_seed(), password)


def _signer(settings: Config, path: Path | None = None) -> "Signer":
    from cloud.releasing.signing_keys import read_secret

    variable = settings.releases.signing_password_env
    return read_secret(path or _key_path(settings), os.environ.get(variable, ""), variable)


def _new_password(settings: Config, *, none: bool) -> str | None:
    if none:
        return None
    variable = settings.releases.signing_password_env
    password = os.environ.get(variable, "")
    if not password:
        raise ConfigError(
            f"environment variable {variable} is empty: set it to the new key's password, "
            "or say --no-password"
        )
    return password
