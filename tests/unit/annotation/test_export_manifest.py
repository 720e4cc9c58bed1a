"""Every export carries a manifest that says what it is and proves that it is whole (CNV-16)."""

import json
from pathlib import Path
from typing import Any

import pytest

from annotation.exports import manifest as export_manifest
from annotation.exports.manifest import (
    files_of_manifest,
    label_map_of_export,
    read_head,
)
from annotation.exports.picture_items import sha256_of
from annotation.exports.task_source import TaskSource
from annotation.exports.verifying import verify
from lifelong.errors import ChecksumError, ConfigError, CorruptRecordError
from tests.builders import SMALL_MAP, a_mask
from tests.unit.annotation.test_export_run import export
from tests.unit.annotation.tiny_writers import Generated, content_of, export_task, write_export

jsonschema = pytest.importorskip("jsonschema")  # comes with Label Studio's SDK

SCHEMA = json.loads(Path(export_manifest.__file__).with_name("manifest.schema.json").read_text())


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    out = tmp_path / "out"
    tasks = [export_task(n, f"s3://b/s{n}/1.jpg", a_mask(n)) for n in range(1, 8)]
    tasks.append(export_task(9, "s3://b/9.jpg", None))
    path = write_export(tmp_path / "e.json", *tasks)
    export(out, TaskSource(path=path, label_map=SMALL_MAP))
    return out


def test_cnv_16_the_manifest_follows_its_schema_and_says_what_it_should(exported: Path) -> None:
    manifest = json.loads((exported / "manifest.json").read_text())
    jsonschema.validate(manifest, SCHEMA)
    assert manifest["pictures"] == 7
    assert sum(side["pictures"] for side in manifest["splits"].values()) == 7
    assert manifest["annotators"] == {"p0@example.com": 7}
    assert manifest["model_versions"] == {"round-1": 7}
    assert manifest["left_out"] == {"skipped": 1}
    assert manifest["label_map"]["digest"] == SMALL_MAP.digest
    assert manifest["code"]["version"]
    files = {file["path"]: file for file in manifest["files"]}
    assert files.keys() == content_of(exported).keys() - {"manifest.json", "report.json"}
    for path, file in files.items():
        assert file["sha256"] == sha256_of(exported / path)
        assert file["size"] == (exported / path).stat().st_size


def test_the_schema_refuses_what_is_no_manifest() -> None:
    for broken in ({}, {"schema": 2}, {"schema": 1, "files": [{"path": "x"}]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, SCHEMA)


def test_a_manifest_is_read_without_its_files(exported: Path) -> None:
    head = read_head(exported)
    whole = json.loads((exported / "manifest.json").read_text())
    assert head == {key: value for key, value in whole.items() if key != "files"}
    assert label_map_of_export(head, "x") == SMALL_MAP
    assert len(list(files_of_manifest(exported))) == len(whole["files"])


def test_cnv_16_verify_finds_every_byte_that_changed(exported: Path) -> None:
    assert verify(exported).is_whole
    first, second, *_ = sorted(exported.glob("masks/**/*.png"))
    first.unlink()
    data = bytearray(second.read_bytes())
    data[-1] ^= 1
    second.write_bytes(bytes(data))
    (exported / "mine.txt").write_text("mine")
    found = verify(exported)
    assert not found.is_whole
    assert found.missing == (first.relative_to(exported).as_posix(),)
    assert found.changed == (second.relative_to(exported).as_posix(),)
    assert found.unknown == ("mine.txt",)


def test_sec_03_a_manifest_cannot_make_verify_read_elsewhere(exported: Path) -> None:
    manifest = json.loads((exported / "manifest.json").read_text())
    manifest["files"].append({"path": "../../x", "sha256": "0" * 64, "size": 1})
    (exported / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ChecksumError, match="outside"):
        verify(exported)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"schema": 2}', b"nonsense", b'{"a'])
def test_what_is_no_manifest_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(CorruptRecordError, match=r"manifest\.json"):
        read_head(tmp_path)
    with pytest.raises(ConfigError, match="is it an export"):
        read_head(tmp_path / "nowhere")


def test_a_manifest_says_nothing_of_times_and_machines(tmp_path: Path) -> None:
    export(tmp_path / "a" / "out", Generated(number=10))
    export(tmp_path / "b" / "other", Generated(number=10), workers=2)
    manifests: list[Any] = [
        (tmp_path / name / "manifest.json").read_bytes() for name in ("a/out", "b/other")
    ]
    assert manifests[0] == manifests[1]
    assert str(tmp_path).encode() not in manifests[0]
