"""LLL-06: a network grows new classes and keeps what it knew."""

import pytest
import torch

from lifelong.errors import LabelMapError, ModelLoadError
from lifelong.labels.map_changes import change_classes
from lifelong.records.label_map import LabelMap
from lifelong.training.checkpoints import Weights, load_weights, weights_of
from lifelong.training.head_growth import grown_weights
from lifelong.training.networks import build_network

STREET = LabelMap(
    ("road", "building", "car", "bus", "sky"), tuple((10 * i + 1, 2, 3) for i in range(5))
)
NETWORKS = ("fast_cnn", "lraspp_mobilenet_v3", "segformer_b0")


def fresh(network: str) -> Weights:
    built = build_network(network, len(STREET), seed=3)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():  # as after training: classifiers that are sure, and with biases
        for name in built.classifiers():
            layer = built.get_submodule(name)
            for values in layer.parameters():
                values.normal_(generator=generator)
    return weights_of(built)


def shares(network: str, classes: int, weights: Weights) -> torch.Tensor:
    built = build_network(network, classes, seed=0).eval()
    load_weights(built, weights, "test")
    pictures = torch.randn(3, 3, 64, 96, generator=torch.Generator().manual_seed(11))
    with torch.no_grad():
        return built(pictures).softmax(1)


@pytest.mark.parametrize("network", NETWORKS)
def test_lll_06_old_answers_are_kept_on_every_picture_right_after_growth(network):
    change = change_classes(
        STREET,
        add={"tram": ("building", "bus"), "shop": ("building",), "dog": ("sky",)},
        rename={"car": "motor"},
    )
    old = fresh(network)
    before = shares(network, 5, old)
    after = shares(network, 8, grown_weights(old, network, change))
    mass = after[:, :5].clone()
    mass[:, 1] += after[:, 5] + after[:, 6]
    mass[:, 4] += after[:, 7]
    torch.testing.assert_close(mass, before, atol=2e-6, rtol=1e-4)
    top = before.topk(2, dim=1).values
    clear = top[:, 0] - top[:, 1] > 1e-5  # a tie may fall either way
    assert clear.float().mean() > 0.9
    assert torch.equal(mass.argmax(1)[clear], before.argmax(1)[clear])


@pytest.mark.parametrize("network", NETWORKS)
def test_lll_06_old_weights_are_the_same_bit_by_bit(network):
    change = change_classes(STREET, add={"tram": ("building",)}, remove=["road"])
    old = fresh(network)
    new = grown_weights(old, network, change)
    heads = build_network(network, 2, seed=0).classifiers()
    ours = {f"{name}.{part}" for name in heads for part in ("weight", "bias")}
    assert ours and ours < set(old) and set(new) == set(old)
    for name in set(old) - ours:
        assert torch.equal(new[name], old[name]), name
    for name in heads:
        rows = new[f"{name}.weight"]
        assert torch.equal(rows[:4], old[f"{name}.weight"][1:])
        assert torch.equal(rows[4], old[f"{name}.weight"][1])  # tram starts as building
        assert torch.equal(new[f"{name}.bias"][1:4], old[f"{name}.bias"][2:])


def test_lll_06_removed_classes_leave_their_share_to_the_others():
    change = change_classes(STREET, remove=["car"])
    old = fresh("fast_cnn")
    kept = shares("fast_cnn", 5, old)[:, [0, 1, 3, 4]]
    after = shares("fast_cnn", 4, grown_weights(old, "fast_cnn", change))
    torch.testing.assert_close(after, kept / kept.sum(1, keepdim=True), atol=2e-6, rtol=1e-4)


def test_lll_06_a_merged_class_never_claims_more_than_its_parts_and_all_of_it_when_they_agree():
    change = change_classes(STREET, merge={"vehicle": ("car", "bus")})
    old = fresh("lraspp_mobilenet_v3")
    before = shares("lraspp_mobilenet_v3", 5, old)
    after = shares("lraspp_mobilenet_v3", 4, grown_weights(old, "lraspp_mobilenet_v3", change))
    assert (after[:, 2] <= before[:, 2] + before[:, 3] + 1e-6).all()
    for name in build_network("lraspp_mobilenet_v3", 2, seed=0).classifiers():
        for part in ("weight", "bias"):
            old[f"{name}.{part}"][3] = old[f"{name}.{part}"][2]
    before = shares("lraspp_mobilenet_v3", 5, old)
    after = shares("lraspp_mobilenet_v3", 4, grown_weights(old, "lraspp_mobilenet_v3", change))
    torch.testing.assert_close(after[:, 2], before[:, 2] + before[:, 3], atol=2e-6, rtol=1e-4)


def test_lll_06_a_class_that_older_labels_left_unlabelled_is_nowhere_the_answer():
    change = change_classes(STREET, add={"dog": ()})
    old = fresh("fast_cnn")
    after = shares("fast_cnn", 6, grown_weights(old, "fast_cnn", change))
    assert torch.equal(after.argmax(1), shares("fast_cnn", 5, old).argmax(1))
    assert float(after[:, 5].max()) <= 1 / 6


def test_lll_06_a_new_class_of_a_merged_one_starts_from_what_that_became():
    change = change_classes(STREET, add={"tram": ("bus",)}, merge={"vehicle": ("car", "bus")})
    old = fresh("fast_cnn")
    new = grown_weights(old, "fast_cnn", change)
    assert change.after.names == ("road", "building", "vehicle", "sky", "tram")
    assert torch.equal(new["head.weight"][4], new["head.weight"][2])
    assert torch.equal(new["head.bias"][4], new["head.bias"][2])
    # ln 2 for two classes in one, - ln 2 for two that share it.
    torch.testing.assert_close(new["head.bias"][2], old["head.bias"][2:4].mean())


def test_lll_06_foreign_weights_are_refused():
    change = change_classes(STREET, add={"tram": ()})
    with pytest.raises(LabelMapError, match="4 classes at head"):
        grown_weights(weights_of(build_network("fast_cnn", 4, seed=0)), "fast_cnn", change)
    with pytest.raises(LabelMapError, match="0 classes"):
        grown_weights(fresh("lraspp_mobilenet_v3"), "fast_cnn", change)
    broken = fresh("fast_cnn")
    del broken["scene.bias"]
    with pytest.raises(ModelLoadError):
        grown_weights(broken, "fast_cnn", change)
