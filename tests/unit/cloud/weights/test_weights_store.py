"""Where pulled weights lie, and what is said when they do not."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cloud.weights.catalogue import catalogue, entry_named
from cloud.weights.store import located, located_hub, place_of, weights_folder
from lifelong.errors import ModelLoadError


@pytest.mark.parametrize("name", ["sam_vit_h", "sam2_tiny", "some/model"])
def test_ops_03_int_16_missing_weights_are_named_with_the_command_that_brings_them(tmp_path, name):
    """OPS-03, INT-16: where it was looked for, and what to do."""
    with pytest.raises(ModelLoadError, match=re.escape(str(tmp_path))) as missing:
        located(name, tmp_path)

    assert f"cornerloop models pull {name} --weights-path {tmp_path}" in str(missing.value)
    assert "--from FOLDER" in str(missing.value)


@pytest.mark.parametrize("name", ["nothing", "../escape", "a/../b", "a/b/c", "/etc/passwd", ""])
def test_what_is_no_name_is_refused(name, tmp_path):
    with pytest.raises(ModelLoadError, match="no hub id"):
        located(name, tmp_path)


def test_a_file_and_a_folder_are_found(tmp_path):
    (tmp_path / "sam_vit_b_01ec64.pth").write_bytes(b"")
    folder = tmp_path / "facebook/sam2.1-hiera-tiny"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")

    assert located("sam_vit_b", tmp_path) == tmp_path / "sam_vit_b_01ec64.pth"
    with pytest.raises(ModelLoadError):
        located("sam2_tiny", tmp_path)  # no weights yet
    (folder / "model.safetensors").write_bytes(b"")
    assert located("sam2_tiny", tmp_path) == folder
    assert located_hub("facebook/sam2.1-hiera-tiny", tmp_path) == folder
    assert located_hub("sam2_tiny", tmp_path) == folder


def test_a_hub_id_that_was_not_pulled_is_left_as_it_is(tmp_path):
    assert located_hub("nvidia/any", tmp_path) == "nvidia/any"
    assert located_hub("not an id", tmp_path) == "not an id"
    assert located_hub(str(tmp_path)) == tmp_path
    assert located_hub("oneformer_ade20k_swin_tiny", tmp_path) == (
        "shi-labs/oneformer_ade20k_swin_tiny"
    )


def test_the_folder_is_the_one_named_else_the_variables_else_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("CORNERLOOP_WEIGHTS", "/from/variable")
    assert weights_folder(tmp_path) == tmp_path
    assert weights_folder() == Path("/from/variable")
    monkeypatch.delenv("CORNERLOOP_WEIGHTS")
    assert weights_folder() == Path.home() / ".cache/cornerloop/weights"


def test_every_entry_of_the_catalogue_is_whole():
    """INT-16: each SAM by its name, sizes and hashes only as published."""
    entries = catalogue()
    places = {place_of(entry, Path("/w")) for entry in entries.values()}
    assert len(places) == len(entries)
    for entry in entries.values():
        assert entry_named(entry.name) == entry
        assert entry.licence and entry.what
        assert entry.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
        assert entry.source.startswith("https://") == (entry.kind == "file")
        if "SegFormer" in entry.what:
            assert "non-commercial" in entry.licence
    for digits in ("01ec64", "0b3195", "4b8939"):  # SAM's file names begin with their MD5
        (entry,) = [e for e in entries.values() if digits in e.source]
        assert entry.md5.startswith(digits)


def test_the_store_needs_no_torch_and_no_network_client():
    code = "import sys, cloud.weights.store; print({'torch', 'httpx'} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"
