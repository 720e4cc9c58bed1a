"""The trial, SEC-04: a process of its own opens a foreign model; what it does there stays there."""

import os
import pickle
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.errands import Errand
from edge.models.model_slot import ModelSlot
from edge.models.model_trial import ModelTrial, check_answer
from edge.models.model_updates import ModelUpdates
from edge.models.trust import Trust
from lifelong.errors import ModelLoadError, ModelOutputError, TrialError
from lifelong.links.journal import Journal
from lifelong.model_bundle import BundleManifest, ModelBundle, make_bundle
from lifelong.onnx_layout import refuse_foreign_files
from lifelong.preprocessing import Preprocessing
from lifelong.records.ids import sha256_hex
from lifelong.records.label_map import CITYSCAPES
from lifelong.segmenter import OnnxSegmenter
from tests.builders import a_prediction, an_image
from tests.edge_fixtures import FlakyStorage, events, release, street_bundle
from tests.tiny_bundle import tiny_onnx, tiny_weights


def trial(folder: Path, **changes) -> ModelTrial:
    return ModelTrial(**{"folder": folder, "threads": 1, **changes})


def child(folder: Path, program: str) -> tuple[str, ...]:
    """A stand-in for the child that does what a broken native library may do."""
    path = folder / "child.py"
    path.write_text(program)
    return (sys.executable, str(path))


def bundle_of(onnx_bytes: bytes) -> ModelBundle:
    manifest = BundleManifest(
        label_map=CITYSCAPES,
        preprocessing=Preprocessing(height=16, width=24),
        network="foreign",
        weights_sha256="",
    )
    return make_bundle(manifest, onnx_bytes)


def test_a_good_model_passes_with_and_without_a_frame(tmp_path):
    trial(tmp_path)(street_bundle(), an_image(1, 30, 50))
    trial(tmp_path)(street_bundle(), None)
    assert list(tmp_path.iterdir()) == []  # nothing is left over


def test_a_model_that_answers_nan_or_cannot_be_loaded_is_refused_with_the_reason(tmp_path):
    weights, bias = tiny_weights(CITYSCAPES)
    with pytest.raises(TrialError, match="NaN"):
        trial(tmp_path)(street_bundle(weights=(weights * np.nan, bias)), None)
    with pytest.raises(TrialError, match="is not an ONNX model"):
        trial(tmp_path)(bundle_of(b"not a model"), None)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("import os; os.abort()", "SIGABRT"),
        ("import sys; sys.exit(3)", "code 3"),
        ("print('no JSON')", "without an answer"),
        ("raise RuntimeError('a bug')", "a bug"),
    ],
)
def test_a_child_that_dies_is_a_refusal_that_says_how(tmp_path, program, reason):
    with pytest.raises(TrialError, match=reason):
        trial(tmp_path, program=child(tmp_path, program))(street_bundle(), None)


def test_a_child_that_hangs_is_ended_with_all_its_children(tmp_path):
    program = (
        "import os, pathlib, subprocess, sys, time\n"
        "one = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"pathlib.Path({str(tmp_path / 'pids')!r}).write_text(f'{{os.getpid()}} {{one.pid}}')\n"
        "time.sleep(600)\n"
    )
    with pytest.raises(TrialError, match=r"no answer within 2 s"):
        trial(tmp_path, program=child(tmp_path, program), seconds=2.0)(street_bundle(), None)
    for number in (tmp_path / "pids").read_text().split():
        assert is_gone(int(number))


def is_gone(number: int) -> bool:
    """Ended, or about to be collected by whoever adopted it."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def greedy_onnx(mib: int) -> bytes:
    """A model that asks for so much memory while it answers."""
    shape = numpy_helper.from_array(np.array([mib, 2**18], dtype=np.int64), "shape")
    weights, bias = tiny_weights(CITYSCAPES)
    graph = onnx.load_from_string(tiny_onnx(weights, bias)).graph
    size = numpy_helper.from_array(np.array([0], dtype=np.float32), "value")
    nodes = [
        helper.make_node("Conv", ["image", "weights", "bias"], ["plain"]),
        helper.make_node("ConstantOfShape", ["shape"], ["large"], value=size),
        helper.make_node("ReduceMax", ["large"], ["top"], keepdims=0),
        helper.make_node("Add", ["plain", "top"], ["logits"]),
    ]
    greedy = helper.make_graph(
        nodes, "greedy", list(graph.input), list(graph.output), [*graph.initializer, shape]
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(greedy, opset_imports=opset, ir_version=8).SerializeToString()


def test_a_model_that_takes_all_memory_is_refused_and_the_node_keeps_its_own(tmp_path):
    trial(tmp_path, max_mib=1024)(bundle_of(greedy_onnx(8)), None)
    with pytest.raises(TrialError):
        trial(tmp_path, max_mib=1024)(bundle_of(greedy_onnx(4096)), None)


def with_external_data(path: str) -> bytes:
    model = onnx.load_from_string(tiny_onnx(*tiny_weights(CITYSCAPES)))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", path), ("offset", "0"), ("length", "228")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return model.SerializeToString()


def in_a_subgraph() -> bytes:
    """The pointer at a file hides in a constant of a branch."""
    hidden = onnx.load_from_string(with_external_data("secret.bin")).graph.initializer[0]
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["inner"], value=hidden)],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    model = onnx.load_from_string(tiny_onnx(*tiny_weights(CITYSCAPES)))
    model.graph.node.append(
        helper.make_node("If", ["c"], ["unused"], then_branch=branch, else_branch=branch)
    )
    return model.SerializeToString()


@pytest.mark.parametrize(
    "data",
    [
        with_external_data("secret.bin"),
        with_external_data("/etc/passwd"),
        with_external_data("../../etc/passwd"),
        in_a_subgraph(),
    ],
)
def test_sec_04_a_model_that_points_at_files_is_refused_before_anything_reads_them(
    tmp_path, monkeypatch, data
):
    monkeypatch.chdir(tmp_path)
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(228))
    os.utime(secret, (1, 1))
    storage, journal = FlakyStorage(), Journal(tmp_path / "journal", "edge-1")
    with pytest.raises(ModelLoadError, match="external data"):
        refuse_foreign_files(data, "x")
    slot = a_slot(storage, journal, tmp_path, [])
    release(storage, street_bundle())
    slot.refresh()
    release(storage, bundle_of(data), 2)
    slot.refresh()
    assert slot.version_id == street_bundle().version_id
    assert "external data" in slot.refused_reason
    assert secret.stat().st_atime == 1


class Trap:
    """Leaves a file behind when somebody unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def a_slot(storage, journal, folder: Path, loaded: list, **changes) -> ModelSlot:
    def load(bundle: ModelBundle) -> OnnxSegmenter:
        loaded.append(bundle.version_id)
        return OnnxSegmenter(bundle, threads=1)

    trust = Trust(None, accepts_unsigned=True)
    updates = ModelUpdates(storage, folder / "models", CITYSCAPES.digest, journal, trust=trust)
    return ModelSlot(
        updates, load, journal, Errand("updates", inline=True), poll_seconds=0, **changes
    )


def test_sec_04_a_pickle_in_place_of_a_bundle_or_a_model_is_refused_and_never_unpickled(tmp_path):
    sprung = tmp_path / "sprung"
    trap = pickle.dumps(Trap(sprung))
    storage, journal = FlakyStorage(), Journal(tmp_path / "journal", "edge-1")
    loaded: list[str] = []
    slot = a_slot(storage, journal, tmp_path, loaded)
    for number, bundle in enumerate((bundle_of(trap), street_bundle(5)), start=1):
        record = release(storage, bundle, number)
        if number == 2:
            release(storage, bundle, number, sha256=sha256_hex(trap))
            storage.put(record.bundle_key, trap)
        slot.refresh()
    assert slot.version_id is None
    assert loaded == []
    assert len(events(tmp_path / "journal", "model.refused")) == 2
    with pytest.raises(TrialError):
        trial(tmp_path)(bundle_of(trap), None)
    assert not sprung.exists()
    pickle.loads(trap)  # the trap does work
    assert sprung.exists()


def test_a_model_that_fails_its_trial_is_never_loaded_by_the_node(tmp_path):
    storage, journal = FlakyStorage(), Journal(tmp_path / "journal", "edge-1")
    loaded: list[str] = []
    tried: list[object] = []

    def refusing(bundle: ModelBundle, image) -> None:
        tried.append(image)
        raise TrialError("ended by SIGSEGV")

    slot = a_slot(storage, journal, tmp_path, loaded, trial=refusing)
    release(storage, street_bundle())
    slot.refresh()
    assert (slot.version_id, loaded, tried) == (None, [], [None])
    assert slot.last_error == "ended by SIGSEGV"
    (refused,) = events(tmp_path / "journal", "model.refused")
    assert refused["error"] == "TrialError"


@pytest.mark.parametrize(
    "wrong",
    [
        {"mask": np.zeros((3, 3), dtype=np.uint8)},
        {"mask": np.full((48, 64), 19, dtype=np.uint8)},
        {"confidence": np.full((48, 64), np.nan, dtype=np.float32)},
        {"margin": np.full((48, 64), 1.5, dtype=np.float32)},
    ],
)
def test_an_answer_that_a_node_cannot_work_with_is_named(wrong):
    with pytest.raises(ModelOutputError):
        check_answer(a_prediction(**wrong), an_image(), 19)


def test_a_full_disk_leaves_the_judgement_to_the_canary(tmp_path):
    trial(tmp_path / "gone")(street_bundle(), None)
