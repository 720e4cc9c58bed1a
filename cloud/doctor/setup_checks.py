"""The doctor's look at what an operator wrote: configuration, paths, environment variables."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cloud.doctor.checks import Finding, Patient, broken, warning, well
from cloud.weights.store import WEIGHTS_VARIABLE
from lifelong.config import Config
from lifelong.errors import LifelongError

# Where the configuration must name something that is there.
MUST_BE_THERE = (
    "label_map",
    "holdouts",
    "label_studio.local_files_root",
    "review.audit_path",
    "assist.model.checkpoint",
    "assist.models.checkpoint",
    "preannotation.masks.checkpoint",
    "preannotation.masks.program",
    "preannotation.ontology",
    "preannotation.calibration",
    "preannotation.weights_path",
    "releases.signing_key",
    "web.tls_certificate",
    "web.tls_key",
    "web.tls_client_ca",
)
# Made when they are first needed; `disk` looks whether they can be.
MADE_WHEN_NEEDED = (
    "journal_path",
    "annotation_folder",
    "assist.embeddings_path",
    "job.dataset_path",
    "web.access_path",
)

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_KEY_PAIRS = (
    ("ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"),
    ("SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY"),
)
# What the SDK, or other people's guides, call the token.
_OTHER_TOKENS = ("LABEL_STUDIO_API_KEY", "LABEL_STUDIO_TOKEN", "LABEL_STUDIO_USER_TOKEN")


def look_at_configuration(patient: Patient) -> Iterable[Finding]:
    """Can it be read, and is there what it names?"""
    config, label_map = patient.config, patient.label_map
    yield well(
        str(patient.config_path),
        f"can be read; {len(label_map)} classes ({label_map.digest})",
    )
    for wanted in MUST_BE_THERE:
        for name, path in paths_at(config, wanted):
            if not path.exists():
                told = f"{path} is not there"
                yield broken(name, told, "create it, or correct the configuration")


def paths_at(config: Config, name: str) -> list[tuple[str, Path]]:
    """The paths that are set under a dotted name, each with its own: of `assist.models.checkpoint`
    every model's, assist.models.NAME.checkpoint."""
    found: list[tuple[str, object]] = [("", config)]
    for part in name.split("."):
        deeper = [(f"{said}.{part}".lstrip("."), getattr(one, part)) for said, one in found]
        found = [
            pair
            for said, one in deeper
            for pair in (
                [(f"{said}.{key}", value) for key, value in one.items()]
                if isinstance(one, Mapping)
                else [(said, one)]
            )
        ]
    return [(said, one) for said, one in found if isinstance(one, Path)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A variable that this configuration needs."""

    name: str
    why: str
    also: tuple[str, ...] = ()  # names that do as well
    likely: tuple[str, ...] = ()  # names it is mistaken for
    is_sure: bool = True  # False: a machine's own role may stand for it


def look_at_environment(patient: Patient) -> Iterable[Finding]:
    """Are the variables there that are needed, and are they what somebody meant to write?"""
    environ, wanted = patient.environ, list(_wanted(patient.config))
    found: list[Finding] = []
    for one in wanted:
        if not any(environ.get(name, "").strip() for name in (one.name, *one.also)):
            found.append(_missing(one, environ))
    names = dict.fromkeys(
        name for one in wanted for name in (one.name, *one.also) if environ.get(name)
    )
    for name in names:
        found += _mistakes(name, environ[name])
    token = patient.config.label_studio.token_env
    if environ.get(token, "").lower().startswith(("token ", "bearer ")):
        found.append(
            broken(token, "holds the word before the token too", "set it to the token alone")
        )
    found += [*_endpoints(environ), *_proxies(environ), *_folders(environ)]
    yield from found
    if not found:
        told = ", ".join(names) or "none is needed"
        yield well("environment", told)


def _wanted(config: Config) -> Iterator[_Wanted]:
    studio = config.label_studio
    if config.annotation_folder is None:
        why = f"the token of Label Studio at {studio.url}"
        yield _Wanted(name=studio.token_env, why=why, likely=_OTHER_TOKENS)
        if studio.webhook_url:
            why = "label_studio.webhook_url is set, and hints need a secret: any long random text"
            yield _Wanted(name=studio.webhook_secret_env, why=why)
    places = (config.storage, str(config.job.dataset_path))
    buckets = [place for place in places if urlsplit(place).scheme == "s3"]
    if buckets:
        for name, aws in _KEY_PAIRS:
            why = f"the keys of {' and '.join(buckets)}"
            yield _Wanted(name=name, why=why, also=(aws,), is_sure=False)
    if config.releases.signing_key is not None and _is_encrypted(config.releases.signing_key):
        name = config.releases.signing_password_env
        yield _Wanted(name=name, why="the password of releases.signing_key")


def _is_encrypted(path: Path) -> bool:
    from cloud.releasing.signing_keys import SecretKeyFile
    from lifelong.records.wire import from_json

    try:
        return bool(from_json(SecretKeyFile, path.read_bytes(), str(path)).salt)
    except (LifelongError, OSError):
        return False  # `keys` says what is wrong with the file


def _missing(one: _Wanted, environ: Mapping[str, str]) -> Finding:
    state = "is empty" if one.name in environ else "is not set"
    make = broken if one.is_sure else warning
    other = _meant(one, environ)
    if other:
        return make(
            one.name, f"{state}, but {other} is set ({one.why})", f"rename {other} to {one.name}"
        )
    do = f"set {one.name}" if one.is_sure else f"set {one.name}, unless this machine has a role"
    return make(one.name, f"{state}: {one.why}", do)


def _meant(one: _Wanted, environ: Mapping[str, str]) -> str:
    """A variable that somebody may have set instead: another case, another name, a slip."""
    filled = [name for name, value in environ.items() if value.strip()]
    for name in filled:
        if name.upper() == one.name.upper() and name != one.name:
            return name
    for name in one.likely:
        if name in filled:
            return name
    near = difflib.get_close_matches(one.name, [n for n in filled if n != one.name], 1, 0.85)
    return near[0] if near and near[0] not in one.also else ""


def _mistakes(name: str, value: str) -> Iterator[Finding]:
    """Slips of quoting and pasting; never quotes the value."""
    stripped = value.strip()
    if value != value.rstrip("\r\n"):
        yield broken(name, "ends with a newline", "make it without: `printf %s`, not `echo`")
    elif value != stripped:
        yield broken(name, "begins or ends with a blank", "set it without")
    if len(stripped) > 1 and stripped[0] == stripped[-1] and stripped[0] in "\"'":
        yield broken(name, "has quotes around its value", "a Secret or env file needs none")
    if stripped.startswith(("${", "$(", "<", "{{")):
        yield broken(name, "holds a placeholder", "put the value there")


def _endpoints(environ: Mapping[str, str]) -> Iterator[Finding]:
    for name in ("S3_ENDPOINT_URL", "AWS_ENDPOINT_URL"):
        value = environ.get(name)
        if not value:
            continue
        yield from _mistakes(name, value)
        if "://" in value and urlsplit(value).scheme not in {"http", "https"}:
            yield broken(name, f"{value!r} is no http address", "begin it with https:// or http://")
        elif urlsplit(value).path.strip("/"):
            yield warning(
                name, f"{value!r} has a path", "name the bucket under storage: s3://BUCKET/PREFIX"
            )


def _proxies(environ: Mapping[str, str]) -> Iterator[Finding]:
    used = [n for name in _PROXIES for n in (name, name.lower()) if environ.get(n)]
    if not used:
        return
    excepted = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    hosts = {part.strip().split(":")[0].lstrip(".") for part in excepted.split(",")}
    if not hosts & {"*", *_LOOPBACK}:
        yield warning(
            used[0],
            "is set, and NO_PROXY excepts no loopback: Label Studio, the job and webhooks on this "
            "machine would be asked for at the proxy",
            "set NO_PROXY=localhost,127.0.0.1 and the cluster's own names",
        )


def _folders(environ: Mapping[str, str]) -> Iterator[Finding]:
    named = environ.get(WEIGHTS_VARIABLE)
    if named and not Path(named).expanduser().is_dir():
        yield broken(
            WEIGHTS_VARIABLE,
            f"{named} is no folder",
            "create it, or name the folder that `cornerloop models pull` filled",
        )
