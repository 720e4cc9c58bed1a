"""CNV-16: drafts in another tool's layout carry a manifest too, beside their folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from annotation.exports import manifest as export_manifest
from annotation.exports.folder_manifests import manifests_in
from annotation.exports.picture_sources import guess_kind
from annotation.exports.verifying import verify
from cloud.cli import app
from cloud.drafting.draft_manifest import write_draft_manifest
from cloud.drafting.raw_pictures import Shard
from cloud.drafting.records import DraftRecord, draft_path
from lifelong.errors import ConfigError
from lifelong.records.ids import sha256_hex
from lifelong.records.label_map import CITYSCAPES
from lifelong.sections.drafting import MasksSection, PreannotationSection

jsonschema = pytest.importorskip("jsonschema")  # comes with Label Studio's SDK

SCHEMA = json.loads(Path(export_manifest.__file__).with_name("manifest.schema.json").read_text())
WHOLE = Shard()


def drafted(dataset: Path, *numbers: int, hashed: bool = True) -> list[DraftRecord]:
    """Pictures with their drafts, and what the writer recorded of them."""
    records = []
    for number in numbers:
        picture, body, shown = (f"{kind} {number}".encode() for kind in ("raw", "json", "png"))
        name = f"front/{number}"
        for path, data in (
            (dataset / "raw_data" / f"{name}.jpg", picture),
            (draft_path(dataset, name, ".json"), body),
            (draft_path(dataset, name, ".png"), shown),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        records.append(
            DraftRecord(
                image=f"{name}.jpg", image_sha256=sha256_hex(picture), settings="0" * 16,
                draft=name, height=2, width=2, score=0.5, class_pixels={}, regions=0,
                unknown_names=(), erased_classes=(), seconds=0.1, drafted_by="superpixels+tiny",
                json_sha256=sha256_hex(body) if hashed else "",
                png_sha256=sha256_hex(shown) if hashed else "",
            )
        )  # fmt: skip
    return records


def write(dataset: Path, records: Sequence[DraftRecord], shard: Shard = WHOLE) -> None:
    section = PreannotationSection(
        masks=MasksSection(type="sam", model="vit_b", checkpoint=Path("/w/b.pth"))
    )
    write_draft_manifest(
        dataset, dataset.parent / "pictures", records, section, CITYSCAPES, shard,
        failed=1, warnings=["a warning"],
    )  # fmt: skip


def told(dataset: Path, share: str = "") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((dataset / f"ssa_output{share}.manifest.json").read_text())
    return found


def test_cnv_16_the_manifest_of_drafts_follows_the_schema_of_exports(tmp_path: Path) -> None:
    write(tmp_path / "set", drafted(tmp_path / "set", 1, 2))
    found = told(tmp_path / "set")
    jsonschema.validate(found, SCHEMA)
    assert (found["pictures"], found["failed"], found["annotators"]) == (2, 1, {})
    assert found["model_versions"] == {"superpixels+tiny": 2}
    assert found["code"]["version"]
    assert found["warnings"] == ["a warning"]
    assert [file["path"] for file in found["files"]] == [
        "raw_data/front/1.jpg", "raw_data/front/2.jpg",
        "ssa_output/front/1_semantic.json", "ssa_output/front/1_semantic.png",
        "ssa_output/front/2_semantic.json", "ssa_output/front/2_semantic.png",
    ]  # fmt: skip
    assert found["options"]["masks"] == "sam:vit_b"
    assert str(tmp_path) not in json.dumps(found) and "/w/" not in json.dumps(found)


def test_cnv_16_the_folder_of_drafts_holds_what_scripts_find_there_and_no_more(
    tmp_path: Path,
) -> None:
    dataset = tmp_path / "set"
    write(dataset, drafted(dataset, 1))
    names = {path.name for path in (dataset / "ssa_output").rglob("*") if path.is_file()}
    assert names == {"1_semantic.json", "1_semantic.png"}
    assert {path.name for path in dataset.iterdir()} == {
        "raw_data", "ssa_output", "ssa_output.manifest.json",
    }  # fmt: skip
    assert guess_kind(dataset) == "ssa"


def test_cnv_16_verify_sees_damage_in_a_data_set_and_in_its_folder(tmp_path: Path) -> None:
    dataset = tmp_path / "set"
    write(dataset, drafted(dataset, 1, 2))
    assert verify(dataset).is_whole and verify(dataset / "ssa_output").is_whole
    assert verify(dataset).files == 6
    draft_path(dataset, "front/1", ".json").write_bytes(b"jsom 1")
    draft_path(dataset, "front/2", ".png").unlink()
    (dataset / "ssa_output" / "mine.txt").write_text("mine")
    (dataset / "notes.txt").write_text("of nobody's business")
    for place in (dataset, dataset / "ssa_output"):
        found = verify(place)
        assert found.changed == ("ssa_output/front/1_semantic.json",)
        assert found.missing == ("ssa_output/front/2_semantic.png",)
        assert found.unknown == ("ssa_output/mine.txt",)
    done = CliRunner().invoke(app, ["export", "verify", str(dataset)])
    assert done.exit_code == 1
    assert "changed: ssa_output/front/1_semantic.json" in done.stdout


def test_cnv_16_damage_between_two_runs_is_not_taken_into_the_next_manifest(
    tmp_path: Path,
) -> None:
    dataset = tmp_path / "set"
    records = drafted(dataset, 1)
    write(dataset, records)
    draft_path(dataset, "front/1", ".json").write_bytes(b"jsom 1")
    write(dataset, records)  # a resumed run, which finds this draft done
    assert verify(dataset).changed == ("ssa_output/front/1_semantic.json",)


def test_cnv_16_shares_have_a_manifest_each_and_are_verified_together(tmp_path: Path) -> None:
    dataset = tmp_path / "set"
    for index, number in enumerate((1, 2)):
        write(dataset, drafted(dataset, number), Shard(index=index, count=2))
    assert [path.name for path in manifests_in(dataset)] == [
        "ssa_output-0-of-2.manifest.json", "ssa_output-1-of-2.manifest.json",
    ]  # fmt: skip
    first = told(dataset, "-0-of-2")
    jsonschema.validate(first, SCHEMA)
    assert first["options"]["share"] == [0, 2]
    assert verify(dataset) == verify(dataset / "ssa_output")
    assert verify(dataset).files == 6 and verify(dataset).unknown == ()
    draft_path(dataset, "front/2", ".json").unlink()
    assert verify(dataset).missing == ("ssa_output/front/2_semantic.json",)


def test_cnv_16_a_run_of_the_whole_replaces_the_manifests_of_shares(tmp_path: Path) -> None:
    dataset = tmp_path / "set"
    records = [*drafted(dataset, 1), *drafted(dataset, 2)]
    write(dataset, records[:1], Shard(index=0, count=2))
    (dataset / "ls_data.manifest.json").write_text("{}")
    (dataset / "ssa_output-mine.manifest.json").write_text("somebody's")
    write(dataset, records)
    left = {path.name for path in dataset.glob("*.manifest.json")}
    assert left == {
        "ssa_output.manifest.json", "ls_data.manifest.json", "ssa_output-mine.manifest.json",
    }  # fmt: skip


def test_cnv_16_drafts_from_before_there_were_manifests_get_one(tmp_path: Path) -> None:
    dataset = tmp_path / "set"
    write(dataset, drafted(dataset, 1, hashed=False))
    assert verify(dataset).is_whole
    assert verify(dataset).files == 3


def test_a_folder_without_a_manifest_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is it an export"):
        verify(tmp_path)
