"""The secret key that signs releases: made, kept in a file, opened with a password.

The file is JSON, readable by its owner alone. The 32 secret bytes are encrypted with XSalsa20 and
Poly1305 under a key that Argon2id makes from the password (both of libsodium, by PyNaCl).
"""

import base64
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nacl import pwhash, secret, utils
from nacl.exceptions import CryptoError

from lifelong.errors import ConfigError, ObjectNotFoundError, RecordError
from lifelong.links.durable_files import sync_folder
from lifelong.links.storage import Storage
from lifelong.records.key_ring import KeyRing, KeyState
from lifelong.records.keys import KEY_RING
from lifelong.records.wire import from_json, to_json
from lifelong.sections.fleet import ReleasesSection
from lifelong.signatures import SEED_BYTES, Signer, checked_ring

OPERATIONS = pwhash.argon2id.OPSLIMIT_MODERATE
MEMORY = pwhash.argon2id.MEMLIMIT_MODERATE  # bytes
_MOST_MEMORY = 2**30  # a file that asks for more is not one of ours

SignerSource = Callable[[], Signer | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretKeyFile:
    """What lies in the file; all bytes as base64."""

    key_id: str
    public: str
    secret: str  # the seed: encrypted when there is a salt
    salt: str = ""  # empty: not encrypted
    operations: int = 0  # Argon2id's cost, so that it can be raised for new files
    memory: int = 0  # bytes, as above


def new_seed() -> bytes:
    """A fresh secret, 32 bytes of the operating system's randomness."""
    return utils.random(SEED_BYTES)


def write_secret(
    path: Path,
    seed: bytes,
    password: str | None,
    *,
    operations: int = OPERATIONS,
    memory: int = MEMORY,
) -> Signer:
    """Write a secret key to a new file that only its owner may read.

    Args:
        seed: 32 bytes.
        password: None: it lies there as it is, for machines whose disk is safe.

    Raises:
        ConfigError: there is a file already, or none can be written.
    """
    signer = Signer(seed)
    if password is None:
        content = SecretKeyFile(
            key_id=signer.key_id, public=signer.public, secret=base64.b64encode(seed).decode()
        )
    else:
        salt = utils.random(pwhash.argon2id.SALTBYTES)
        box = _box(password, salt, operations, memory)
        content = SecretKeyFile(
            key_id=signer.key_id,
            public=signer.public,
            secret=base64.b64encode(box.encrypt(seed)).decode(),
            salt=base64.b64encode(salt).decode(),
            operations=operations,
            memory=memory,
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(to_json(content))
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)
    except FileExistsError as error:
        raise ConfigError(f"{path}: there is a key already; name another file") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error
    return signer


def read_secret(path: Path, password: str, password_from: str) -> Signer:
    """Open a secret key file.

    Args:
        password: what it was encrypted with; not looked at when it is not encrypted.
        password_from: where the password came from, for messages.

    Raises:
        ConfigError: not there, readable by others, damaged, or another password.
    """
    try:
        mode = path.stat().st_mode
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path}: no secret key there ({error.strerror}); put back the one that nodes "
            "trust, or make the first with `cornerloop keys new`"
        ) from error
    if mode & 0o077:
        raise ConfigError(f"{path}: others may read this secret key; run `chmod 600 {path}`")
    try:
        content = from_json(SecretKeyFile, data, str(path))
        seed = _opened(content, password, path, password_from)
        signer = Signer(seed)
    except (RecordError, ValueError) as error:
        raise ConfigError(f"{path}: not a secret key of ours ({error})") from error
    if signer.key_id != content.key_id:
        raise ConfigError(f"{path}: holds another key than it says; restore it from a copy")
    return signer


def signer_source(section: ReleasesSection, storage: Storage) -> SignerSource:
    """The configured key, opened at the first release: other commands need no password.

    The source raises ConfigError when the key cannot be opened, or when nodes would refuse what
    it signs because the published key ring says so.
    """
    opened: dict[tuple[int, int], Signer] = {}  # by the file's inode and time of change

    def signer() -> Signer | None:
        path = section.signing_key
        if path is None:
            return None
        variable = section.signing_password_env
        mark = _mark_of(path)
        if mark not in opened:  # a rotation puts another file there while the service runs
            opened.clear()
            opened[mark] = read_secret(path, os.environ.get(variable, ""), variable)
        refuse_useless(opened[mark], published_ring(storage))
        return opened[mark]

    return signer


def published_ring(storage: Storage) -> KeyRing | None:
    """The ring in storage; None when none was published."""
    try:
        return checked_ring(storage.get(KEY_RING), KEY_RING)
    except ObjectNotFoundError:
        return None


def refuse_useless(signer: Signer, ring: KeyRing | None) -> None:
    """A release that every node refuses is worse than an error here.

    Raises:
        ConfigError: the ring does not have this key as an active one.
    """
    if ring is None:
        return
    key = ring.find(signer.key_id)
    state = key.state if key else "unknown"
    if state != KeyState.ACTIVE:
        active = ", ".join(k.key_id for k in ring.keys if k.state is KeyState.ACTIVE) or "none"
        raise ConfigError(
            f"releases.signing_key: key {signer.key_id} is {state} in the published key ring "
            f"{ring.serial} (active: {active}); name the file of an active key"
        )


def _mark_of(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_ino, found.st_mtime_ns


def _opened(content: SecretKeyFile, password: str, path: Path, password_from: str) -> bytes:
    data = base64.b64decode(content.secret, validate=True)
    if not content.salt:
        return data
    if not password:
        raise ConfigError(f"{path}: set {password_from} to the password of this key")
    if not 0 < content.memory <= _MOST_MEMORY:
        raise ConfigError(f"{path}: asks for {content.memory} bytes of memory to be opened")
    salt = base64.b64decode(content.salt, validate=True)
    try:
        box = _box(password, salt, content.operations, content.memory)
        return box.decrypt(data)
    except (CryptoError, ValueError) as error:
        raise ConfigError(f"{path}: {password_from} does not open this key") from error


def _box(password: str, salt: bytes, operations: int, memory: int) -> secret.SecretBox:
    key = pwhash.argon2id.kdf(
        secret.SecretBox.KEY_SIZE, password.encode(), salt, opslimit=operations, memlimit=memory
    )
    return secret.SecretBox(key)
