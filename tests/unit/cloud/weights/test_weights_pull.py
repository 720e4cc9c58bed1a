"""Weights from a server, a mirror or a folder: resumed, checked, recorded, or refused."""

import json
import random
from dataclasses import replace
from hashlib import md5, sha256

import httpx
import pytest

from cloud.weights.catalogue import CatalogueEntry
from cloud.weights.check import check
from cloud.weights.pull import pull
from cloud.weights.records import read_record, record_path, recorded_entries
from cloud.weights.sources import source_of
from cloud.weights.store import is_present, located
from cloud.weights.transfer import WebFiles
from lifelong.errors import ChecksumError, CorruptRecordError, ModelLoadError
from tests.weights_server import serving

BIG = random.Random(0).randbytes(3 << 20)  # the same in every process of the suite
TINY_HUB = {"config.json": b"{}", "model.safetensors": b"weights", "tokenizer.json": b"[]"}


def file_entry(server=None, **facts):
    address = f"{server.address}/big.pth" if server else "https://nowhere.invalid/big.pth"
    known = {"size": len(BIG), "sha256": sha256(BIG).hexdigest(), **facts}
    return CatalogueEntry(
        name="big", what="a test", kind="file", source=address, licence="none", **known
    )


def hub_entry(**facts):
    return CatalogueEntry(
        name="tiny_hub", what="a test", kind="hub", source="org/model", licence="none", **facts
    )


def bring(entry, folder, mirror=None, tell=lambda name, done, total: None):
    with httpx.Client(follow_redirects=True, timeout=240) as client:
        source = source_of(mirror, WebFiles(client, attempts=3, pause=0.0))
        return pull(entry, folder, source, tell)


def on_hub(files, revision="main", model="org/model"):
    return {f"{model}/resolve/{revision}/{name}": data for name, data in files.items()}


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    for name in ("HF_ENDPOINT", "HF_HUB_OFFLINE", "CORNERLOOP_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)


def test_ops_03_a_connection_that_breaks_is_taken_up_where_it_broke(tmp_path):
    """OPS-03: nobody downloads gigabytes twice."""
    heard = []
    with serving({"big.pth": BIG}) as server:
        server.drop_once_after["big.pth"] = 1 << 20
        pulled = bring(
            file_entry(server), tmp_path, tell=lambda *all_of_it: heard.append(all_of_it)
        )

    assert pulled.place.read_bytes() == BIG
    assert [wanted for _, wanted in server.asked] == [None, f"bytes={1 << 20}-"]
    assert heard[-1] == ("big.pth", len(BIG), len(BIG))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["big.pth", "big.pth.pulled.json"]


def test_a_later_command_goes_on_with_the_part_of_an_earlier_one(tmp_path):
    with serving({"big.pth": BIG}) as server:
        server.drop_once_after["big.pth"] = 1 << 20
        server.status["big.pth"] = []
        entry = file_entry(server)
        with httpx.Client() as client, pytest.raises(ModelLoadError, match="what has arrived is"):
            pull(entry, tmp_path, source_of(None, WebFiles(client, attempts=1)), lambda *_: None)
        assert not is_present(entry, tmp_path)
        assert (tmp_path / "big.pth.part").stat().st_size == 1 << 20
        bring(entry, tmp_path)

    assert server.asked[-1] == ("big.pth", f"bytes={1 << 20}-")
    assert (tmp_path / "big.pth").read_bytes() == BIG


def test_a_part_of_another_file_is_thrown_away(tmp_path):
    with serving({"big.pth": BIG}) as server:
        (tmp_path / "big.pth.part").write_bytes(b"x" * 1000)
        (tmp_path / "big.pth.part.etag").write_text('"of another file"')
        bring(file_entry(server), tmp_path)

    assert (tmp_path / "big.pth").read_bytes() == BIG


def test_a_part_that_had_all_arrived_is_only_checked(tmp_path):
    with serving({"big.pth": BIG}) as server:
        (tmp_path / "big.pth.part").write_bytes(BIG)
        (tmp_path / "big.pth.part.etag").write_text(f'"{sha256(BIG).hexdigest()}"')
        bring(file_entry(server), tmp_path)

    assert server.asked == [("big.pth", f"bytes={len(BIG)}-")]
    assert (tmp_path / "big.pth").read_bytes() == BIG


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, sha256(BIG).hexdigest()),
        ({"sha256": None}, str(len(BIG))),
        ({"sha256": None, "size": None, "md5": md5(BIG).hexdigest()}, md5(BIG).hexdigest()),
    ],
)
def test_ops_03_a_changed_file_is_refused_and_nothing_of_it_is_kept(tmp_path, facts, expected):
    """OPS-03: the message says what was expected, what came, and what to do."""
    changed = (BIG[:-1] + bytes([BIG[-1] ^ 1])) + (b"" if "md5" in facts or not facts else b"x")
    with serving({"big.pth": changed}) as server:
        server.announce = False
        with pytest.raises(ChecksumError, match=expected) as refused:
            bring(file_entry(server, **facts), tmp_path)

    assert "nothing of it is kept" in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_hash_nobody_published_is_recorded_and_a_later_different_one_is_refused(tmp_path):
    entry = hub_entry()
    with serving(on_hub(TINY_HUB)) as server:
        server.announce = False
        first = bring(entry, tmp_path, server.address)
        (tmp_path / "org/model/model.safetensors").unlink()
        server.files["org/model/resolve/main/model.safetensors"] = b"Weights"
        with pytest.raises(ChecksumError, match=r"remove .*pulled\.json and pull again"):
            bring(entry, tmp_path, server.address)

    assert "not in the catalogue" in first.notes[0]
    record = read_record(record_path(entry, tmp_path))
    assert record.files["model.safetensors"].sha256 == sha256(b"weights").hexdigest()
    assert not (tmp_path / "org/model/model.safetensors").exists()


def test_what_the_hub_announces_is_checked(tmp_path, monkeypatch):
    with serving(on_hub(TINY_HUB)) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        monkeypatch.setattr("tests.weights_server.sha256", lambda data: sha256(b"other"))
        with pytest.raises(ChecksumError, match="came"):
            bring(hub_entry(), tmp_path)


def test_what_is_here_is_not_brought_again_but_a_damaged_file_is(tmp_path):
    with serving({"big.pth": BIG}) as server:
        entry = file_entry(server)
        bring(entry, tmp_path)
        again = bring(entry, tmp_path)
        (tmp_path / "big.pth").write_bytes(b"damaged")
        mended = bring(entry, tmp_path)

    assert (again.fetched, again.kept) == ((), ("big.pth",))
    assert mended.fetched == ("big.pth",)
    assert "had changed on disk" in mended.notes[0]
    assert len(server.asked) == 2


def test_a_hub_folder_is_brought_by_its_revision_with_safetensors_only(tmp_path, monkeypatch):
    files = on_hub({**TINY_HUB, "pytorch_model.bin": b"pickle"}, "refs%2Fpr%2F4")
    with serving(files) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        pulled = bring(hub_entry(revision="refs/pr/4"), tmp_path)

    assert set(pulled.fetched) == set(TINY_HUB)
    assert not (tmp_path / "org/model/pytorch_model.bin").exists()
    assert pulled.fetched[-1] == "model.safetensors"


def test_a_pickle_is_taken_only_without_safetensors_and_said(tmp_path, monkeypatch):
    with serving(on_hub({"config.json": b"{}", "pytorch_model.bin": b"pickle"})) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        pulled = bring(hub_entry(), tmp_path)

    assert "pytorch_model.bin" in pulled.fetched
    assert any("no safetensors there" in note for note in pulled.notes)


def test_weights_in_several_files_are_brought_by_their_index(tmp_path):
    index = json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}})
    files = {
        "config.json": b"{}",
        "model.safetensors.index.json": index.encode(),
        "model-1.safetensors": b"1",
        "model-2.safetensors": b"2",
    }
    entry = hub_entry()
    with serving(on_hub(files)) as server:
        bring(entry, tmp_path, server.address)

    assert is_present(entry, tmp_path)
    (tmp_path / "org/model/model-2.safetensors").unlink()
    assert not is_present(entry, tmp_path)


def test_an_index_that_leaves_its_folder_is_refused(tmp_path):
    index = json.dumps({"weight_map": {"a": "../../escape"}}).encode()
    files = on_hub({"config.json": b"{}", "model.safetensors.index.json": index})
    with serving(files) as server, pytest.raises(ModelLoadError, match="own folder"):
        bring(hub_entry(), tmp_path, server.address)


def test_oneformers_list_of_classes_comes_from_its_data_set(tmp_path, monkeypatch):
    wish = json.dumps({"class_info_file": "ade.json", "repo_path": "org/demo"}).encode()
    files = on_hub({**TINY_HUB, "preprocessor_config.json": wish})
    files["datasets/org/demo/resolve/main/ade.json"] = b"{}"
    with serving(files) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        pulled = bring(hub_entry(), tmp_path)

    assert "ade.json" in pulled.fetched
    assert (tmp_path / "org/model/ade.json").is_file()


@pytest.mark.parametrize("web", [True, False])
def test_k8s_08_a_store_is_a_mirror_whether_served_or_on_a_stick(tmp_path, web):
    """K8S-08: `pull --from` of another store copies and verifies; nothing else is asked."""
    stick, here = tmp_path / "stick", tmp_path / "here"
    with serving({**on_hub(TINY_HUB), "big.pth": BIG}) as server:
        for entry in (hub_entry(), file_entry()):
            bring(entry, stick, server.address)
    served = {str(p.relative_to(stick)): p.read_bytes() for p in stick.rglob("*") if p.is_file()}
    with serving(served) as server:
        mirror = server.address if web else str(stick)
        for entry in (hub_entry(), file_entry()):
            bring(entry, here, mirror)

    assert (here / "org/model/model.safetensors").read_bytes() == b"weights"
    assert (here / "big.pth").read_bytes() == BIG


def test_k8s_08_what_a_stick_has_spoilt_is_found_by_its_own_record(tmp_path):
    """K8S-08."""
    stick, here = tmp_path / "stick", tmp_path / "here"
    with serving(on_hub(TINY_HUB)) as server:
        bring(hub_entry(), stick, server.address)
    (stick / "org/model/model.safetensors").write_bytes(b"weighty")

    with pytest.raises(ChecksumError, match=r"model\.safetensors"):
        bring(hub_entry(), here, str(stick))
    assert not is_present(hub_entry(), here)


def test_the_folder_of_a_model_itself_will_do(tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for name, data in TINY_HUB.items():
        (theirs / name).write_bytes(data)

    bring(hub_entry(), tmp_path / "here", str(theirs))

    assert is_present(hub_entry(), tmp_path / "here")


@pytest.mark.parametrize(
    ("mirror", "reason"), [("/no/such/folder", "no such folder"), (None, "HF_HUB_OFFLINE")]
)
def test_ops_03_without_a_source_the_error_says_what_to_name(tmp_path, monkeypatch, mirror, reason):
    """OPS-03, K8S-08: offline is respected, and said."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelLoadError, match=reason):
        bring(hub_entry(), tmp_path, mirror)


@pytest.mark.parametrize(
    ("status", "reason"),
    [([401], "refused with 401; check the name"), ([503] * 3, "not reachable after 3 attempts")],
)
def test_ops_03_a_server_that_refuses_is_told_in_words(tmp_path, status, reason):
    """OPS-03."""
    with serving({"big.pth": BIG}) as server:
        server.status["big.pth"] = list(status)
        with pytest.raises(ModelLoadError, match=reason):
            bring(file_entry(server), tmp_path)


def test_a_server_that_stumbles_is_asked_again(tmp_path):
    with serving({"big.pth": BIG}) as server:
        server.status["big.pth"] = [503]
        bring(file_entry(server), tmp_path)

    assert (tmp_path / "big.pth").read_bytes() == BIG


def test_a_page_for_people_is_no_configuration(tmp_path):
    """Some servers answer 200 and a log-in page whatever they are asked."""
    page = b"<html>please log in</html>"
    refused = pytest.raises(ChecksumError, match=r"config\.json .* expected JSON")
    with serving(on_hub({**TINY_HUB, "config.json": page})) as server, refused:
        bring(hub_entry(), tmp_path, server.address)
    assert list((tmp_path / "org/model").iterdir()) == []


def test_ops_03_a_folder_that_cannot_be_written_is_named(tmp_path):
    """OPS-03: a full or read-only disk, or a file where a folder should be."""
    (tmp_path / "store").write_text("not a folder")
    refused = pytest.raises(ModelLoadError, match="--weights-path")
    with serving({"big.pth": BIG}) as server, refused:
        bring(file_entry(server), tmp_path / "store")


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_mirror_that_lacks_a_file_is_told_so(tmp_path, missing):
    files = {name: data for name, data in TINY_HUB.items() if name != missing}
    with serving(on_hub(files)) as server, pytest.raises(ModelLoadError, match=missing):
        bring(hub_entry(), tmp_path, server.address)
    assert not is_present(hub_entry(), tmp_path)


def test_a_record_that_cannot_be_read_is_refused(tmp_path):
    record_path(file_entry(), tmp_path).write_text("no json")

    with pytest.raises(CorruptRecordError, match="remove it and pull again"):
        bring(file_entry(), tmp_path, str(tmp_path))


def test_a_check_hashes_what_is_here(tmp_path):
    with serving({"big.pth": BIG, **on_hub(TINY_HUB)}) as server:
        bring(file_entry(), tmp_path, server.address)
        bring(hub_entry(), tmp_path, server.address)
    assert all(one.good for e in (file_entry(), hub_entry()) for one in check(e, tmp_path))

    (tmp_path / "big.pth").write_bytes(b"damaged")
    (tmp_path / "org/model/tokenizer.json").unlink()
    (tmp_path / "org/model/config.json").write_bytes(b"[]")

    (of_file,) = check(file_entry(), tmp_path)
    assert not of_file.good
    assert "models pull big" in of_file.words
    bad = {one.path.name: one.words for one in check(hub_entry(), tmp_path) if not one.good}
    assert set(bad) == {"tokenizer.json", "config.json"}
    assert bad["tokenizer.json"].startswith("is not there")


def test_weights_put_there_by_hand_are_checked_as_far_as_anything_is_known(tmp_path):
    entry = file_entry(sha256=None, size=None, md5=md5(BIG).hexdigest())
    (tmp_path / "big.pth").write_bytes(BIG)
    assert [one.good for one in check(entry, tmp_path)] == [True]
    (tmp_path / "big.pth").write_bytes(b"other")
    assert [one.good for one in check(entry, tmp_path)] == [False]
    (unknown,) = check(replace(entry, md5=None), tmp_path)
    assert "nothing to compare with" in unknown.words


def test_models_outside_the_catalogue_are_found_by_their_records(tmp_path):
    with serving(on_hub(TINY_HUB)) as server:
        bring(hub_entry(), tmp_path, server.address)
    (tmp_path / "a/.hidden").mkdir(parents=True)
    (tmp_path / "a/.hidden/pulled.json").write_text("{}")

    assert [entry.source for entry in recorded_entries(tmp_path)] == ["org/model"]
    assert located("org/model", tmp_path) == tmp_path / "org/model"
