"""Export: ONNX Runtime answers as torch does, equal weights give equal files, nothing leaks."""

from pathlib import Path

import onnx
import pytest
import torch

from lifelong.errors import ExportMismatchError, ModelLoadError
from lifelong.model_bundle import BundleManifest, make_bundle
from lifelong.onnx_runtime import onnxruntime
from lifelong.preprocessing import Preprocessing, network_input
from lifelong.training.checkpoints import weights_from_bytes, weights_of, weights_to_bytes
from lifelong.training.networks import NETWORKS, build_network
from lifelong.training.onnx_export import onnx_from_network, prove_equal
from tests.builders import SMALL_MAP, an_image

HOW = Preprocessing(height=64, width=96)


def a_network(name="fast_cnn", seed=0):
    network = build_network(name, len(SMALL_MAP), seed=seed)
    with torch.no_grad():  # statistics of a network that has seen something
        for _ in range(2):
            network(torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(seed)))
    return network


def a_bundle(network, name="fast_cnn", *, with_features=False):
    manifest = BundleManifest(
        label_map=SMALL_MAP, preprocessing=HOW, network=name, weights_sha256="0" * 64
    )
    return make_bundle(manifest, onnx_from_network(network, HOW, with_features=with_features))


@pytest.fixture(scope="module")
def exported():
    """A network and its bundle; exporting takes seconds, so they are shared."""
    network = a_network()
    return network, a_bundle(network)


def test_LLL_12_the_exported_model_answers_as_the_trained_one(exported):  # noqa: N802
    network, bundle = exported
    assert 0.0 <= prove_equal(bundle, network, [an_image(1), an_image(2)]) < 1e-3


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if n != "fast_cnn" else []) for n in NETWORKS],
)
def test_LLL_12_EDGE_06_so_does_every_network_and_says_what_it_saw(name):  # noqa: N802
    """As bundles have it, with both outputs; the largest takes half a minute to export."""
    network = a_network(name).eval()
    bundle = a_bundle(network, name, with_features=True)
    assert 0.0 <= prove_equal(bundle, network, [an_image(1)]) < 1e-3
    picture = torch.from_numpy(network_input(an_image(1), HOW))
    with torch.no_grad():
        plain, (logits, features) = network(picture), network.described(picture)
    assert torch.equal(plain, logits)
    assert features.shape[0] == 1 and features.shape[2:] == (4, 6)  # a sixteenth
    session = onnxruntime.InferenceSession(bundle.onnx, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["logits", "features"]
    exported = session.run(["features"], {"image": picture.numpy()})[0]
    assert exported == pytest.approx(features.numpy(), abs=1e-3)


def test_equal_weights_give_equal_files_and_nothing_of_the_machine_is_in_them(exported):
    network, bundle = exported
    data = bundle.onnx
    assert data == onnx_from_network(a_network(), HOW)
    assert str(Path.cwd()).encode() not in data and b".py" not in data
    weights = sum(p.numel() for p in network.parameters())
    assert len(data) < 4 * weights * 1.1
    onnx.checker.check_model(onnx.load_from_string(data))


def test_LLL_12_another_networks_export_is_found_out(exported):  # noqa: N802
    with pytest.raises(ExportMismatchError, match="do not release"):
        prove_equal(exported[1], a_network(seed=1), [])


def test_LLL_12_logits_of_another_size_are_found_out(exported):  # noqa: N802
    network, bundle = exported
    half = torch.nn.Sequential(network, torch.nn.AvgPool2d(2))
    with pytest.raises(ExportMismatchError, match=r"exported logits .* trained"):
        prove_equal(bundle, half, [])


def test_weights_survive_their_file_and_half_precision_is_widened():
    weights = weights_of(a_network())
    back = weights_from_bytes(weights_to_bytes(weights), "test")
    assert all(torch.equal(weights[name], back[name]) for name in weights)
    halved = {n: v.half() if v.is_floating_point() else v for n, v in weights.items()}
    wide = weights_from_bytes(weights_to_bytes(halved), "test")
    assert torch.float32 == wide["head.weight"].dtype
    assert torch.equal(halved["head.weight"].float(), wide["head.weight"])


def test_a_file_that_is_not_safetensors_is_refused():
    with pytest.raises(ModelLoadError, match="models/x"):
        weights_from_bytes(b"\x80\x04pickle", "models/x")
