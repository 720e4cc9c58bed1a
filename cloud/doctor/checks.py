"""What the doctor is: patients, checks, findings, and how one check after the other is run.

What is looked at lies in the `*_checks` modules beside; `list_of_checks.py` names it all.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from lifelong.config import Config, load_config, load_label_map
from lifelong.errors import ConfigError, LifelongError
from lifelong.links.journal import utc_now
from lifelong.links.storage import Storage, open_storage
from lifelong.records.label_map import LabelMap

if TYPE_CHECKING:
    from annotation.label_studio import LabelStudio

logger = logging.getLogger(__name__)

# Names of variables that hold something secret, whatever the configuration calls its own.
_SECRET_VARIABLES = (
    "SECRET_ACCESS_KEY",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "ACCESS_KEY_ID",
    "AWS_ACCESS_KEY_ID",
    "LABEL_STUDIO_API_KEY",
    "HF_TOKEN",
)
_SHORTEST_SECRET = 4  # characters; masking "1" would make every message unreadable
MASKED = "(secret)"


class Level(StrEnum):
    """How bad a finding is."""

    WELL = "well"
    UNSEEN = "not looked at"
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at: what, where, what to do."""

    level: Level
    where: str  # a file, an address, a variable, a key of storage
    what: str
    to_do: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing to look at."""

    what: str  # one line, for `--list`
    look: "Callable[[Patient], Iterable[Finding]]"
    needs: tuple[str, ...] = ("configuration",)  # checks without which this one means nothing
    is_long: bool = False  # reads gigabytes, or a long log: `--quick` leaves it out


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What one check found."""

    check: str
    findings: tuple[Finding, ...]

    @property
    def is_broken(self) -> bool:
        """Is there anything that must be put right?"""
        return any(finding.level is Level.BROKEN for finding in self.findings)


def _label_studio(config: Config) -> "LabelStudio":
    from cloud.assembly import open_label_studio

    return open_label_studio(config)


@dataclass(frozen=True, kw_only=True)
class Patient:
    """A set-up to look at; what is opened once is kept. Nothing is opened before it is asked for.

    `config` and `label_map` raise ConfigError, `storage` also when its folder is not there:
    looking must not make it.
    """

    config_path: Path | None
    environ: Mapping[str, str]
    now: Callable[[], datetime] = utc_now
    manifest: Path | None = None
    is_quick: bool = False
    disk: Callable[[Path], os.statvfs_result] = os.statvfs
    studio_of: "Callable[[Config], LabelStudio]" = _label_studio
    tell: Callable[[str], object] = lambda words: None  # what a long check is at

    @cached_property
    def config(self) -> Config:
        """The configuration, read once."""
        if self.config_path is None:
            raise ConfigError("no configuration named; use --config, or set CORNERLOOP_CONFIG")
        return load_config(self.config_path)

    @cached_property
    def label_map(self) -> LabelMap:
        """The classes."""
        return load_label_map(self.config)

    @cached_property
    def storage(self) -> Storage:
        """The store, which must be there already."""
        folder = self.storage_folder
        if folder is not None and not folder.is_dir():
            raise ConfigError(
                f"storage {folder}: there is no such folder; create it, or mount its disk"
            )
        return open_storage(self.config.storage)

    @property
    def storage_folder(self) -> Path | None:
        """Where storage lies on a disk of this machine; None: in a bucket."""
        parts = urlsplit(self.config.storage)
        if parts.scheme == "file":
            return Path(url2pathname(parts.path))
        return Path(self.config.storage) if "://" not in self.config.storage else None

    @cached_property
    def studio(self) -> "LabelStudio":
        """The connection to Label Studio."""
        return self.studio_of(self.config)

    def close(self) -> None:
        """Let go of connections that were opened."""
        if "studio" in self.__dict__:
            self.studio.close()

    def masked(self, text: str) -> str:
        """The text without anything that a secret variable holds."""
        for secret in self._secrets:
            text = text.replace(secret, MASKED)
        return text

    @cached_property
    def _secrets(self) -> tuple[str, ...]:
        named = [*_SECRET_VARIABLES]
        try:
            config = self.config
        except LifelongError:
            pass
        else:
            named += [
                config.label_studio.token_env,
                config.label_studio.webhook_secret_env,
                config.releases.signing_password_env,
            ]
        values = {self.environ.get(name, "").strip() for name in named}
        values |= {value.strip("\"'") for value in values}
        long_first = sorted(values, key=len, reverse=True)
        return tuple(value for value in long_first if len(value) >= _SHORTEST_SECRET)


def examine(patient: Patient, checks: Mapping[str, Check]) -> Iterator[Looked]:
    """Run every check, in the mapping's order; one that fails itself does not stop the others.

    A check whose needs were found broken is not run. `--quick` leaves out the long ones.
    """
    broken: set[str] = set()
    for name, check in checks.items():
        blocked = [need for need in check.needs if need in broken]
        if blocked:
            found: tuple[Finding, ...] = (_unseen(f"waits for {', '.join(blocked)}"),)
            broken.add(name)
        elif patient.is_quick and check.is_long:
            found = (_unseen("left out by --quick"),)
        else:
            patient.tell(name)
            found = tuple(_masked(finding, patient) for finding in _findings(patient, check))
        looked = Looked(check=name, findings=found)
        if looked.is_broken:
            broken.add(name)
        yield looked


def _findings(patient: Patient, check: Check) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(check.look(patient))
    except LifelongError as error:
        # Errors of ours say what, where and what to do, all in one.
        found += [broken("", line) for line in str(error).splitlines() if line.strip()]
    except Exception as error:  # one of the few places that may: the other checks shall be run
        found.append(
            broken(
                "",
                f"the check itself failed ({type(error).__name__}: {error})",
                "tell the maintainers; `cornerloop -v doctor` shows where",
            )
        )
        logger.debug("a check failed", exc_info=error)
    return found or [well("", "nothing to say")]


def well(where: str, what: str) -> Finding:
    """All is as it should be."""
    return Finding(level=Level.WELL, where=where, what=what)


def warning(where: str, what: str, to_do: str = "") -> Finding:
    """It works, but somebody should look."""
    return Finding(level=Level.WARNING, where=where, what=what, to_do=to_do)


def broken(where: str, what: str, to_do: str = "") -> Finding:
    """It does not work."""
    return Finding(level=Level.BROKEN, where=where, what=what, to_do=to_do)


def _unseen(why: str) -> Finding:
    return Finding(level=Level.UNSEEN, where="", what=why)


def _masked(finding: Finding, patient: Patient) -> Finding:
    return replace(
        finding,
        where=patient.masked(finding.where),
        what=" ".join(patient.masked(finding.what).split()),
        to_do=patient.masked(finding.to_do),
    )
