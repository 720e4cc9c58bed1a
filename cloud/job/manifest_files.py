"""Kubernetes objects from files: YAML with the strings of YAML 1.2, or what kustomize renders."""

import logging
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from lifelong.errors import ConfigError

logger = logging.getLogger(__name__)
_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")


class _Yaml12Loader(yaml.SafeLoader):
    """YAML 1.2 numbers: PyYAML would read an unquoted `24:00` as 1440, as YAML 1.1 says."""


_Yaml12Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":int", ":float"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Yaml12Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789")
)
_Yaml12Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][-+]?[0-9]+)?$"),
    list("-+0123456789."),
)


def read_objects(path: Path) -> list[dict[str, Any]]:
    """All objects of a file with several documents, of a folder's files, or of a kustomization.

    Raises:
        ConfigError: nothing is there, it is no YAML, or there is no `kubectl` to render it.
    """
    if not path.is_dir() or not any((path / name).exists() for name in _KUSTOMIZATIONS):
        return _plain(path)
    if kubectl := shutil.which("kubectl"):
        return _objects(_rendered(kubectl, path), str(path))
    plain = _plain(path)
    if not {"LifelongLearningJob", "Dataset"} <= {str(o.get("kind")) for o in plain}:
        raise ConfigError(
            f"{path}: is a kustomize folder whose job lies elsewhere, and there is no `kubectl` on "
            f"PATH to render it; install one, or render it: kubectl kustomize {path} > job.yaml"
        )
    logger.warning("%s: no `kubectl` to render it; its own files are taken as they are", path)
    return plain


def _plain(path: Path) -> list[dict[str, Any]]:
    files = sorted([*path.glob("*.yaml"), *path.glob("*.yml")]) if path.is_dir() else [path]
    if not files:
        raise ConfigError(f"{path}: holds no .yaml file")
    objects: list[dict[str, Any]] = []
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file}: cannot be read ({error})") from error
        objects += _objects(text, str(file))
    return objects


def _objects(text: str, where: str) -> list[dict[str, Any]]:
    try:
        documents = list(yaml.load_all(text, _Yaml12Loader))
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: cannot be read as YAML ({error})") from error
    return [document for document in documents if isinstance(document, dict)]


def _rendered(kubectl: str, folder: Path) -> str:
    try:
        done = subprocess.run(
            [kubectl, "kustomize", str(folder)],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{folder}: kubectl kustomize: {error}") from error
    if done.returncode != 0:
        raise ConfigError(f"{folder}: kubectl kustomize: {done.stderr.strip()}")
    return done.stdout
