"""Delta transfer, TR-09: what is here already does not come again, and a cut costs one chunk."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cloud.releasing.bundle_chunks import collect_chunks, publish_chunks
from edge.models.bundle_fetch import BundleFetch
from edge.models.kept_models import KeptModels, Offer
from lifelong.bundle_chunks import LARGEST, SMALLEST, pieces
from lifelong.errors import ChecksumError, CorruptRecordError, StorageUnavailableError
from lifelong.model_bundle import BundleManifest, ModelBundle, make_bundle
from lifelong.onnx_layout import initialiser_spans
from lifelong.preprocessing import Preprocessing
from lifelong.records.chunk_list import ChunkList
from lifelong.records.ids import sha256_hex
from lifelong.records.keys import chunk_list_key
from lifelong.records.label_map import CITYSCAPES
from lifelong.records.wire import from_json
from tests.edge_fixtures import FlakyStorage, release, street_bundle

LAYERS = 24


def network(seed: int = 0, changed: tuple[int, ...] = (), other: int = 99) -> ModelBundle:
    """A bundle of 24 layers of 64 KiB each and as many small ones; `changed` come from `other`."""
    tensors = []
    for layer in range(LAYERS):
        random = np.random.default_rng([other if layer in changed else seed, layer])
        for name, shape in (("weight", (128, 128)), ("bias", (128,))):
            values = random.normal(size=shape).astype(np.float32)
            tensors.append(numpy_helper.from_array(values, f"{layer}.{name}"))
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "layers",
        [value],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        tensors,
    )
    manifest = BundleManifest(
        label_map=CITYSCAPES,
        preprocessing=Preprocessing(height=16, width=24),
        network="layers",
        weights_sha256=f"{seed} {changed}",
    )
    return make_bundle(manifest, helper.make_model(graph, ir_version=8).SerializeToString())


BASE = network()


class Road:
    """A node that has BASE on its disk, and a storage that counts what it hands out."""

    def __init__(self, folder: Path) -> None:
        self.storage = FlakyStorage()
        self.kept = KeptModels(folder / "models")
        self.kept.keep(Offer(release="0" * 64, bundle=BASE), None)
        self.fetch = BundleFetch(self.storage, self.kept)

    def publish(self, bundle: ModelBundle, number: int = 1):
        publish_chunks(self.storage, bundle)
        return release(self.storage, bundle, number)

    def leftovers(self) -> int:
        folder = self.kept.folder / "chunks"
        return len(list(folder.iterdir())) if folder.exists() else 0


@pytest.fixture
def road(tmp_path) -> Road:
    return Road(tmp_path)


@pytest.mark.parametrize(
    ("bundle", "least", "most"),
    [
        (BASE, 0.0, 0.01),  # an equal model: the list alone
        (network(changed=(7, 19)), 2 / LAYERS, 2 / LAYERS + 0.03),  # an adapter, say
        (network(changed=(LAYERS - 1,)), 1 / LAYERS, 1 / LAYERS + 0.03),  # the last layer
        (network(seed=5), 0.99, 1.01),  # a wholly new one
        (street_bundle(), 0.9, 2.0),  # another network, small: one chunk and a list of one
    ],
    ids=["equal", "two layers", "head", "new", "other network"],
)
def test_tr_09_only_what_changed_comes(road, bundle, least, most):
    found = road.fetch.fetch(road.publish(bundle))
    assert found.data == bundle.to_bytes()
    assert least <= found.transferred / len(found.data) <= most
    assert road.leftovers() == 0


def test_tr_09_a_cut_fetch_goes_on_where_it_was_also_after_a_restart(road):
    bundle = network(seed=5)
    record = road.publish(bundle)
    count = len(pieces(bundle, bundle.to_bytes()))
    get, handed = road.storage.get, []

    def cut_after_ten(key: str, **more) -> bytes:
        if key.startswith("chunks/"):
            handed.append(key)
            if len(handed) % 10 == 0:
                raise StorageUnavailableError("the link is gone")
        return get(key, **more)

    road.storage.get = cut_after_ten
    found = None
    while found is None:
        try:
            found = BundleFetch(road.storage, road.kept).fetch(record)
        except StorageUnavailableError:
            assert 0 < road.leftovers() < count
    assert found.data == bundle.to_bytes()
    cuts = len(handed) // 10
    assert len(handed) == count + cuts  # each chunk came once; each cut cost one request
    assert road.leftovers() == 0


def test_chunks_of_a_fetch_that_was_given_up_do_not_pile_up(road):
    record = road.publish(network(seed=5))
    get = road.storage.get
    for seed in range(6, 10):
        handed = []

        def cut(key: str, handed=handed, **more) -> bytes:
            if key.startswith("chunks/"):
                handed.append(key)
                if len(handed) == 8:
                    raise StorageUnavailableError("gone")
            return get(key, **more)

        road.storage.get = cut
        with pytest.raises(StorageUnavailableError):
            road.fetch.fetch(record)
        assert road.leftovers() <= 7
        road.storage.get = get
        record = road.publish(network(seed=seed))
    road.fetch.fetch(record)
    assert road.leftovers() == 0


def lost_chunk(road: Road, listed: ChunkList) -> None:
    road.storage.delete(f"chunks/{listed.chunks[3].sha256}")


def damaged_chunk(road: Road, listed: ChunkList) -> None:
    road.storage.put(f"chunks/{listed.chunks[3].sha256}", b"something else")


def damaged_list(road: Road, listed: ChunkList) -> None:
    road.storage.put(chunk_list_key(listed.version_id), b"{")


def list_of_another(road: Road, listed: ChunkList) -> None:
    other = road.storage.get(chunk_list_key(BASE.version_id))
    road.storage.put(chunk_list_key(listed.version_id), other)


def list_in_another_order(road: Road, listed: ChunkList) -> None:
    key = chunk_list_key(listed.version_id)
    content = json.loads(road.storage.get(key))
    content["record"]["chunks"].reverse()
    road.storage.put(key, json.dumps(content).encode())


def no_list(road: Road, listed: ChunkList) -> None:
    road.storage.delete(chunk_list_key(listed.version_id))


@pytest.mark.parametrize(
    "damage",
    [lost_chunk, damaged_chunk, damaged_list, list_of_another, list_in_another_order, no_list],
)
def test_tr_09_whatever_is_wrong_with_the_pieces_the_whole_bundle_comes(road, damage):
    publish_chunks(road.storage, BASE)
    bundle = network(seed=5)
    record = road.publish(bundle)
    key = chunk_list_key(bundle.version_id)
    damage(road, from_json(ChunkList, road.storage.get(key), key))
    found = road.fetch.fetch(record)
    assert found.data == bundle.to_bytes()
    assert found.chunks == 1
    assert road.leftovers() == 0


def test_a_chunk_that_the_disk_damaged_is_fetched_again(road):
    bundle = network(seed=5)
    record = road.publish(bundle)
    (road.kept.folder / "chunks").mkdir()
    for piece in pieces(bundle, bundle.to_bytes())[:5]:
        (road.kept.folder / "chunks" / sha256_hex(piece)).write_bytes(piece[:-1])
    path = road.kept.folder / f"{BASE.version_id}.bundle"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert road.fetch.fetch(record).data == bundle.to_bytes()


def test_a_bundle_that_is_not_what_the_release_names_is_an_error(road):
    record = road.publish(network(seed=5))
    with pytest.raises(ChecksumError):
        road.fetch.fetch(replace(record, sha256="0" * 64))


@pytest.mark.parametrize("name", ["../../etc/passwd", "0" * 63, "G" * 64, ""])
def test_a_chunk_is_named_by_a_hash_and_by_nothing_else(name):
    data = {"schema": 1, "kind": "ChunkList"}
    record = {"version_id": "0" * 16, "chunks": [{"sha256": name, "size": 3}]}
    with pytest.raises(CorruptRecordError):
        from_json(ChunkList, json.dumps(data | {"record": record}).encode(), "x")


def test_a_full_disk_costs_the_resuming_and_not_the_fetch(road, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edge.models.bundle_fetch.write_whole", full)
    bundle = network(seed=5)
    assert road.fetch.fetch(road.publish(bundle)).data == bundle.to_bytes()


@pytest.mark.parametrize("bundle", [BASE, street_bundle(), network(seed=3, changed=(1,))])
def test_pieces_join_to_the_file_and_are_neither_too_large_nor_too_many(bundle):
    data = bundle.to_bytes()
    cut = pieces(bundle, data)
    assert b"".join(cut) == data
    assert all(0 < len(piece) <= LARGEST for piece in cut)
    assert len(cut) <= 2 * len(data) / SMALLEST + 2


def test_cuts_follow_the_initialisers():
    model = onnx.load_from_string(BASE.onnx)
    spans = initialiser_spans(BASE.onnx)
    found = [TensorProto.FromString(BASE.onnx[begin:end]).name for begin, end in spans]
    assert found == [tensor.name for tensor in model.graph.initializer]


def test_a_model_that_is_no_onnx_is_cut_all_the_same():
    bundle = make_bundle(BASE.manifest, bytes(3 * LARGEST))
    assert b"".join(pieces(bundle, bundle.to_bytes())) == bundle.to_bytes()


def test_tr_09_chunks_that_no_kept_release_names_are_collected():
    storage = FlakyStorage()
    bundles = [network(changed=(layer,)) for layer in range(4)]
    for bundle in bundles:
        publish_chunks(storage, bundle)
    before = len(list(storage.keys("chunks")))
    removed = collect_chunks(storage, {bundles[3].version_id})
    assert removed > 0
    assert len(list(storage.keys("chunks"))) == before - removed
    publish_chunks(storage, bundles[3])
    assert len(list(storage.keys("chunks"))) == len(set(pieces(bundles[3], bundles[3].to_bytes())))
