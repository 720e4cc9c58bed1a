"""`training.init`: names, paths, addresses with hashes; pulled over loopback, never in passing."""

import json
from hashlib import sha256

import httpx
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from cloud.assembly import open_cloud
from cloud.cli import app
from cloud.first_model import Picture, begin_with_pictures
from cloud.learning.learner import Learner
from cloud.weights.catalogue import catalogue, entry_named
from cloud.weights.check import check
from cloud.weights.pull import pull
from cloud.weights.sources import source_of
from cloud.weights.store import located
from cloud.weights.student_weights import beginning_of, place_of_init
from cloud.weights.transfer import WebFiles
from lifelong.config import Config, TrainingSection, load_config
from lifelong.errors import ChecksumError, ConfigError, ModelLoadError
from lifelong.model_bundle import read_bundle
from lifelong.records.ids import RoundNumber
from lifelong.records.keys import bundle_key
from lifelong.records.pixels import jpeg_from_image, png_from_mask
from lifelong.sections.drafting import PreannotationSection
from lifelong.training.checkpoints import weights_of, weights_to_bytes
from lifelong.training.networks import build_network
from lifelong.training.segformer import SIZES
from tests.builders import SMALL_MAP
from tests.student_checkpoints import published_segformer, save_encoder, save_segformer, shaken
from tests.weights_server import serving

NAMES = ("void", "sky", *SMALL_MAP.names[1:])


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    for name in ("HF_ENDPOINT", "HF_HUB_OFFLINE", "CORNERLOOP_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)


def brought(name, store, mirror=None):
    with httpx.Client(follow_redirects=True, timeout=240) as client:
        source = source_of(mirror, WebFiles(client, attempts=2, pause=0.0))
        return pull(entry_named(name), store, source, lambda *_: None)


def hub_of(folder, model, revision="main"):
    prefix = f"{model}/resolve/{revision.replace('/', '%2F')}"
    return {f"{prefix}/{p.name}": p.read_bytes() for p in folder.iterdir()}


def section(**changes):
    settings = {"network": "segformer_b0", "height": 32, "width": 48}
    return TrainingSection.model_validate(settings | changes)


def test_from_scratch_nothing_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scratch").mkdir()
    assert place_of_init("scratch") is None
    assert beginning_of(section(), SMALL_MAP, tmp_path) is None


@pytest.mark.parametrize("init", ["nvidia/segformer-b0-finetuned-cityscapes-1024-1024", "segformer_b0_cityscapes"])  # fmt: skip  # noqa: E501
def test_a_hub_id_is_pulled_and_begins_a_student(tmp_path, monkeypatch, init):
    """The hub's layout over loopback; the catalogue's name and the id mean the same."""
    theirs = shaken(published_segformer(SIZES["segformer_b0"], NAMES))
    save_segformer(tmp_path / "theirs", theirs)
    entry = entry_named(init)
    with serving(hub_of(tmp_path / "theirs", entry.source, entry.revision)) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        brought(init, tmp_path / "store")
    asked = len(server.asked)
    beginning = beginning_of(section(init=init), SMALL_MAP, tmp_path / "store")
    assert len(server.asked) == asked, "nothing is fetched when it is used"
    taken = beginning.taken
    assert taken.classes == SMALL_MAP.names[1:] and taken.fresh_classes == SMALL_MAP.names[:1]
    row = NAMES.index(SMALL_MAP.names[1])
    ours = beginning.weights["decode_head.classifier.weight"][1]
    assert torch.equal(ours, theirs.decode_head.classifier.weight[row])


def test_an_encoder_of_the_hub_without_safetensors_is_read_without_running_it(
    tmp_path, monkeypatch
):
    """As nvidia/mit-b0 lies there: configuration and pytorch_model.bin."""
    theirs = tmp_path / "theirs"
    save_encoder(theirs, SIZES["segformer_b0"], bare=False)
    weights = shaken(None, theirs)
    torch.save(weights, theirs / "pytorch_model.bin")
    (theirs / "model.safetensors").unlink()
    with serving(hub_of(theirs, "nvidia/mit-b0")) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        pulled = brought("mit_b0", tmp_path / "store")
    assert any("weights_only=True" in note for note in pulled.notes)
    beginning = beginning_of(section(init="mit_b0"), SMALL_MAP, tmp_path / "store")
    assert beginning.taken.parts == ("segformer",) and beginning.taken.fresh == ("decode_head",)


def test_an_address_with_its_hash_is_pulled_checked_and_used(tmp_path):
    data = weights_to_bytes(weights_of(build_network("fast_cnn", len(SMALL_MAP), seed=3)))
    digits = sha256(data).hexdigest()
    with serving({"w/ours.safetensors": data}) as server:
        init = f"{server.address}/w/ours.safetensors#sha256={digits}"
        wrong = f"{server.address}/w/ours.safetensors#sha256={'0' * 64}"
        with pytest.raises(ModelLoadError, match="cornerloop models pull http"):
            place_of_init(init, tmp_path)
        brought(init, tmp_path)
        with pytest.raises(ChecksumError, match="nothing of it is kept"):
            brought(wrong, tmp_path)
    assert located(init, tmp_path).name == f"{digits[:16]}-ours.safetensors"
    beginning = beginning_of(section(network="fast_cnn", init=init), SMALL_MAP, tmp_path)
    assert weights_to_bytes(beginning.weights) == data


@pytest.mark.parametrize(
    "init", ["https://h/w.pth", "https://h/w.pth#sha256=12", f"https://h/#sha256={'0' * 64}"]
)
def test_an_address_without_a_hash_is_refused(tmp_path, init):
    with pytest.raises(ModelLoadError, match=r"training\.init: .* ends in FILE#sha256="):
        place_of_init(init, tmp_path)


@pytest.mark.parametrize("init", ["nvidia/mit-b3", "mobilenet_v3_large", "org/model"])
def test_what_was_not_pulled_is_told_with_the_command(tmp_path, init):
    """OPS-03: offline is no mystery, and nothing is fetched in passing."""
    with pytest.raises(ModelLoadError, match=f"cornerloop models pull {init}"):
        place_of_init(init, tmp_path)


@pytest.mark.parametrize("init", ["/no/such/file.safetensors", "./no_such_folder"])
def test_a_path_to_nothing_is_refused_as_a_path(init):
    with pytest.raises(ConfigError, match=r"training\.init: .* nothing there"):
        place_of_init(init)


def test_relative_paths_start_at_the_configuration_and_scratch_is_no_path(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "w.safetensors").write_bytes(b"")
    for init, expected in (
        ("w.safetensors", str((tmp_path / "w.safetensors").resolve())),
        ("scratch", "scratch"),
        ("nvidia/mit-b0", "nvidia/mit-b0"),
    ):
        (tmp_path / "config.yaml").write_text(f"training: {{init: {init}}}\n")
        assert load_config(tmp_path / "config.yaml").training.init == expected


def test_files_of_torchvision_are_checked_by_the_digits_in_their_names(tmp_path):
    entry = entry_named("mobilenet_v3_large")
    assert entry.sha256_begins is not None and entry.sha256_begins in entry.source
    filename = entry.source.rpartition("/")[2]
    refused = pytest.raises(ChecksumError, match=entry.sha256_begins)
    with serving({filename: b"other bytes"}) as server, refused:
        brought(entry.name, tmp_path, server.address)
    assert not (tmp_path / filename).exists()
    (tmp_path / filename).write_bytes(b"put there by hand")
    (checked,) = check(entry, tmp_path)
    assert not checked.good and "another SHA-256" in checked.words


def test_the_catalogue_can_begin_every_published_student():
    for network in SIZES:
        number = network[-1]
        assert catalogue()[f"mit_b{number}"].source == f"nvidia/mit-b{number}"
        source = catalogue()[f"segformer_b{number}_cityscapes"].source
        assert source == f"nvidia/segformer-b{number}-finetuned-cityscapes-1024-1024"
    assert {"mobilenet_v3_large", "lraspp_mobilenet_v3"} <= set(catalogue())


def a_picture(seed):
    """Sky over road."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((32, 48), dtype=np.uint8)
    mask[: int(rng.integers(10, 20))] = 10
    image = rng.integers(0, 40, (32, 48, 3)) + np.where(mask[..., None] == 10, 180, 60)
    return Picture(jpeg_from_image(image.astype(np.uint8)), mask)


def test_a_first_model_begins_with_weights_of_others_and_sees_as_they_did(tmp_path):
    """The journal and the caller are told what was taken; every later round sees the same way."""
    theirs = tmp_path / "theirs"
    save_segformer(theirs, shaken(published_segformer(SIZES["segformer_b0"], ("sky", "road"))))
    says = json.loads((theirs / "preprocessor_config.json").read_text())
    says |= {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.25, 0.25, 0.25]}
    (theirs / "preprocessor_config.json").write_text(json.dumps(says))
    training = section(
        init=str(theirs), steps=1, first_steps_factor=3, batch_size=2, threads=1, device="cpu"
    )
    config = Config(
        storage=str(tmp_path / "storage"), journal_path=tmp_path / "journal", training=training
    )
    cloud, told, steps = open_cloud(config), [], []
    version = begin_with_pictures(
        cloud,
        [a_picture(seed) for seed in range(4)],
        "clear",
        on_progress=lambda step, of, loss: steps.append((step, of)),
        on_taken=told.append,
    )
    assert steps[-1] == (3, 3), "a first model's steps, whatever it begins with"
    assert told[0].classes == ("road", "sky") and "person" in told[0].fresh_classes
    (line,) = [
        entry
        for path in (tmp_path / "journal").rglob("*.jsonl")
        for entry in map(json.loads, path.read_text().splitlines())
        if "begun_from" in json.dumps(entry)
    ]
    assert str(theirs) in json.dumps(line)
    bundle = read_bundle(cloud.storage.get(bundle_key(version)), "first")
    assert bundle.manifest.preprocessing.mean == pytest.approx((0.5, 0.4, 0.3))
    # The round after it knows nothing of `init`, but sees as the model before it.
    learner = Learner(cloud.storage, cloud.label_map, training, tmp_path / "work")
    candidate = learner.train(
        new=list(cloud.kb.samples.values()),
        memory=[],
        incumbent=bundle,
        round_number=RoundNumber(1),
    )
    assert candidate.bundle.manifest.preprocessing == bundle.manifest.preprocessing


def test_cornerloop_begin_tells_what_was_taken(tmp_path):
    weights = weights_of(build_network("fast_cnn", 19, seed=3))
    (tmp_path / "ours.safetensors").write_bytes(weights_to_bytes(weights))
    for folder in ("images", "train_ids"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for seed in range(2):
        picture = a_picture(seed)
        (tmp_path / f"data/images/{seed}.jpg").write_bytes(picture.image)
        (tmp_path / f"data/train_ids/{seed}.png").write_bytes(png_from_mask(picture.mask))
    (tmp_path / "config.yaml").write_text(
        "training: {init: ours.safetensors, height: 32, width: 48, steps: 1, batch_size: 2,\n"
        "  first_steps_factor: 1, threads: 1, device: cpu}\n"
    )
    given = ["begin", "--config", str(tmp_path / "config.yaml"), "--data", str(tmp_path / "data")]
    result = CliRunner().invoke(app, [*given, "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["begun_from"]["source"] == str(tmp_path / "ours.safetensors")
    assert told["begun_from"]["share"] == 1.0 and told["version_id"]


def test_nothing_is_stored_when_the_weights_to_begin_with_are_missing(tmp_path):
    training = section(init="nvidia/mit-b0")
    config = Config(
        storage=str(tmp_path / "storage"),
        journal_path=tmp_path / "journal",
        training=training,
        preannotation=PreannotationSection(weights_path=tmp_path / "weights"),
    )
    cloud = open_cloud(config)
    with pytest.raises(ModelLoadError, match="models pull nvidia/mit-b0"):
        begin_with_pictures(cloud, [a_picture(0)], "clear", on_progress=lambda *_: None)
    assert cloud.releases.current() is None and not cloud.kb.samples
