"""`cornerloop preannotate` and `cornerloop models` as people run them: every way of drafting with
models from folders, without a network, in shares, stopped in the middle, and started wrongly."""

import json
import os
import shutil
import signal
import time
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from transformers import SegformerForSemanticSegmentation, SegformerImageProcessor

from annotation.draft_regions import DraftShapes
from annotation.formats.label_studio_json import mask_of_task, tasks_from_export
from annotation.formats.ssa import mask_from_ssa
from annotation.tasks import task_json
from bench.engine_models import save_tiny_models
from cloud.demo.scenes import draw_scene
from cloud.drafting.records import read_record
from cloud.preannotation.ontology import read_ontology
from lifelong.records.label_map import CITYSCAPES, IGNORE_INDEX
from lifelong.segmenter import OnnxSegmenter
from tests.builders import SMALL_MAP, a_pre_annotation
from tests.drafting_program import (
    all_ran,
    complaints,
    configured,
    contents,
    draft_files,
    masks_of,
    network_guard,
    ran,
    report_of,
    started,
)
from tests.tiny_bundle import tiny_bundle
from tests.tiny_drafting_models import (
    save_grounding_dino,
    save_mobile_sam,
    save_onnx,
    save_owlv2,
    save_segformer,
    save_wordless_captioner,
)

pytestmark = pytest.mark.integration

# Few masks, and none too bad: a random network names each of them.
FEW_MASKS = {
    "type": "tiny", "points_per_side": 4, "pred_iou_thresh": 0.3, "stability_score_thresh": 0.3,
}  # fmt: skip
WORDS = """
classes:
  road: [street]
  terrain: [rug]
unknown: [dog, light, kitchen island]
"""


def put_scenes(folder, count, *, height=64, width=96):
    folder.mkdir(parents=True)
    for seed in range(count):
        picture = draw_scene(seed, "clear", height, width).image
        Image.fromarray(picture).save(folder / f"{seed}.png")
    return folder


@pytest.fixture(scope="module")
def at(tmp_path_factory):
    """Folders of models, two pictures, and words."""
    root = tmp_path_factory.mktemp("models")
    blip, clip, clipseg = save_tiny_models(root)
    (root / "words.yaml").write_text(WORDS, encoding="utf-8")
    return SimpleNamespace(
        root=root, blip=blip, clip=clip, clipseg=clipseg,
        wordless=save_wordless_captioner(blip, root / "wordless"),
        ade=save_segformer(root / "ade"),
        cars=save_segformer(root / "cars", ["car"]),
        pictures=put_scenes(root / "pictures", 2),
        words=root / "words.yaml",
    )  # fmt: skip


def naming(at, **changes):
    told = {"captioner": at.blip, "clip": at.clip, "clipseg": at.clipseg, "labelers": [at.ade]}
    told |= changes
    return {k: [str(m) for m in v] if k == "labelers" else str(v) for k, v in told.items()}


def test_pre_05_and_pre_06_names_in_words_come_back_as_classes(at, tmp_path):
    """PRE-05: up to three proposals a mask, and one alone; PRE-06: what the ontology knows is
    painted, through SSA's file and Label Studio's tasks; the rest nowhere."""
    several = configured(
        tmp_path / "several.yaml", masks=FEW_MASKS, open_vocabulary=naming(at),
        ontology=str(at.words),
    )  # fmt: skip
    alone = configured(
        tmp_path / "alone.yaml",
        open_vocabulary=naming(at, captioner=at.wordless, labelers=[at.cars]),
    )
    both = all_ran(
        [
            ("preannotate", at.pictures, "--out", tmp_path / c.stem, "-c", c, "--open-vocabulary")
            for c in (several, alone)
        ]
    )

    for one in both:
        assert (one.returncode, complaints(one)) == (0, ""), one.stderr
        assert one.stdout.startswith("2 drafted, 0 were done, 0 failed of 2")
    _check_names(tmp_path / "several", read_ontology(at.words, CITYSCAPES))
    for told in contents(tmp_path / "alone").values():
        assert len(told["annotations"]) > 3  # superpixels
        for one in told["annotations"]:
            assert (one["class_name"], one["class_proposals"]) == ("car", ["car"])
        assert list(told["semantic_mask"]) == [str(CITYSCAPES.id_of("car"))]


def _check_names(dataset, ontology):
    known, unknown, proposals = set(), set(), set()
    for name, told in contents(dataset).items():
        for one in told["annotations"]:
            assert one["class_name"] in one["class_proposals"]
            proposals.add(len(one["class_proposals"]))
            class_id = ontology.class_of(one["class_name"])
            (unknown if class_id is None else known).add((one["class_name"], class_id))
        data = draft_files(dataset)[name]
        mask = mask_from_ssa(data, CITYSCAPES, name)
        pixels = dict(read_record(dataset, name).class_pixels)
        assert pixels == {
            c: n for i, c in enumerate(CITYSCAPES.names) if (n := int((mask == i).sum()))
        }
        # As SSA's own engine writes it.
        of_the_engine = json.dumps({"annotations": told["annotations"]}).encode()
        again = mask_from_ssa(of_the_engine, CITYSCAPES, name, class_of=ontology.class_of)
        assert np.array_equal(again, mask)
        for mode in ("brush", "polygons"):
            assert np.array_equal(_through_label_studio(mask, mode), mask)
    painted = set(np.unique(np.concatenate([m.ravel() for m in masks_of(dataset).values()])))
    assert painted - {IGNORE_INDEX} <= {class_id for _, class_id in known}
    assert known
    assert unknown
    assert proposals <= {1, 2, 3}
    assert max(proposals) > 1


def _through_label_studio(mask, mode):
    draft = a_pre_annotation(height=mask.shape[0], width=mask.shape[1], regions=())
    task = task_json(
        draft, mask, image_url="/1.png", label_map=CITYSCAPES, shapes=DraftShapes(mode=mode)
    )
    told = json.loads(json.dumps(task))
    submitted = {"id": 5, "completed_by": 1, "result": told["predictions"][0]["result"]}
    export = json.dumps([{"id": 1, "data": told["data"], "annotations": [submitted]}])
    (read,) = tasks_from_export(export.encode(), "export")
    return mask_of_task(read, CITYSCAPES, size=mask.shape)


def test_pre_07_words_to_look_for_and_words_that_find_nothing(at, tmp_path):
    """PRE-07 with both detectors; PRE-12 where nothing is found: the drafts are empty, which is
    no error, and the warning names the threshold."""
    dino, owl = save_grounding_dino(tmp_path / "dino"), save_owlv2(tmp_path / "owl")

    def command(name, model, threshold, *prompts):
        prompted = {
            "detector": name, "model": str(model), "box_threshold": threshold, "text_threshold": 0
        }  # fmt: skip
        config = configured(tmp_path / f"{name}{threshold}.yaml", text_prompts=prompted)
        asked = [word for prompt in prompts for word in ("--text", prompt)]
        out = tmp_path / f"{name}{threshold}"
        return ("preannotate", at.pictures, "--out", out, "-c", config, "--masks", "tiny", *asked)

    prompts = ("red car=car", "Dog.=person")
    found, nothing, owls = all_ran(
        [
            command("grounding_dino", dino, 0.0, prompts[0]),
            command("grounding_dino", dino, 1.0, *prompts),
            command("owlv2", owl, 0.0, *prompts),
        ]
    )

    assert (found.returncode, complaints(found)) == (0, "")
    for told in contents(tmp_path / "grounding_dino0.0").values():
        assert {one["class_name"] for one in told["annotations"]} == {"red car"}
        assert list(told["semantic_mask"]) == [str(CITYSCAPES.id_of("car"))]
    assert owls.returncode == 0, owls.stderr
    classes = {"red car": "car", "dog": "person"}
    for told in contents(tmp_path / "owlv20.0").values():
        named = {one["class_name"] for one in told["annotations"]}
        assert set() < named <= set(classes)
        ids = {str(CITYSCAPES.id_of(classes[name])) for name in named}
        assert set() < set(told["semantic_mask"]) <= ids
    assert nothing.returncode == 0
    assert [c["semantic_mask"] for c in contents(tmp_path / "grounding_dino1.0").values()] == [
        {},
        {},
    ]
    assert "2 of 2 drafts have no pixel of any class" in nothing.stderr
    assert "preannotation.text_prompts.box_threshold (1.0)" in nothing.stderr


def test_pre_08_any_semantic_branch_drafts(at, tmp_path):
    """PRE-08: a checkpoint of transformers, an ONNX file, our own bundle; without masks the draft
    is what the model says by itself."""
    onnx_file = save_onnx(tmp_path / "colours.onnx")
    bundle = tiny_bundle(SMALL_MAP, gain=3.0)
    (tmp_path / "student.zip").write_bytes(bundle.to_bytes())
    label_map = tmp_path / "classes.json"
    names = {"id2label": {str(i): name for i, name in enumerate(SMALL_MAP.names)}}
    label_map.write_text(json.dumps(names), encoding="utf-8")
    ours = {"type": "bundle", "model": str(tmp_path / "student.zip")}
    config = configured(tmp_path / "bundle.yaml", semantic=ours)
    small = put_scenes(tmp_path / "small", 2, height=16, width=24)
    three = all_ran(
        [
            ("preannotate", pictures, "--out", tmp_path / out, "--masks", "none", *options)
            for pictures, out, *options in (
                (at.pictures, "a", "--semantic", f"transformers:{at.ade}", "--ontology", at.words),
                (at.pictures, "b", "--semantic", f"onnx:{onnx_file}"),
                (small, "c", "--config", config, "--label-map", label_map),
            )
        ]
    )

    assert [one.returncode for one in three] == [0, 0, 0], [one.stderr for one in three]
    assert "kitchen island" in three[0].stderr  # told, since nobody will draft it
    assert not any(bad in one.stderr for one in three for bad in ("UserWarning", "Loading"))
    meant = ["building", None, "road", "car", "terrain", None]
    for name, mask in masks_of(tmp_path / "a").items():
        image = Image.open(at.pictures / f"{name}.png")
        said = _said_by_transformers(at.ade, image)
        for number, class_name in enumerate(meant):
            if class_name is not None:
                drafted = mask == CITYSCAPES.id_of(class_name)
                # What two unknown classes share between them may be more than the best has.
                assert not (drafted & (said != number)).any()
                assert (drafted | (mask == IGNORE_INDEX))[said == number].all()
    for name, mask in masks_of(tmp_path / "b").items():
        channels = np.asarray(Image.open(at.pictures / f"{name}.png").convert("RGB"))
        clear = np.diff(np.sort(channels.astype(int)), axis=2)[..., 1] > 0
        best = np.array([CITYSCAPES.id_of("road"), CITYSCAPES.id_of("car"), IGNORE_INDEX])
        assert np.array_equal(mask[clear], best[channels.argmax(axis=2)][clear])
    segmenter = OnnxSegmenter(bundle)
    for name, mask in masks_of(tmp_path / "c", SMALL_MAP).items():
        pixels = np.array(Image.open(small / f"{name}.png").convert("RGB"))
        assert np.array_equal(mask, segmenter.segment(pixels).mask)


def _said_by_transformers(folder, image):
    network = SegformerForSemanticSegmentation.from_pretrained(folder).eval()
    processor = SegformerImageProcessor.from_pretrained(folder)
    with torch.inference_mode():
        answer = network(**processor(images=image, return_tensors="pt"))
    size = [(image.height, image.width)]
    return processor.post_process_semantic_segmentation(answer, target_sizes=size)[0].numpy()


def test_pre_09_a_foreign_mask_branch_by_its_file_and_a_wrong_file_by_its_name(at, tmp_path):
    """PRE-09: MobileSAM in its real size; another SAM's name for the same file is refused."""
    weights = save_mobile_sam(tmp_path / "mobile_sam.pt")
    one = tmp_path / "one"
    one.mkdir()
    shutil.copy(at.pictures / "0.png", one)
    grid = FEW_MASKS | {"type": "mobile_sam", "points_per_side": 2, "pred_iou_thresh": 0}
    config = configured(tmp_path / "grid.yaml", masks=grid | {"stability_score_thresh": 0})
    command = ("preannotate", one, "--out", tmp_path / "d", "-c", config, "--mask-weights")
    right, wrong, other = all_ran(
        [
            (*command, weights, "--masks", "mobile_sam"),
            (*command, at.ade / "model.safetensors", "--masks", "mobile_sam"),
            (*command, weights, "--masks", "sam:vit_b"),
        ]
    )

    assert (right.returncode, complaints(right)) == (0, "")
    (told,) = contents(tmp_path / "d").values()
    assert told["cornerloop"]["proposed_by"] == "mobile_sam"
    assert told["annotations"]
    assert "no image encoder of any SAM inside; expected MobileSAM's checkpoint" in _line(wrong)
    assert "weights of MobileSAM (preannotation.masks.type: mobile_sam)" in _line(other)


def _line(one):
    """The one line that an error of ours is."""
    assert one.returncode == 1, one
    (line,) = one.stderr.splitlines()
    assert line.startswith("cornerloop: ")
    return line.removeprefix("cornerloop: ")


def test_k8s_08_a_store_from_a_stick_drafts_without_a_network(at, tmp_path):
    """K8S-08: pull from a folder, check, draft by hub ids, with every connection refused; and
    what is missing is told with the command that brings it, after one try at most."""
    stick, store = tmp_path / "stick", tmp_path / "store"
    for name in ("blip", "clip", "clipseg", "ade"):
        shutil.copytree(at.root / name, stick / "tiny-org" / name)
    here = {"environment": network_guard(tmp_path / "guard")}
    ids = [f"tiny-org/{name}" for name in ("blip", "clip", "clipseg", "ade")]
    pulled = ran("models", "pull", *ids, "--from", stick, "--weights-path", store, **here)
    assert pulled.returncode == 0, pulled.stderr
    checked = ran("models", "check", "--weights-path", store, **here)
    assert checked.returncode == 0, checked.stdout
    assert all(f"ok  {name}: " in checked.stdout for name in ids)
    by_id = {"captioner": ids[0], "clip": ids[1], "clipseg": ids[2], "labelers": ids[3:]}
    config = configured(
        tmp_path / "c.yaml", masks=FEW_MASKS, open_vocabulary=by_id, weights_path=str(store)
    )
    tried = tmp_path / "guard/tried.txt"
    command = ("preannotate", at.pictures, "-c", config, "--out")

    good = ran(*command, tmp_path / "d", "--open-vocabulary", **here)
    assert good.returncode == 0, good.stderr
    assert len(contents(tmp_path / "d")) == 2
    assert not tried.exists()

    shutil.rmtree(store / "tiny-org/clip")
    missing = all_ran(
        [
            (*command, tmp_path / "e", "--open-vocabulary"),
            (*command, tmp_path / "f", "--masks", "sam:vit_b"),
        ],
        **here,
    )
    for one, name in zip(missing, ("tiny-org/clip", "sam_vit_b"), strict=True):
        assert f"`cornerloop models pull {name}" in _line(one)
    # Transformers by itself would have tried six times, for half a minute.
    assert tried.read_text(encoding="utf-8").splitlines() == ["name huggingface.co"]


def test_pre_19_workers_and_shares_at_the_same_time_draft_everything_once(tmp_path):
    """PRE-19: three workers of one run beside three runs on one data set; no port, no lock."""
    pictures = put_scenes(tmp_path / "pictures", 7)
    copied = shutil.copytree(pictures, tmp_path / "copied")
    whole, shared = tmp_path / "whole", pictures / "shared"  # a data set among its pictures
    runs = [
        started("preannotate", copied, "--out", whole, "--workers", 3),
        *(started("preannotate", pictures, "--out", shared, "--shard", f"{i}/3") for i in range(3)),
    ]
    said = [run.communicate() for run in runs]

    assert [run.returncode for run in runs] == [0, 0, 0, 0], said
    told = [out.partition(",")[0] + out.partition("failed")[2].split(",")[0] for out, _ in said]
    assert told == ["7 drafted of 7", "3 drafted of 3", "2 drafted of 2", "2 drafted of 2"]
    assert list(draft_files(whole)) == [str(number) for number in range(7)]
    for name, mask in masks_of(shared).items():
        # Sums of floats depend on how many threads a worker has: the last digit of a score may.
        assert (mask != masks_of(whole)[name]).mean() < 0.001
    assert len(list((shared / ".cornerloop/drafts").iterdir())) == 7

    again = ran("preannotate", pictures, "--out", shared)
    assert again.stdout.startswith("0 drafted, 7 were done, 0 failed of 7"), again.stdout


def test_ops_03_a_corrupt_picture_is_exit_code_1_unless_it_is_accepted(at, tmp_path):
    """PRE-11, OPS-03: the others are drafted, the bad one is named."""
    pictures = tmp_path / "pictures"
    shutil.copytree(at.pictures, pictures)
    cut = (pictures / "0.png").read_bytes()[:200]
    (pictures / "0.png").write_bytes(cut)
    strict, lenient = all_ran(
        [
            ("preannotate", pictures, "--out", tmp_path / "a"),
            ("preannotate", pictures, "--out", tmp_path / "b", "--max-failed", "0.5"),
        ]
    )

    assert (strict.returncode, lenient.returncode) == (1, 0)
    for one in (strict, lenient):
        assert one.stderr.startswith("failed: 0.png: not a readable image")
        assert "1 drafted, 0 were done, 1 failed of 2" in one.stdout


@pytest.mark.skipif(os.name != "posix", reason="signals as Linux and macOS have them")
@pytest.mark.parametrize(
    ("number", "drafts"),
    [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGTERM, 0)],
    ids=["ctrl-c", "pod-deleted", "pod-deleted-at-its-start"],
)
def test_a_run_that_is_told_to_end_ends_and_keeps_its_drafts(at, tmp_path, number, drafts):
    """PRE-11, Ctrl-C and Kubernetes: no worker is left, no draft is lost, exit code 1."""
    pictures, dataset = tmp_path / "pictures", tmp_path / "d"
    pictures.mkdir()
    for place in range(200):
        shutil.copy(at.pictures / "0.png", pictures / f"{place:03}.png")
    run = started("preannotate", pictures, "--out", dataset, "--workers", 2)
    workers = _until(run, lambda: psutil.Process(run.pid).children(), 2)
    _until(run, lambda: list(dataset.glob(".cornerloop/drafts/*.json")), drafts)
    run.send_signal(number)
    stdout, stderr = run.communicate(timeout=240)

    assert run.returncode == 1
    assert not any(worker.is_running() for worker in workers)
    assert stderr.startswith("stopped before the end; the same command goes on from here")
    done = report_of(dataset)["drafted"]
    assert stdout.startswith(f"{done} drafted, 0 were done, 0 failed of 200")
    # A worker's last draft may have been there before it could say so.
    records = list(dataset.glob(".cornerloop/drafts/*.json"))
    assert max(done, drafts) <= len(records) <= len(masks_of(dataset)) < 200


def _until(run, look, enough):
    """Wait until `look` finds so many."""
    while len(found := look()) < enough:
        assert run.poll() is None, run.stderr.read()
        time.sleep(0.02)
    return found


def test_ops_03_what_is_told_wrongly_is_one_line_that_says_what_to_do(at, tmp_path):
    """OPS-03: what is wrong, where, and what would be right; usage errors end with 2."""
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "words.yaml").write_text("classes: {lorry: [truck]}", encoding="utf-8")
    (tmp_path / "broken.yaml").write_text("preannotation: {masks: [1", encoding="utf-8")
    configured(tmp_path / "typo.yaml", mask={"type": "tiny"})
    nowhere, out = tmp_path / "nowhere", tmp_path / "d"
    told = {
        (nowhere, "--out", out): (f"{nowhere}: no such folder", "name the folder of the pictures"),
        (at.pictures, "--out", tmp_path / "file"): (
            f"{tmp_path / 'file'}: cannot be written", "name a folder you may write to",
        ),
        (at.pictures, "--out", out, "--masks", "sam9"): ("masks.type", "'superpixels'", "'sam9'"),
        (at.pictures, "--out", out, "--masks", "tiny", "--text", "a van=van"): (
            "preannotation.text_prompts.prompts.a van", "no class 'van'", "it has road, sidewalk",
        ),
        (at.pictures, "--out", out, "--ontology", tmp_path / "words.yaml"): (
            "words.yaml: classes.lorry: the label map has no such class", "it has road, sidewalk",
        ),
        (at.pictures, "--out", out, "-c", tmp_path / "broken.yaml"): (
            "broken.yaml: not YAML", "line 1",
        ),
        (at.pictures, "--out", out, "-c", tmp_path / "typo.yaml"): (
            "typo.yaml: preannotation.mask: unknown key", "did you mean 'masks'?",
        ),
        (at.pictures, "--out", out, "--ssa-compat", "--open-vocabulary"): (
            "--ssa-compat compares closed-set drafts", "leave it out",
        ),
    }  # fmt: skip

    for one, parts in zip(
        all_ran([("preannotate", *command) for command in told]), told.values(), strict=True
    ):
        line = _line(one)
        assert all(part in line for part in parts), line
    wrong_use = ran("preannotate", at.pictures, "--out", out, "--workers", 0)
    assert wrong_use.returncode == 2
    assert "--workers" in wrong_use.stderr
