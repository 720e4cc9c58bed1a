"""K8S-02: objects of every build are what Kubernetes and Sedna know, and broken ones are not."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from tests.manifest_builds import BUILDS, VERSIONS, Manifest, build, complaints

Change = Callable[[Any], None]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", BUILDS)
def test_k8s_02_every_object_of_every_build_is_valid(name: str, version: str) -> None:
    found = {
        f"{one['kind']}/{one['metadata']['name']}": complaints(one, version)
        for one in build(name)
        if not one["apiVersion"].startswith("sedna.io/")
    }
    assert {key: said for key, said in found.items() if said} == {}
    assert found


@pytest.mark.parametrize("name", ["one-node", "s3", "kubeedge", "everything"])
def test_k8s_02_sednas_objects_are_what_its_crds_say(name: str) -> None:
    ours = [one for one in build(name) if one["apiVersion"].startswith("sedna.io/")]
    assert sorted(one["kind"] for one in ours) == ["Dataset", "LifelongLearningJob", "Model"]
    for one in ours:
        assert complaints(one, VERSIONS[0]) == []


def at(*path: str | int) -> Callable[[Manifest], Any]:
    def found(manifest: Manifest) -> Any:
        place: Any = manifest
        for step in path:
            place = place[step]
        return place

    return found


def misspelt(*path: str | int) -> Callable[[Manifest], None]:
    """The last step's key, two letters changed over."""
    *way, name = path
    assert isinstance(name, str)

    def change(manifest: Manifest) -> None:
        place = at(*way)(manifest)
        place[name[1] + name[0] + name[2:]] = place.pop(name)

    return change


def becomes(value: object, *path: str | int) -> Callable[[Manifest], None]:
    *way, name = path

    def change(manifest: Manifest) -> None:
        at(*way)(manifest)[name] = value

    return change


def without(*path: str | int) -> Callable[[Manifest], None]:
    *way, name = path

    def change(manifest: Manifest) -> None:
        del at(*way)(manifest)[name]

    return change


_POD = ("spec", "template", "spec")
_TRAIN = ("spec", "trainSpec", "template", "spec")
# Of each kind that any build holds: a field misspelt, a value of another type, and, where the
# kind has any, a required field left out.
BROKEN: dict[str, list[Change]] = {
    "ConfigMap": [misspelt("data"), becomes(1, "data", "config.yaml")],
    "DaemonSet": [
        misspelt(*_POD, "tolerations"),
        becomes("yes", *_POD, "automountServiceAccountToken"),
        without(*_POD, "containers", 0, "name"),
    ],
    "Dataset": [
        misspelt("spec", "format"),
        becomes(7, "spec", "nodeName"),
        without("spec", "url"),
        without("metadata", "namespace"),
    ],
    "Deployment": [
        misspelt(*_POD, "containers", 0, "readinessProbe", "httpGet"),
        becomes("1", "spec", "replicas"),
        without("spec", "selector"),
        becomes("true", *_POD, "containers", 0, "securityContext", "readOnlyRootFilesystem"),
    ],
    "Ingress": [
        misspelt("spec", "rules"),
        becomes("labels.example", "spec", "tls", 0, "hosts"),
        without("spec", "rules", 0, "http", "paths", 0, "backend"),
    ],
    "Job": [
        misspelt("spec", "completionMode"),
        becomes("8", "spec", "completions"),
        without("spec", "template"),
    ],
    "LifelongLearningJob": [
        misspelt("spec", "outputDir"),
        becomes("0.9", "spec", "dataset", "trainProb"),
        without("spec", "trainSpec", "trigger", "condition", "metric"),
        without("spec", "deploySpec"),
        # YAML 1.1 would make a number of an unquoted hour.
        becomes({"start": 1200, "end": "06:00"}, "spec", "trainSpec", "trigger", "timer"),
        misspelt(*_TRAIN, "containers", 0, "volumeMounts"),
        becomes(21600.5, *_TRAIN, "activeDeadlineSeconds"),
        without(*_TRAIN, "containers"),
        # The API server would cut these off without a word.
        becomes({"labels": {"a": "b"}}, "spec", "trainSpec", "template", "metadata"),
    ],
    "Model": [misspelt("spec", "format"), becomes(True, "spec", "url"), without("spec", "url")],
    "Namespace": [misspelt("metadata"), becomes(["privileged"], "metadata", "labels")],
    "NetworkPolicy": [
        misspelt("spec", "policyTypes"),
        becomes("Ingress", "spec", "policyTypes"),
        becomes({"app": 1}, "spec", "podSelector", "matchLabels"),
    ],
    "PersistentVolumeClaim": [
        misspelt("spec", "accessModes"),
        becomes("ReadWriteMany", "spec", "accessModes"),
    ],
    "Role": [misspelt("rules"), becomes("get", "rules", 0, "verbs"), without("rules", 0, "verbs")],
    "Service": [
        misspelt("spec", "selector"),
        becomes("8000", "spec", "ports", 0, "port"),
        without("spec", "ports", 0, "port"),
    ],
    "ServiceAccount": [
        misspelt("automountServiceAccountToken"),
        becomes("false", "automountServiceAccountToken"),
    ],
    "StatefulSet": [
        misspelt("spec", "volumeClaimTemplates", 0, "spec", "accessModes"),
        becomes(["1"], *_POD, "containers", 0, "resources", "limits"),
        without("spec", "template"),
    ],
}


def first(kind: str) -> Manifest:
    everything = [*build("everything"), *build("preannotate")]
    found = [one for one in everything if one["kind"] == kind]
    if kind == "ConfigMap":
        found = [one for one in found if "config.yaml" in one["data"]]
    return deepcopy(found[0])


def test_k8s_02_every_kind_that_is_built_is_also_broken() -> None:
    built = {one["kind"] for name in BUILDS for one in build(name)}
    assert built == set(BROKEN)


@pytest.mark.parametrize(
    ("kind", "number"),
    [(kind, number) for kind, changes in BROKEN.items() for number in range(len(changes))],
)
def test_k8s_02_a_broken_copy_is_refused_by_every_version(kind: str, number: int) -> None:
    broken = first(kind)
    assert complaints(broken, VERSIONS[0]) == []
    BROKEN[kind][number](broken)
    for version in VERSIONS:
        assert complaints(broken, version), version
