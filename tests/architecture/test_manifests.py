"""What schemas cannot say of the manifests: what is locked, what fits together, what runs where."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from cloud.cli import app as cloud_app
from cloud.job.manifest import load_manifest
from edge.cli import app as edge_app
from lifelong.config import Config, load_config
from tests.manifest_builds import (
    BUILDS,
    MANIFESTS,
    Manifest,
    build,
    built_from,
    containers,
    kubectl,
    only,
    own_overlay,
    pods,
)

COMMANDS = {
    "cornerloop": typer.main.get_command(cloud_app),
    "cornerloop-edge": typer.main.get_command(edge_app),
}
WITH_A_JOB = ("one-node", "s3", "kubeedge", "everything")
# Made by people before the first apply, as docs/cluster.md says; none is in the repository.
SECRETS = {
    "cornerloop-assist",
    "cornerloop-label-studio",
    "cornerloop-signing",
    "cornerloop-storage",
}
SECRET = re.compile("PASSWORD|TOKEN|SECRET|ACCESS_KEY")
NO_SECRETS = {"LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN"}
TLS = {"labels-tls", "cornerloop-tls"}
HANDS_FOLDERS_OVER = {"own"}
NOBODY = 10001


def every_container(name: str) -> Iterator[tuple[str, Manifest, Manifest]]:
    for where, pod in pods(build(name)):
        for container in containers(pod):
            yield f"{where}/{container['name']}", pod, container


def told(pod: Manifest, container: Manifest, key: str) -> Any:
    """A setting of a container, or of its pod where the container has none."""
    own = container.get("securityContext", {})
    return own.get(key, pod.get("securityContext", {}).get(key))


@pytest.mark.parametrize("name", BUILDS)
def test_k8s_07_every_container_is_locked_and_bounded(name: str) -> None:
    seen = 0
    for where, pod, container in every_container(name):
        seen += 1
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False, where
        assert security["readOnlyRootFilesystem"] is True, where
        assert security["capabilities"]["drop"] == ["ALL"], where
        assert "privileged" not in security, where
        root = container["name"] in HANDS_FOLDERS_OVER
        assert told(pod, container, "runAsUser") == (0 if root else NOBODY), where
        assert told(pod, container, "runAsNonRoot") is not root, where
        assert security["capabilities"].get("add", []) == (["CHOWN"] if root else []), where
        assert told(pod, container, "seccompProfile") == {"type": "RuntimeDefault"}, where
        resources = container["resources"]
        assert {"cpu", "memory"} <= resources["requests"].keys(), where
        assert resources["limits"]["memory"], where
    assert seen


@pytest.mark.parametrize("name", BUILDS)
def test_k8s_07_no_pod_gets_a_token_or_asks_for_the_hosts_own_rooms(name: str) -> None:
    for where, pod in pods(build(name)):
        assert pod["automountServiceAccountToken"] is False, where
        assert pod["enableServiceLinks"] is False, where
        # Sedna forces the host's network on its workers; nobody of ours asks for it.
        assert not {"hostNetwork", "hostPID", "hostIPC", "dnsPolicy"} & pod.keys(), where
        for container in containers(pod):
            assert not [port for port in container.get("ports", ()) if "hostPort" in port], where
    for one in build(name):
        if one["kind"] == "Role":
            assert {verb for rule in one["rules"] for verb in rule["verbs"]} == {
                "get", "list", "watch"
            }  # fmt: skip
            named = {resource for rule in one["rules"] for resource in rule["resources"]}
            assert not {"secrets", "*"} & named
    assert not [one for one in build(name) if one["kind"] in {"ClusterRole", "RoleBinding"}]


@pytest.mark.parametrize("name", BUILDS)
def test_k8s_02_images_have_fixed_tags_and_no_registry(name: str) -> None:
    for where, _, container in every_container(name):
        repository, _, tag = container["image"].rpartition(":")
        assert tag not in {"", "latest"}, where
        assert container["imagePullPolicy"] == "IfNotPresent", where
        if name != "everything":
            assert "." not in repository.split("/")[0], f"{where} names a registry"
    if name == "everything":  # a registry of one's own is set in one place, workers included
        clouds = {c["image"] for _, _, c in every_container(name) if "/cloud" in c["image"]}
        assert clouds == {"registry.example/team/cloud:0.1.0-gpu"}


@pytest.mark.parametrize("name", BUILDS)
def test_k8s_02_long_runners_are_probed_and_workers_end(name: str) -> None:
    for where, pod in pods(build(name)):
        (container,) = pod["containers"]
        if pod.get("restartPolicy", "Always") == "OnFailure":
            assert "livenessProbe" not in container, where
        else:
            assert {"startupProbe", "livenessProbe"} <= container.keys(), where
            if "ports" in container:
                assert "readinessProbe" in container, where


@pytest.mark.parametrize("name", BUILDS)
def test_k8s_02_what_is_mounted_or_read_by_name_is_there(name: str) -> None:
    objects = build(name)
    maps = {one["metadata"]["name"] for one in objects if one["kind"] == "ConfigMap"}
    if name == "base":
        maps.add("cornerloop-config")  # each overlay has its own
    secrets: set[str] = set()
    for where, pod in pods(objects):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        claims = {
            claim["metadata"]["name"]
            for one in objects
            for claim in one.get("spec", {}).get("volumeClaimTemplates", ())
        }
        mounted = {m["name"] for c in containers(pod) for m in c["volumeMounts"]}
        assert mounted <= volumes.keys() | claims, where
        assert volumes.keys() <= mounted, where
        for volume in volumes.values():
            if "configMap" in volume:
                assert volume["configMap"]["name"] in maps | {"cornerloop-ca"}, where
        for container in containers(pod):
            for source in container.get("envFrom", ()):
                reference = source.get("configMapRef")
                if reference and not reference.get("optional"):
                    assert reference["name"] in maps, where
                secrets |= {source["secretRef"]["name"]} if "secretRef" in source else set()
            for entry in container.get("env", ()):
                reference = entry.get("valueFrom", {}).get("secretKeyRef")
                secrets |= {reference["name"]} if reference else set()
                if SECRET.search(entry["name"]) and entry["name"] not in NO_SECRETS:
                    assert reference is not None, f"{where}: {entry['name']}"
    assert secrets <= SECRETS
    assert not [one for one in objects if one["kind"] == "Secret"]


@pytest.mark.parametrize("name", BUILDS)
def test_k8s_02_every_command_and_option_exists(name: str) -> None:
    for where, _, container in every_container(name):
        calls = [[*container["command"], *container.get("args", ())]]
        calls += [
            container[probe]["exec"]["command"]
            for probe in ("startupProbe", "livenessProbe", "readinessProbe")
            if "exec" in container.get(probe, {})
        ]
        for program, *words in calls:
            if program in COMMANDS:
                command = COMMANDS[program].commands[words[0]]
                known = {name for option in command.params for name in option.opts}
                assert {word for word in words if word.startswith("--")} <= known, where
            else:
                assert program in {"sh", "chown", "label-studio"}, where


@pytest.mark.parametrize("name", ["base", *WITH_A_JOB])
def test_k8s_02_services_and_policies_meet_the_pods_they_mean(name: str) -> None:
    objects = build(name)
    labels = [
        one["spec"]["template"]["metadata"]["labels"]
        for one in objects
        if one["kind"] in {"Deployment", "StatefulSet", "DaemonSet"}
    ]

    def meets(selector: dict[str, str]) -> bool:
        return any(selector.items() <= found.items() for found in labels)

    for one in objects:
        if one["kind"] == "Service":
            assert meets(one["spec"]["selector"])
        if one["kind"] == "NetworkPolicy":
            assert meets(one["spec"]["podSelector"].get("matchLabels", {}))
    deny = only(objects, "NetworkPolicy", "default-deny")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    # What a template is changed to must still be chosen by its own selector.
    for one in objects:
        if one["kind"] in {"Deployment", "StatefulSet", "DaemonSet"}:
            chosen = one["spec"]["selector"]["matchLabels"]
            assert chosen.items() <= one["spec"]["template"]["metadata"]["labels"].items()


# -- the job ---------------------------------------------------------------------------------


def config_of(objects: list[Manifest], folder: Path) -> Config:
    path = folder / "config.yaml"
    path.write_text(only(objects, "ConfigMap", "cornerloop-config")["data"]["config.yaml"])
    return load_config(path)


@pytest.mark.parametrize("name", WITH_A_JOB)
def test_k8s_01_job_data_set_and_configuration_agree(name: str, tmp_path: Path) -> None:
    objects = build(name)
    job = only(objects, "LifelongLearningJob")["spec"]
    dataset = only(objects, "Dataset")["spec"]
    config = config_of(objects, tmp_path)
    assert job["dataset"]["name"] == only(objects, "Dataset")["metadata"]["name"]
    assert job["dataset"]["trainProb"] == config.job.train_share
    assert f"{config.job.dataset_path}/{config.job.index}" == dataset["url"]
    assert only(objects, "Model")["spec"]["url"] == f"{job['outputDir']}/deploy/index.pkl"
    assert config.web.host == "0.0.0.0"
    service = only(objects, "Service", "label-studio")
    assert config.label_studio.url == f"http://label-studio:{service['spec']['ports'][0]['port']}"
    # A report in the first seconds of a pod's life, or just before its end, gets lost.
    assert config.job.report_not_before_seconds >= 15
    assert config.job.linger_seconds >= 15


@pytest.mark.parametrize("name", WITH_A_JOB)
def test_k8s_02_the_job_avoids_what_sedna_trips_over(name: str) -> None:
    objects = build(name)
    job = only(objects, "LifelongLearningJob")["spec"]
    node = only(objects, "Dataset")["spec"]["nodeName"]
    assert len(job["outputDir"]) < 40
    # Sedna names volumes by their path and cuts at 63 characters.
    for kind in ("data/train", "data/eval", "train", "eval"):
        assert len(f"{job['outputDir']}/{kind}/1000000/") < 63
    assert not re.search(r"\.(zip|tar|tgz|tar\.gz)$", job["outputDir"])
    for stage in ("trainSpec", "evalSpec", "deploySpec"):
        assert "metadata" not in job[stage]["template"]  # would be cut off without a word
    for stage in ("trainSpec", "evalSpec"):
        pod = job[stage]["template"]["spec"]
        # On another node than the data set's, Sedna swallows samples.
        assert pod["nodeSelector"] == {"kubernetes.io/hostname": node}
        assert pod["restartPolicy"] == "OnFailure"
        assert pod["activeDeadlineSeconds"] > 0
    deploy = job["deploySpec"]["template"]["spec"]
    assert "activeDeadlineSeconds" not in deploy
    assert deploy["restartPolicy"] == "Always"
    assert "ports" not in deploy["containers"][0]  # two may run at once on the host's network
    # Sedna adds a container that is root; a pod that forbids root would not start.
    for stage in ("trainSpec", "evalSpec", "deploySpec"):
        assert "securityContext" not in job[stage]["template"]["spec"]


def test_k8s_02_a_bucket_is_named_with_the_secret_that_opens_it() -> None:
    for name in ("s3", "kubeedge", "everything"):
        objects = build(name)
        job, dataset = only(objects, "LifelongLearningJob"), only(objects, "Dataset")
        model = only(objects, "Model")
        assert job["spec"]["outputDir"].startswith("s3://")
        for one in (job, dataset, model):
            assert one["spec"]["credentialName"] == "cornerloop-storage"
        # Sedna gives endpoint and keys to its workers; ours read the same names.
        cloud = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
        assert {"secretRef": {"name": "cornerloop-storage"}} in cloud["envFrom"]
        told = only(objects, "ConfigMap", "cornerloop-environment")["data"]
        assert told["S3_ENDPOINT_URL"].startswith("https://")
        # Nothing of Label Studio reads the node's folder any more.
        label_studio = only(objects, "StatefulSet")["spec"]["template"]["spec"]
        assert not [volume for volume in label_studio["volumes"] if "hostPath" in volume]


def test_k8s_01_the_same_files_run_on_one_machine_and_in_a_cluster() -> None:
    objects = build("one-node")
    for file, kind in (
        ("dataset.yaml", "Dataset"),
        ("lifelonglearningjob.yaml", "LifelongLearningJob"),
        ("model.yaml", "Model"),
    ):
        plain = yaml.safe_load((MANIFESTS / "one-node" / file).read_text(encoding="utf-8"))
        built = only(objects, kind)
        assert built["spec"] == plain["spec"]
        assert built["metadata"]["name"] == plain["metadata"]["name"]
        assert built["metadata"]["namespace"] == plain["metadata"]["namespace"]
    local = load_manifest(MANIFESTS / "one-node")
    assert local.job.spec.output_dir == only(objects, "LifelongLearningJob")["spec"]["outputDir"]
    assert local.job.spec.train.template.spec.containers[0].command == ("cornerloop", "sedna-train")


def test_k8s_01_another_nodes_name_is_one_line(tmp_path: Path) -> None:
    own = own_overlay(tmp_path, "resources: [../one-node]\n")
    file = own.parent / "one-node" / "kustomization.yaml"
    text = file.read_text(encoding="utf-8")
    assert text.count("name=cornerloop]") == 1
    file.write_text(text.replace("name=cornerloop]", "name=kind-worker]"), encoding="utf-8")
    objects = built_from(own)
    assert only(objects, "Dataset")["spec"]["nodeName"] == "kind-worker"
    selectors = [pod["nodeSelector"] for _, pod in pods(objects)]
    assert selectors == [{"kubernetes.io/hostname": "kind-worker"}] * 6
    assert not [one for one in objects if one["metadata"]["name"] == "node"]


@pytest.mark.parametrize("name", WITH_A_JOB)
def test_sec_05_only_the_service_holds_the_key_that_signs(name: str, tmp_path: Path) -> None:
    objects = build(name)
    config = config_of(objects, tmp_path)
    assert config.releases.signing_key is not None
    for where, pod in pods(objects):
        holders = [
            container["name"]
            for container in containers(pod)
            for mount in container["volumeMounts"]
            if mount["name"] == "cornerloop"
            and config.releases.signing_key.is_relative_to(mount["mountPath"])
        ]
        assert holders == (["own", "cloud"] if "cloud" in where else ["own"] * len(holders)), where


@pytest.mark.parametrize("name", WITH_A_JOB)
def test_k8s_07_what_the_configuration_names_is_mounted_where_it_is_needed(
    name: str, tmp_path: Path
) -> None:
    objects = build(name)
    config = config_of(objects, tmp_path)
    assert config.edge is not None
    assert config.edge.updates.trusted_keys is not None
    assert config.holdouts is not None
    worker = [config.journal_path, config.journal_path.parent / "training", config.holdouts]
    edge = [config.edge.state_path, config.edge.outbox.path, config.edge.updates.trusted_keys]
    needed: dict[str, list[Path]] = {"train": worker, "eval": worker, "edge": edge}
    storage = [] if "://" in config.storage else [Path(config.storage)]
    own = only(objects, "Deployment")["spec"]["template"]["spec"]["initContainers"][0]
    for where, pod in pods(objects):
        (container,) = pod["containers"]
        if "DaemonSet" in where or container["name"] not in needed:
            continue
        mounts = [mount for mount in container["volumeMounts"] if mount["name"] == "cornerloop"]
        for path in [*needed[container["name"]], *storage]:
            assert any(path.is_relative_to(mount["mountPath"]) for mount in mounts), where
        for mount in mounts:
            assert mount["mountPath"] == f"/var/lib/cornerloop/{mount['subPath']}", where
            # Whoever is missing would be made by Kubernetes, for root.
            assert re.search(rf"\b{mount['subPath']}\b", own["command"][-1]), where


def test_k8s_06_the_two_pools_of_devices_are_apart_and_keep_their_pods() -> None:
    objects = build("kubeedge")
    daemon = only(objects, "DaemonSet")["spec"]["template"]["spec"]
    job = only(objects, "LifelongLearningJob")["spec"]["deploySpec"]["template"]["spec"]
    assert daemon["nodeSelector"] == {"cornerloop.example/edge": "yes"}
    assert job["nodeSelector"] == {"cornerloop.example/edge": "sedna"}
    for pod in (daemon, job):
        kept = {t["key"] for t in pod["tolerations"] if "tolerationSeconds" not in t}
        assert kept == {
            "node-role.kubernetes.io/edge",
            "node.kubernetes.io/unreachable",
            "node.kubernetes.io/not-ready",
        }
        folders = [v["hostPath"]["path"] for v in pod["volumes"] if "hostPath" in v]
        assert "/var/lib/cornerloop" in folders
    # What the worker writes to is handed over before it starts.
    (own,) = job["initContainers"]
    assert "edge frames;" in own["command"][-1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hand folders over")
def test_k8s_07_a_worker_that_is_not_root_writes_beside_what_sednas_controller_made(
    tmp_path: Path,
) -> None:
    """Sedna's controller makes the job's folders as root, 0755, but only those that are missing."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o001:
            if "pytest-of-" not in str(folder):
                pytest.skip(f"{folder} is closed to others")
            folder.chmod(folder.stat().st_mode | 0o011)
    host = tmp_path / "cornerloop"
    host.mkdir(mode=0o755)
    cloud = only(build("one-node"), "Deployment")["spec"]["template"]["spec"]
    (own,) = cloud["initContainers"]
    script = own["command"][-1].replace("/var/lib/cornerloop", str(host))

    def run(text: str, **user: Any) -> int:
        return subprocess.run(["sh", "-euc", text], cwd="/", check=False, **user).returncode

    for _ in range(2):  # at each start of the service
        assert run(script) == 0
        for name in ("data/train/1", "data/eval/1", "train", "eval", "deploy"):
            (host / "job" / name).mkdir(parents=True, exist_ok=True)
    (host / "job/data/train/1/data.txt").write_text("images/a.jpg masks/a.png\n")
    nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    work = (
        f"cd {host}/job && cat data/train/1/data.txt && mkdir -p train/1 && : > train/1/index.pkl"
    )
    assert run(work, **nobody) == 0
    assert run(f": > {host}/storage/x && : > {host}/dataset/index.txt", **nobody) == 0
    # And nowhere else.
    assert run(f": > {host}/job/deploy/index.pkl", stderr=subprocess.DEVNULL, **nobody) != 0
    assert run(f"mkdir {host}/other", stderr=subprocess.DEVNULL, **nobody) != 0


EDGE = """#!/bin/sh
trap 'echo ended; exit 0' TERM
echo started
if [ -e "$BROKEN" ]; then exit 3; fi
while :; do sleep 0.05; done
"""


@pytest.mark.parametrize(
    ("before", "during", "code", "said"),
    [
        ("deployed", None, 0, ""),  # Sedna's worker is there already
        (None, "deployed", 0, "started\nended\n"),  # makes room for it
        ("broken", None, 3, "started\n"),  # fails, so that the Job starts it again
        (None, "asked to end", 0, "started\nended\n"),
    ],
)
def test_k8s_01_the_first_edge_runs_until_a_model_is_deployed(
    before: str | None, during: str | None, code: int, said: str, tmp_path: Path
) -> None:
    """Sedna starts an inference worker at the first deployment only."""
    (container,) = only(build("one-node"), "Job")["spec"]["template"]["spec"]["containers"]
    *shell, script = container["command"]
    script = script.replace("/var/lib/cornerloop", str(tmp_path)).replace("sleep 10", "sleep 0.1")
    program = tmp_path / "bin/cornerloop-edge"
    program.parent.mkdir()
    program.write_text(EDGE)
    program.chmod(0o755)
    deployed, broken = tmp_path / "job/deploy/index.pkl", tmp_path / "broken"
    deployed.parent.mkdir(parents=True)
    for path in {"deployed": [deployed], "broken": [broken]}.get(str(before), []):
        path.touch()
    process = subprocess.Popen(
        [*shell, script],
        env={"PATH": f"{program.parent}:{os.environ['PATH']}", "BROKEN": str(broken)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    heard = process.stdout.readline() if during else ""
    if during == "deployed":
        deployed.touch()
    elif during == "asked to end":
        process.terminate()
    rest, _ = process.communicate(timeout=60)
    assert (process.returncode, heard + rest) == (code, said)


# -- TLS, proxies, no network ----------------------------------------------------------------


def test_sec_05_proxy_and_ca_reach_every_pod_of_ours_and_localhost_stays_local() -> None:
    objects = build("everything")
    told = only(objects, "ConfigMap", "cornerloop-environment")["data"]
    for host in ("localhost", "127.0.0.1", "label-studio", ".svc"):
        assert host in told["NO_PROXY"].split(",")
    for where, pod in pods(objects):
        (container,) = pod["containers"]
        assert {"name": "ca", "configMap": {"name": "cornerloop-ca"}} in pod["volumes"], where
        mounts = {m["mountPath"]: m for m in container["volumeMounts"]}
        assert mounts["/etc/cornerloop-ca"]["readOnly"] is True, where
        direct = {entry["name"] for entry in container.get("env", ())}
        through = [
            s["configMapRef"]["name"] for s in container.get("envFrom", ()) if "configMapRef" in s
        ]
        assert "cornerloop-environment" in through or {"HTTPS_PROXY", "NO_PROXY"} <= direct, where
    ports = only(objects, "NetworkPolicy", "proxy")["spec"]["egress"][0]["ports"]
    assert told["HTTPS_PROXY"].endswith(f":{ports[0]['port']}")


def test_sec_05_what_people_reach_from_outside_has_tls() -> None:
    found = [one for one in build("everything") if one["kind"] == "Ingress"]
    assert {one["spec"]["tls"][0]["secretName"] for one in found} == TLS
    services = {one["metadata"]["name"] for one in build("base") if one["kind"] == "Service"}
    for one in found:
        (rule,) = one["spec"]["rules"]
        assert one["spec"]["tls"][0]["hosts"] == [rule["host"]]
        (path,) = rule["http"]["paths"]
        assert path["backend"]["service"]["name"] in services


@pytest.mark.parametrize("name", ["base", "preannotate", *WITH_A_JOB])
def test_k8s_08_no_pod_asks_a_hub(name: str) -> None:
    objects = build(name)
    environments = [one for one in objects if one["metadata"]["name"] == "cornerloop-environment"]
    shared = environments[0]["data"] if environments else {}
    for where, _, container in every_container(name):
        if "/cloud" not in container["image"] or container["name"] in HANDS_FOLDERS_OVER:
            continue
        own = {entry["name"]: entry.get("value") for entry in container.get("env", ())}
        if {"configMapRef": {"name": "cornerloop-environment"}} in container.get("envFrom", ()):
            own |= shared
        assert own["HF_HUB_OFFLINE"] == "1", where
        assert own["CORNERLOOP_WEIGHTS"].startswith("/"), where


def test_k8s_02_kubectl_says_which_kustomize_built_this() -> None:
    done = subprocess.run(
        [kubectl(), "version", "--client", "--output", "json"], capture_output=True, check=True
    )
    assert json.loads(done.stdout)["kustomizeVersion"] >= "v5"
