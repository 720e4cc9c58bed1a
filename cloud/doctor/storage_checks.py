"""The doctor's look at storage and what lies in it: log, releases, keys, lease, nodes."""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from cloud.doctor.checks import Finding, Patient, broken, warning, well
from cloud.fleet.edges import Edges, EdgeState, standing_of
from cloud.lease import LEASES, Term, is_dead
from cloud.releasing.releases import Releases
from cloud.releasing.signing_keys import published_ring, read_secret, refuse_useless
from lifelong.errors import (
    ChecksumError,
    LifelongError,
    ObjectNotFoundError,
    SignatureError,
)
from lifelong.knowledge.checks import verify
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage
from lifelong.records.keys import CURRENT_RELEASE, KEY_RING, STAGED_RELEASE
from lifelong.records.model_versions import Release
from lifelong.records.wire import from_json
from lifelong.signatures import check_release

ROOM = "doctor"  # nothing else of ours writes there
LOOKED_BACK = 5  # earlier versions whose bundles are read; each is some megabytes
MOST_SKEW = timedelta(seconds=60)  # S3 refuses requests at 15 minutes, ages are wrong long before


def look_at_storage(patient: Patient) -> Iterable[Finding]:
    """Can it be written, read, listed and deleted, and does its clock agree with ours?"""
    storage = patient.storage
    key, data = f"{ROOM}/{secrets.token_hex(8)}", secrets.token_bytes(1024)
    before = patient.now()
    storage.put(key, data)
    try:
        after = patient.now()
        if storage.get(key) != data:
            yield broken(storage.url, "gives back other bytes than were written", "replace it")
            return
        told = next((e.modified for e in storage.entries(ROOM) if e.key == key), None)
        if told is None:
            yield broken(
                storage.url,
                "does not list what was just written",
                "use a store whose listings are current, as Amazon's and MinIO's are",
            )
            return
    finally:
        storage.delete(key)
    if storage.exists(key):
        yield broken(storage.url, "does not delete", "give its user the right to delete objects")
        return
    skew = _skew(told, before, after)
    if skew > MOST_SKEW:
        yield warning(
            storage.url,
            f"its clock and ours are {skew.total_seconds():.0f} s apart",
            "set both by NTP: leases and the ages of reports are judged by them",
        )
    else:
        yield well(storage.url, "a small object was written, read, listed and deleted")


def _skew(told: datetime, before: datetime, after: datetime) -> timedelta:
    """How far the store's clock was off, at the least; stores tell whole seconds."""
    nothing = timedelta(0)
    return max(before - told - timedelta(seconds=1), told - after, nothing)


def look_at_knowledge_base(patient: Patient) -> Iterable[Finding]:
    """Does it open?"""
    kb = KnowledgeBase(patient.storage)
    yield well(
        "kb/log", f"{kb.changes} changes, {len(kb.samples)} samples, {len(kb.versions)} versions"
    )


def look_at_log(patient: Patient) -> Iterable[Finding]:
    """Is every change of the knowledge base still what was written?"""
    found = verify(patient.storage)
    for finding in found.findings:
        yield broken("kb/log", finding, "restore it from a copy; `cornerloop kb verify` says more")
    if not found.findings:
        yield well("kb/log", f"{found.changes} changes follow each other by their hashes")


def look_at_releases(patient: Patient) -> Iterable[Finding]:
    """Do the pointers name bundles that are there, with the right bytes and signature?"""
    storage = patient.storage
    releases = Releases(storage, Journal(patient.config.journal_path, "doctor"), patient.now)
    wanted = releases.for_everybody()
    try:
        data = storage.get(CURRENT_RELEASE)
    except ObjectNotFoundError:
        if wanted is None:
            yield well("releases", "none yet; `cornerloop begin` makes the first")
        else:
            yield _moved(CURRENT_RELEASE, "is not there", wanted)
        return
    current = from_json(Release, data, CURRENT_RELEASE)
    found: list[Finding] = []
    if wanted is None:
        found.append(
            broken(CURRENT_RELEASE, "the history has no such release", "restore releases/ whole")
        )
    elif (current.number, current.version_id) != (wanted.number, wanted.version_id):
        found.append(_moved(CURRENT_RELEASE, f"names release {current.number}", wanted))
    found += _release(CURRENT_RELEASE, data, patient)
    if storage.exists(STAGED_RELEASE):
        found += _release(STAGED_RELEASE, storage.get(STAGED_RELEASE), patient)
    found += _earlier(releases.history(), current, patient)
    yield from found
    if not found:
        yield well(CURRENT_RELEASE, f"release {current.number} is version {current.version_id}")


def _earlier(history: Sequence[Release], current: Release, patient: Patient) -> Iterator[Finding]:
    """Could the last few other versions be gone back to?"""
    last: dict[str, Release] = {}
    for release in reversed(history):
        if release.version_id != current.version_id and len(last) < LOOKED_BACK:
            last.setdefault(release.version_id, release)
    for version_id, release in last.items():
        try:
            _read_bundle(release, patient)
        except (ObjectNotFoundError, ChecksumError) as error:
            yield warning(
                release.bundle_key,
                f"nobody can go back to version {version_id}: {error}",
                "put that object back from a backup, or roll back to another version if need be",
            )


def _read_bundle(release: Release, patient: Patient) -> None:
    if not patient.is_quick:
        patient.storage.get(release.bundle_key, sha256=release.sha256)
    elif not patient.storage.exists(release.bundle_key):
        raise ObjectNotFoundError(f"{release.bundle_key} is not there")


def _moved(key: str, how: str, wanted: Release) -> Finding:
    return broken(
        key,
        f"{how}, the history's newest is {wanted.number}",
        f"`cornerloop rollback {wanted.version_id}` releases it again, and moves the pointer",
    )


def _release(key: str, data: bytes, patient: Patient) -> Iterator[Finding]:
    storage, release = patient.storage, from_json(Release, data, key)
    elsewhere = "`cornerloop rollback VERSION` releases another one"
    try:
        _read_bundle(release, patient)
    except ObjectNotFoundError:
        yield broken(key, f"its bundle {release.bundle_key} is not there", elsewhere)
    except ChecksumError as error:
        yield broken(key, str(error), elsewhere)
    ring = published_ring(storage)
    if ring is None:
        return
    try:
        check_release(data, ring, key)
    except SignatureError as error:
        yield broken(
            key, str(error), "nodes refuse it; `cornerloop keys publish --resign` signs it anew"
        )


def look_at_keys(patient: Patient) -> Iterable[Finding]:
    """Can the key be opened that signs releases, and do nodes trust it?"""
    section, ring = patient.config.releases, published_ring(patient.storage)
    path = section.signing_key
    if path is None:
        if ring is None:
            yield well("releases.signing_key", "none: releases are not signed")
        else:
            yield warning(
                "releases.signing_key",
                f"is not set, but key ring {ring.serial} is published: nodes refuse what nobody "
                "signed",
                "name the file of an active key",
            )
        return
    variable = section.signing_password_env
    opened = read_secret(path, patient.environ.get(variable, ""), variable)
    refuse_useless(opened, ring)
    if ring is None:
        yield warning(
            KEY_RING, "no key ring is published", "`cornerloop keys publish` tells the nodes"
        )
        return
    beside = path.with_name("ring.json")
    if beside.exists() and beside.read_bytes() != patient.storage.get(KEY_RING):
        yield broken(
            str(beside),
            f"is not the ring {ring.serial} that is published",
            "`cornerloop keys publish`, or take the published one if that is newer",
        )
        return
    yield well(str(path), f"key {opened.key_id} is active in ring {ring.serial}")


def newest_term(storage: Storage) -> Term | None:
    """The newest term of the service's lease; None when no service ever ran."""
    keys = list(storage.keys(LEASES))
    return from_json(Term, storage.get(keys[-1]), keys[-1]) if keys else None


def look_at_lease(patient: Patient) -> Iterable[Finding]:
    """Does somebody hold the service's lease who cannot give it back?"""
    term, now = newest_term(patient.storage), patient.now()
    if term is None:
        yield well(LEASES, "no service has run yet")
        return
    where, holder = f"{LEASES}/{term.number:08d}.json", f"{term.host}, process {term.process}"
    if term.until <= now:
        yield well(where, f"was held by {holder}, and is free")
    elif is_dead(term):
        yield warning(
            where,
            f"is held by {holder}, which has ended",
            "a service of this host takes it at once, one of another host when it expires; "
            "`cornerloop doctor --repair` ends it",
        )
    elif term.until - now > timedelta(seconds=2 * patient.config.rounds.lease_seconds) + MOST_SKEW:
        yield broken(
            where,
            f"is held by {holder} until {term.until:%Y-%m-%d %H:%M} UTC, far beyond its term: "
            "that host's clock runs ahead",
            "set its clock by NTP and start its service again; if that host is gone, delete "
            "this object",
        )
    else:
        yield well(where, f"is held by {holder}")


def look_at_edges(patient: Patient) -> Iterable[Finding]:
    """Does every node report, without an alarm?"""
    storage, config = patient.storage, patient.config
    current, staged = (_pointer(storage, key) for key in (CURRENT_RELEASE, STAGED_RELEASE))
    seen = Edges(storage, patient.now).look()
    found = []
    for one in seen:
        standing = standing_of(one, current, staged, config.releases, patient.now())
        if standing.state in {EdgeState.SILENT, EdgeState.ALARM}:
            words = "; ".join(standing.reasons)
            to_do = "see that node: `cornerloop-edge check` there, its journal, its link"
            found.append(warning(f"edge {one.edge_id}", words, to_do))
    yield from found
    if not found:
        yield well("edges", f"{len(seen)} nodes report" if seen else "no node has reported yet")


def _pointer(storage: Storage, key: str) -> Release | None:
    try:
        return from_json(Release, storage.get(key), key)
    except LifelongError:
        return None  # `releases` says so
