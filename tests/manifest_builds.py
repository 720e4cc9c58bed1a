"""The manifests as a cluster would get them: built by kubectl, with the schemas that judge them.

The schemas of Kubernetes come from `kubernetes-validate` (strict: an unknown field is an error, as
it is for `kubectl apply`). Those of Sedna are its own CRDs, which lie in the shared folder of the
people who work on Cornerloop and not in this repository.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema.validators import Draft202012Validator
from kubernetes_validate.utils import schema_contents
from referencing import Registry, Resource

ROOT = Path(__file__).parents[1]
MANIFESTS = ROOT / "manifests"
BUILDS = ("base", "one-node", "s3", "kubeedge", "edge", "preannotate", "everything")
VERSIONS = ("1.29", "1.30", "1.31", "1.32", "1.33", "1.34")
SEDNA = "sedna.io/v1alpha1"
_CRDS = ROOT.parent / "shared/data/sedna-crds"
# All that there is, as somebody's own overlay would name it.
_EVERYTHING = """
resources: [../kubeedge]
components: [../components/proxy, ../components/ingress]
images:
  - {name: cornerloop/cloud, newName: registry.example/team/cloud, newTag: 0.1.0-gpu}
"""

Manifest = dict[str, Any]


def kubectl() -> str:
    """The suite's own, which `make` installs, else the machine's."""
    own = Path(sys.executable).parent / "kubectl"
    found = str(own) if own.exists() else shutil.which("kubectl")
    if found is None:
        pytest.skip("no kubectl: `make setup` installs one")
    return found


def built_from(folder: Path) -> list[Manifest]:
    """What `kubectl apply -k folder` would send."""
    done = subprocess.run(
        [kubectl(), "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    # A warning would be of a field that the next kustomize no longer knows.
    assert not done.stderr, done.stderr
    return [one for one in yaml.load_all(done.stdout, yaml.CSafeLoader) if one]


def own_overlay(folder: Path, text: str) -> Path:
    """A copy of the manifests with a folder beside them, as somebody's own overlay lies there."""
    shutil.copytree(MANIFESTS, folder / "manifests")
    own = folder / "manifests" / "own"
    own.mkdir()
    (own / "kustomization.yaml").write_text(text, encoding="utf-8")
    return own


@cache
def _everything() -> tuple[Manifest, ...]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return tuple(built_from(own_overlay(Path(folder), _EVERYTHING)))


@cache
def _build(name: str) -> tuple[Manifest, ...]:
    return _everything() if name == "everything" else tuple(built_from(MANIFESTS / name))


def build(name: str) -> list[Manifest]:
    """One of `BUILDS`; built once, not to be changed."""
    return list(_build(name))


def only(objects: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    """The one object of this kind, and of this name where it is told."""
    (found,) = [
        one for one in objects if one["kind"] == kind and name in (None, one["metadata"]["name"])
    ]
    return found


def pods(objects: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Every pod's spec, with a name that says where it stands."""
    for one in objects:
        spec, name = one.get("spec") or {}, f"{one['kind']}/{one['metadata']['name']}"
        if one["kind"] == "LifelongLearningJob":
            for stage in ("trainSpec", "evalSpec", "deploySpec"):
                yield f"{name}/{stage}", spec[stage]["template"]["spec"]
        elif "template" in spec:
            yield name, spec["template"]["spec"]


def containers(pod: Manifest) -> list[Manifest]:
    """All of a pod, those that run first included."""
    return [*pod.get("initContainers", ()), *pod["containers"]]


def complaints(manifest: Manifest, version: str) -> list[str]:
    """What Kubernetes of this version would say against an object; empty: nothing."""
    if manifest["apiVersion"] == SEDNA:
        validator = _sedna(manifest["kind"])
    else:
        api = manifest["apiVersion"]
        group, _, of = api.rpartition("/")
        prefix = f"{group.split('.')[0]}-{of}" if group else of
        validator = _kubernetes(f"{manifest['kind'].lower()}-{prefix}", version)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(manifest)]


@cache
def _definitions(version: str) -> Registry:
    schema = schema_contents(_path("_definitions", version), version)
    return Resource.from_contents(schema) @ Registry()


@cache
def _kubernetes(name: str, version: str) -> Draft202012Validator:
    schema = schema_contents(_path(name, version), version)
    return Draft202012Validator(
        schema, registry=Resource.from_contents(schema) @ _definitions(version)
    )


def _path(name: str, version: str) -> str:
    return f"kubernetes-json-schema/v{version}.0-local-strict/{name}.json"


@cache
def _sedna(kind: str) -> Draft202012Validator:
    path = _CRDS / f"sedna.io_{kind.lower()}s.yaml"
    if not path.exists():
        pytest.skip(f"Sedna's CRD of {kind} is not here: {path}")
    crd = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
    (version,) = crd["spec"]["versions"]
    schema = _strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object", "required": ["name", "namespace"]}
    return Draft202012Validator(schema)


def _strict(schema: Any) -> Any:
    """An unknown field is an error: the API server would cut it off without a word."""
    if not isinstance(schema, Mapping):
        return schema
    strict = {
        key: (
            {name: _strict(value) for name, value in inner.items()}
            if key == "properties"
            else _strict(inner)
        )
        for key, inner in schema.items()
    }
    bounded = {"additionalProperties", "x-kubernetes-preserve-unknown-fields"} & strict.keys()
    if strict.get("type") == "object" and not bounded:
        strict["additionalProperties"] = False
    return strict
