"""Which program is running: package, git revision, the source files themselves, libraries."""

import hashlib
import platform
import re
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import lifelong
from lifelong.records.trainings import CodeVersion

PACKAGE = "cornerloop"
# What decides over weights and verdicts.
LIBRARIES = ("numpy", "onnxruntime", "opencv-python-headless", "pillow", "torch", "torchvision")
_ROOMS = ("annotation", "cloud", "lifelong")  # packages whose source decides
_REVISION = re.compile(r"[0-9a-f]{40}\Z")


@cache
def code_version() -> CodeVersion:
    """The program of this process, as it lies on the disk at the first call."""
    root = Path(next(iter(lifelong.__path__))).parent
    return CodeVersion(
        package=_version_of(PACKAGE),
        revision=git_revision(root),
        source_sha256=source_sha256(root / room for room in _ROOMS),
        python=platform.python_version(),
        libraries={name: found for name in LIBRARIES if (found := _version_of(name))},
    )


def git_revision(root: Path) -> str:
    """The commit that is checked out in `root`, 40 hex digits; "" when it is no checkout."""
    git = root / ".git"
    try:
        if git.is_file():  # a work tree beside its repository
            git = root / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        name = head.removeprefix("ref:").strip()
        found = head if name == head else _named(git, name)
    except (OSError, UnicodeDecodeError):
        return ""
    return found if _REVISION.match(found) else ""


def source_sha256(folders: Iterable[Path]) -> str:
    """SHA-256 over the names and bytes of all Python files in these packages."""
    total = hashlib.sha256()
    for folder in sorted(folders):
        for path in sorted(folder.rglob("*.py")):
            name = path.relative_to(folder.parent).as_posix()
            total.update(f"{name}\n{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def _named(git: Path, name: str) -> str:
    common = git / "commondir"
    folders = [git]
    if common.is_file():
        folders.append(git / common.read_text(encoding="utf-8").strip())
    for folder in folders:
        if (folder / name).is_file():
            return (folder / name).read_text(encoding="utf-8").strip()
        packed = folder / "packed-refs"
        if packed.is_file():
            for line in packed.read_text(encoding="utf-8").splitlines():
                if line.endswith(f" {name}"):
                    return line.split(" ", 1)[0]
    return ""


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
