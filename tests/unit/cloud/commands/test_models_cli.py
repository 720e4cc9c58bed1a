"""`cornerloop models` as people type it."""

import json
import os
import subprocess
import sys
from hashlib import sha256

import numpy as np
import pytest
from typer.testing import CliRunner

from cloud.assist.onnx_sam import load_onnx_sam
from cloud.assist_service.models_export import objects_of
from cloud.commands.models import models_app
from cloud.demo.scenes import draw_scene
from cloud.weights import catalogue as weights_catalogue
from lifelong.records.pixels import jpeg_from_image
from tests.weights_server import serving

DATA = os.urandom(5000)


@pytest.fixture
def catalogue(tmp_path, monkeypatch):
    """A catalogue of one file and one hub folder."""
    path = tmp_path / "catalogue.json"
    path.write_text(
        json.dumps(
            [
                {
                    "name": "one_file",
                    "what": "a file",
                    "kind": "file",
                    "licence": "Apache-2.0",
                    "source": "https://nowhere.invalid/one.pth",
                    "size": len(DATA),
                    "sha256": sha256(DATA).hexdigest(),
                },
                {
                    "name": "one_folder",
                    "what": "a folder",
                    "kind": "hub",
                    "source": "org/model",
                    "licence": "non-commercial",
                    "about": "small",
                },
            ]
        )
    )
    monkeypatch.setattr(weights_catalogue, "CATALOGUE_FILE", path)
    weights_catalogue.catalogue.cache_clear()
    yield
    weights_catalogue.catalogue.cache_clear()


def run(*arguments):
    return CliRunner().invoke(models_app, [str(argument) for argument in arguments])


def test_list_pull_and_check_go_together(tmp_path, catalogue):
    """PRE-08, OPS-03: what there is, bring it, is it still right."""
    store = ("--weights-path", tmp_path / "store")
    files = {"one.pth": DATA, "org/model/config.json": b"{}", "org/model/model.safetensors": b"w"}
    with serving(files) as server:
        pulled = run("pull", "one_file", "one_folder", "--from", server.address, *store)
    assert pulled.exit_code == 0, pulled.output
    assert "licence: non-commercial" in pulled.stderr
    assert "one.pth (1 files brought, 0 were there)" in pulled.stdout

    rows = json.loads(run("list", "--json", *store).stdout)
    assert [(row["name"], row["present"]) for row in rows] == [
        ("one_file", True),
        ("one_folder", True),
    ]
    assert rows[1]["size_text"] == "small"
    assert "one_folder" in run("list", *store).stdout
    assert run("check", *store).exit_code == 0

    (tmp_path / "store/one.pth").write_bytes(b"damaged")
    checked = run("check", *store)
    assert checked.exit_code == 1
    assert "BAD one_file" in checked.stdout
    assert "cornerloop models pull one_file" in checked.stdout
    assert run("check", "one_folder", *store).exit_code == 0
    found = json.loads(run("check", "--json", *store).stdout)
    assert found[0]["good"] is False


def test_a_model_that_is_not_here_fails_its_check_by_name(tmp_path, catalogue):
    store = ("--weights-path", tmp_path)

    assert run("check", *store).exit_code == 0
    missing = run("check", "one_file", *store)

    assert missing.exit_code == 1
    assert "is not there" in missing.stdout


def test_the_configuration_names_the_store(tmp_path, catalogue):
    config = tmp_path / "config.yaml"
    config.write_text(f"preannotation:\n  weights_path: {tmp_path / 'store'}\n")
    (tmp_path / "stick").mkdir()
    (tmp_path / "stick/one.pth").write_bytes(DATA)

    pulled = run("pull", "one_file", "--from", tmp_path / "stick", "--config", config)

    assert pulled.exit_code == 0, pulled.output
    assert (tmp_path / "store/one.pth").read_bytes() == DATA


def test_ops_03_an_error_is_one_line_with_a_remedy(tmp_path):
    """OPS-03: the whole command line, as a user meets it."""
    command = [sys.executable, "-m", "cloud", "models", "pull", "sam_vit_b"]
    result = subprocess.run(
        [*command, "--from", "/no/such/stick", "--weights-path", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 1
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("cornerloop: /no/such/stick: no such folder; --from takes")


@pytest.mark.slow
def test_int_15_export_as_people_type_it(tmp_path):
    """INT-15: the shipped SAM to a folder, and an int8 encoder calibrated on one's own pictures."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(4):
        scene = draw_scene(9_100 + number, "clear")
        (pictures / f"{number}.jpg").write_bytes(jpeg_from_image(scene.image))

    done = CliRunner().invoke(
        models_app,
        ["export", "tiny_sam", "--to", str(tmp_path / "out"), "--calibrate", str(pictures),
         "--json"],
    )  # fmt: skip

    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said == json.loads((tmp_path / "out" / "model.json").read_text())
    assert (said["int8"]["calibrated_on"], said["int8"]["prompts"]) == (2, 18)
    assert "tiny_sam: decoder to ONNX" in done.stderr
    model = load_onnx_sam(tmp_path / "out", precision="int8", device="cpu")
    assert model.name == "tiny_sam_int8"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["sam2_tiny"], "is not built of segment-anything's parts"),
        (["tiny_sam", "--checkpoint", "none.safetensors"], "none.safetensors"),
        (["tiny_sam", "--calibrate", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_int_15_what_cannot_be_exported_leaves_no_folder(given, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    done = CliRunner().invoke(models_app, ["export", *given, "--to", "out"])

    assert words in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_int_15_objects_of_labelled_pictures():
    """Connected parts of one class, largest first; not what nobody knows, and no specks."""
    classes = np.full((100, 100), 255, np.uint8)
    classes[:20, :20] = 3
    classes[50:90, 50:90] = 3
    classes[0:30, 60:90] = 7
    classes[99, 99] = 1

    sizes = [int(part.sum()) for part in objects_of(classes)]

    assert sizes == [1600, 900, 400]
