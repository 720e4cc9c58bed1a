"""K8S-07, K8S-08: what the container files build, and that compose.yaml starts just that."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from compose_spec import PyCompose

from cloud.cli import app as cloud_app
from edge.cli import app as edge_app
from lifelong.config import load_config
from tests.manifest_builds import MANIFESTS, ROOT

FILES = {
    "edge": MANIFESTS / "edge/Containerfile",
    "cloud": MANIFESTS / "images/cloud.Containerfile",
    "label-studio": MANIFESTS / "images/label-studio.Containerfile",
}
COMMANDS = {
    "cornerloop": typer.main.get_command(cloud_app),
    "cornerloop-edge": typer.main.get_command(edge_app),
}
BASE = "python:3.11.11-slim-bookworm"


def instructions(name: str) -> list[tuple[str, str]]:
    """Instructions of a container file, continued lines joined."""
    text = FILES[name].read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines]


def of(name: str, instruction: str) -> list[str]:
    return [text for found, text in instructions(name) if found == instruction]


def called(*words: str) -> None:
    """Is there such a command, and has it these options?"""
    command: Any = COMMANDS[words[0]]
    rest = list(words[1:])
    while rest and hasattr(command, "commands"):
        command = command.commands[rest.pop(0)]
    known = {name for option in command.params for name in option.opts}
    assert {word for word in rest if word.startswith("-")} <= known


@pytest.mark.parametrize("name", FILES)
def test_k8s_07_an_image_has_stages_fixed_bases_labels_and_no_root(name: str) -> None:
    bases = dict(text.split("=") for text in of(name, "ARG")[:2])
    assert bases == {"BUILD_BASE": BASE, "BASE": BASE}
    stages = of(name, "FROM")
    assert stages[0] == "${BUILD_BASE} AS build"
    assert "${BASE}" in stages[1]
    # Each stage that can be an end names the user, after all that needed root.
    ends = 2 if name == "cloud" else 1
    assert of(name, "USER") == ["10001"] * ends
    told = instructions(name)
    last = len(told) - 1 - [found for found, _ in reversed(told)].index("USER")
    assert not [text for found, text in told[last:] if found in {"RUN", "COPY"}]
    for key in ("title", "description", "version", "revision"):
        labels = [text for text in of(name, "LABEL") if f"org.opencontainers.image.{key}=" in text]
        assert len(labels) == ends
    assert len(of(name, "HEALTHCHECK")) == 1
    # The group as well: `useradd --system` alone gives any.
    assert [text for text in of(name, "RUN") if "groupadd --gid 10001" in text]


@pytest.mark.parametrize("name", FILES)
def test_k8s_08_a_build_needs_neither_a_registry_nor_an_index_of_ours(name: str) -> None:
    text = FILES[name].read_text(encoding="utf-8")
    assert "://" not in text.replace("http://127.0.0.1", "")
    assert "latest" not in text
    assert {"PIP_NO_INDEX", "PIP_FIND_LINKS"} <= set(of(name, "ARG"))


@pytest.mark.parametrize("name", FILES)
def test_k8s_07_what_is_copied_is_there_and_is_not_ignored(name: str) -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    back = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    copied = [text.split() for text in of(name, "COPY") if "--from" not in text]
    sources = {word for words in copied for word in words[:-1]}
    assert sources
    assert sources <= back
    assert all((ROOT / source).exists() for source in sources)


def test_k8s_06_the_edges_image_is_light() -> None:
    copied = {word for text in of("edge", "COPY") for word in text.split()}
    assert not {"cloud", "annotation", "."} & copied
    assert not [text for text in of("edge", "RUN") if "[cloud]" in text]


def test_k8s_07_a_gpu_is_a_choice_and_each_image_refuses_the_others_torch() -> None:
    stages = of("cloud", "FROM")
    # The last stage is what is built when nobody names one.
    assert [stage.rpartition(" ")[2] for stage in stages] == ["build", "common", "gpu", "cpu"]
    checks = [text for text in of("cloud", "RUN") if "torch.version.cuda" in text]
    assert len(checks) == 2


def test_k8s_06_images_start_commands_that_exist() -> None:
    for name in ("edge", "cloud"):
        (start,) = [yaml.safe_load(text) for text in of(name, "ENTRYPOINT")]
        (arguments,) = [yaml.safe_load(text) for text in of(name, "CMD")]
        called(*start, *arguments)
    (probe,) = of("edge", "HEALTHCHECK")
    called(*yaml.safe_load(probe.split("CMD", 1)[1]))


# -- compose.yaml ----------------------------------------------------------------------------


def compose() -> dict[str, Any]:
    """With its anchors and merges resolved, as every program that reads it does."""
    found = yaml.safe_load((MANIFESTS / "compose.yaml").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def accepted(content: dict[str, Any]) -> bool:
    try:
        PyCompose.from_yaml(yaml.safe_dump(content))
    except ValueError:
        return False
    return True


def test_k8s_01_compose_yaml_follows_its_specification() -> None:
    assert accepted(compose())


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("services", {"cloud": {"image": "a:1", "red_only": True}}),
        ("services", {"cloud": {"image": "a:1", "read_only": "maybe"}}),
        ("services", {"cloud": {"image": "a:1", "ports": [{"published": "8000"}]}}),
        ("services", {"cloud": {"image": "a:1", "volumes": ["::"]}}),
        ("secrets", {"token": {"path": "x"}}),
        ("volumes", ["work"]),
        ("service", {}),
    ],
)
def test_k8s_01_a_broken_compose_yaml_is_refused(section: str, change: object) -> None:
    assert not accepted(compose() | {section: change})


def test_k8s_01_compose_uses_the_clusters_configuration_and_its_job() -> None:
    services = compose()["services"]
    assert services.keys() == {"label-studio", "cloud", "job", "edge"}
    for name in ("cloud", "job", "edge"):
        assert "./one-node/config.yaml:/etc/cornerloop/config.yaml:ro" in services[name]["volumes"]
    config = load_config(MANIFESTS / "one-node/config.yaml")
    assert config.label_studio.url == "http://label-studio:8080"
    mounted = [m.split(":")[0] for m in services["job"]["volumes"] if ":/manifests/" in m]
    assert len(mounted) == 2
    assert all((MANIFESTS / file).exists() for file in mounted)
    for service in services.values():
        file = service.get("build", {}).get("dockerfile")
        assert file is None or (MANIFESTS / service["build"]["context"] / file).exists()


def test_k8s_07_compose_is_locked_healthy_and_keeps_secrets_in_files() -> None:
    content = compose()
    for name, service in content["services"].items():
        assert service["user"] == "10001:10001", name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"], name
        assert {"test", "interval", "start_period"} <= service["healthcheck"].keys(), name
        assert service["image"].rpartition(":")[2] not in {"", "latest"}, name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        for key, value in service.get("environment", {}).items():
            assert not re.search("PASSWORD|USER_TOKEN|SECRET", key), (name, value)
        named = {volume.split(":")[0] for volume in service["volumes"] if volume[0] != "."}
        assert named <= content["volumes"].keys(), name
        assert set(service.get("secrets", ())) <= content["secrets"].keys(), name
    for secret in content["secrets"].values():
        path = Path(secret["file"])
        assert f"manifests/{path.parent.name}/" in (ROOT / ".gitignore").read_text().splitlines()
    # A device never holds the key that signs.
    assert not [v for v in content["services"]["edge"]["volumes"] if v.startswith("work:")]


def test_k8s_01_compose_starts_commands_that_exist() -> None:
    services = compose()["services"]
    called(*services["job"]["entrypoint"])
    called(*services["edge"]["entrypoint"], *services["edge"]["command"])
    for name in ("job", "edge"):
        called(*services[name]["healthcheck"]["test"][1:])
    assert services["cloud"]["entrypoint"][-1].rstrip().endswith("exec cornerloop serve")
    called("cornerloop", "serve")


def test_ops_07_every_secret_of_label_studio_is_told_how_to_make() -> None:
    """The key that signs among them: of its own, Label Studio reads one in fifty back wrongly."""
    told = (ROOT / "docs/cluster.md").read_text(encoding="utf-8")
    names = compose()["services"]["label-studio"]["secrets"]
    assert "label-studio-secret-key" in names
    start = compose()["services"]["label-studio"]["entrypoint"][-1]
    for name in names:
        assert f"> manifests/secrets/{name}\n" in told
        assert f"/run/secrets/{name}" in start
    (pod,) = [
        one["spec"]["template"]["spec"]
        for one in yaml.safe_load_all((MANIFESTS / "base/label-studio.yaml").read_text("utf-8"))
        if one["kind"] == "StatefulSet"
    ]
    asked = {
        entry["name"]: entry["valueFrom"]["secretKeyRef"]
        for entry in pod["containers"][0]["env"]
        if "valueFrom" in entry
    }
    assert asked["SECRET_KEY"] == {"name": "cornerloop-label-studio", "key": "secret-key"}
    (recipe,) = re.findall(r"secret generic cornerloop-label-studio \\\n(.*?)```", told, re.DOTALL)
    assert {f"--from-literal={one['key']}=" for one in asked.values()} <= set(
        re.findall(r"--from-literal=[a-z-]+=", recipe)
    )
