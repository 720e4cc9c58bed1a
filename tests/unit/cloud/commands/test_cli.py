"""The command line: one line for an error, JSON for machines, nothing heavy where it is not due."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cloud.assembly import open_cloud
from lifelong.config import Config, load_config
from lifelong.records.ids import RoundNumber
from lifelong.records.keys import bundle_key
from lifelong.records.label_map import CITYSCAPES
from lifelong.records.pixels import jpeg_from_image, png_from_mask
from lifelong.records.rounds import RoundState
from tests.builders import a_round
from tests.tiny_bundle import tiny_bundle
from tests.web_parts import a_client, a_watch, some_parts

ROOT = Path(__file__).parents[4]


def cornerloop(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cloud", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    """A storage with a round and two releases."""
    path = tmp_path / "config.yaml"
    path.write_text("storage: storage\n", encoding="utf-8")
    cloud = open_cloud(load_config(path))
    for seed in (1, 2):
        bundle = tiny_bundle(seed=seed)
        cloud.storage.put(bundle_key(bundle.version_id), bundle.to_bytes())
        cloud.releases.publish(bundle.version_id, RoundNumber(seed), f"round {seed} accepted")
    cloud.rounds.save(a_round(RoundState.ANNOTATING))
    return path


def test_rounds_names_the_deployed_bundle(config_path: Path) -> None:
    result = cornerloop("rounds", "--config", str(config_path), "--json")
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["deployed"]["version"] == tiny_bundle(seed=2).version_id
    assert (config_path.parent / "storage" / told["deployed"]["bundle"]).is_file()
    assert told["rounds"][0]["state"] == "annotating"


def test_a_rollback_is_a_release(config_path: Path) -> None:
    old = tiny_bundle(seed=1).version_id
    result = cornerloop("rollback", "--config", str(config_path), old)
    assert result.returncode == 0, result.stderr
    told = json.loads(cornerloop("rounds", "--config", str(config_path), "--json").stdout)
    assert told["deployed"]["version"] == old


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("storag: x\n", "did you mean 'storage'"),
        ("edge: {source: {type: floder, path: x}}\n", "floder"),
        ("training: {steps: none}\n", "training.steps"),
        ("- a\n", "expected sections"),
        ("a: [\n", "not YAML"),
    ],
)
def test_ux05_a_wrong_configuration_is_one_line_with_file_and_key(
    content: str, told: str, tmp_path: Path
) -> None:
    """UX-05: unknown keys are refused with the nearest known one; no traceback."""
    path = tmp_path / "config.yaml"
    path.write_text(content, encoding="utf-8")
    result = cornerloop("rounds", "--config", str(path))
    assert result.returncode == 1
    (line,) = result.stderr.strip().splitlines()
    assert str(path) in line
    assert told in line


def test_evaluate_measures_any_bundle(tmp_path: Path) -> None:
    bundle = tiny_bundle(label_map=CITYSCAPES, seed=3)
    (tmp_path / "model.bundle").write_bytes(bundle.to_bytes())
    for name in ("images", "train_ids"):
        (tmp_path / "data" / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(2):
        image = rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)
        mask = np.zeros((24, 32), dtype=np.uint8)
        mask[12:] = 8
        (tmp_path / "data/images" / f"{number}.jpg").write_bytes(jpeg_from_image(image))
        (tmp_path / "data/train_ids" / f"{number}.png").write_bytes(png_from_mask(mask))
    result = cornerloop(
        "evaluate", str(tmp_path / "model.bundle"), "--data", str(tmp_path / "data"), "--json"
    )
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert set(told) == {"miou", "iou", "pixel_accuracy", "images"}
    assert set(told["iou"]) == {"road", "vegetation"}, "classes absent from the data are left out"
    assert told["images"] == 2


def test_kb03_a_pickle_given_as_a_bundle_is_not_opened(tmp_path: Path) -> None:
    """KB-03: the first bytes decide."""
    path = tmp_path / "index.pkl"
    path.write_bytes(b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94.")
    (tmp_path / "images").mkdir()
    result = cornerloop("evaluate", str(path), "--data", str(tmp_path))
    assert result.returncode == 1
    assert "not a model bundle" in result.stderr


def test_looking_at_rounds_loads_no_torch(config_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['cornerloop', 'rounds', '--config', sys.argv[1]]\n"
        "from cloud.cli import app\n"
        "app(standalone_mode=False)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(config_path)], cwd=ROOT, check=True)


def test_the_page_tells_the_rounds_and_what_the_loop_waits_for(
    config_path: Path, tmp_path: Path
) -> None:
    config: Config = load_config(config_path)
    trouble = [""]
    cloud = open_cloud(config)
    parts = some_parts(
        cloud.storage,
        a_watch(cloud.storage, tmp_path).refresh(),
        trouble=lambda: trouble[0],
        title="North gate",
    )
    with a_client(parts) as client:
        assert client.get("/healthz").json() == {"status": "up"}
        assert client.get("/readyz").status_code == 200
        page = client.get("/rounds").text
        assert "North gate" in page
        assert "annotating" in page
        trouble[0] = "Label Studio <away>"
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200, "alive, though not ready"
        assert "Label Studio &lt;away&gt;" in client.get("/rounds").text
        assert client.get("/docs").status_code == 404, "it would load scripts from a foreign host"
