"""B7.4: batched naming equals SSA's engine mask by mask, on the same random real architectures."""

import numpy as np
import pytest
import torch

from bench.engine import Networks, calls, compared, our_namer, picture, plain_names, same_names
from bench.engine_models import save_tiny_models
from cloud.preannotation.naming.captions import BlipCaptioner, load_captioner
from cloud.preannotation.naming.clip_ranking import load_clip
from cloud.preannotation.naming.clipseg_vote import ClipSegVoter, load_clipseg
from cloud.preannotation.region_masks import proposals_from_rles, rle_from_mask
from lifelong.errors import ModelLoadError, ModelOutputError


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield save_tiny_models(tmp_path_factory.mktemp("tiny"))
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def networks(folders):
    return Networks(folders)


def test_pre_18_names_equal_the_plain_reading_with_three_calls_a_picture(networks):
    image, proposals, labelers = picture(96, 128, 12, seed=3)
    figures = compared(networks, image, proposals, labelers)
    assert figures["equal"]
    assert figures["different_names"] > 3  # else equality says little
    assert figures["peer_calls"] == 3 * 12
    assert figures["our_calls"] == 3
    # At most four runs of any part of a model, whatever the number of masks.
    assert max(figures["our_runs"].values()) == 1
    assert figures["our_runs_texts_known"].keys() == {
        "blip.vision", "clip.vision", "clipseg.vision", "clipseg.decoder",
    }  # fmt: skip


def test_pre_05_one_candidate_for_each_mask_works_where_the_original_raises(networks):
    image, proposals, _ = picture(64, 64, 4, seed=5)
    namer = our_namer(networks, [])
    namer._phrases = lambda caption: ("thing",)
    named = namer.name_masks(image, proposals)
    assert [one.class_proposals for one in named] == [("thing",)] * 4
    assert [one.shares for one in named] == [(1.0,)] * 4
    assert [one.probabilities for one in named] == [(1.0,)] * 4


def test_pre_18_a_bound_of_crops_a_call_changes_the_calls_and_not_the_names(networks):
    image, proposals, labelers = picture(64, 96, 7, seed=6)
    expected = our_namer(networks, labelers).name_masks(image, proposals)
    with networks.counted() as runs:
        found = our_namer(networks, labelers, at_once=3).name_masks(image, proposals)
    assert [one.class_name for one in found] == [one.class_name for one in expected]
    assert [one.class_proposals for one in found] == [one.class_proposals for one in expected]
    assert calls(runs) == 9  # three batches of 3, 3 and 1 for each of three models


def test_the_names_are_the_same_whatever_the_order_of_the_masks(networks):
    image, proposals, labelers = picture(64, 96, 6, seed=7)
    turned = proposals_from_rles(proposals.rles[::-1], height=64, width=96)
    namer = our_namer(networks, labelers)
    forwards = namer.name_masks(image, proposals)
    backwards = namer.name_masks(image, turned)[::-1]
    assert [one.class_name for one in forwards] == [one.class_name for one in backwards]


def test_masks_of_one_three_and_all_pixels_have_names(networks):
    image, _, labelers = picture(40, 50, 1, seed=8)
    masks = [np.zeros((40, 50), bool) for _ in range(4)]
    masks[0][0, 0] = True
    masks[1][39, 47:] = True
    masks[2][:] = True
    rles = [rle_from_mask(mask) for mask in masks]
    proposals = proposals_from_rles(rles, height=40, width=50)
    named = our_namer(networks, labelers).name_masks(image, proposals)
    expected = plain_names(networks, image, proposals.filter(proposals.areas > 0), labelers)
    assert same_names(named[:3], expected)
    assert named[3].class_proposals == ()  # an empty mask


def test_ops_03_checkpoints_load_from_folders_and_say_what_was_expected(folders, tmp_path):
    blip, clip, clipseg = folders
    crop = np.zeros((3, 20, 3), np.uint8)  # three rows are not three channels
    assert len(load_captioner(str(blip), device="cpu").captions([crop])) == 1
    (ranked,) = load_clip(str(clip), device="cpu").rank([crop], [["car", "a tree"]])
    assert {name for name, _ in ranked} == {"car", "a tree"}
    voter = load_clipseg(str(clipseg), device="cpu")
    (votes,) = voter.votes([crop], [np.ones((3, 20), bool)], [["car", "a tree"]])
    assert votes.sum() == 60
    for load, what in ((load_captioner, "BLIP"), (load_clip, "CLIP"), (load_clipseg, "CLIPSeg")):
        with pytest.raises(ModelLoadError, match=f"expected a folder or hub id of a {what}"):
            load(str(tmp_path / "nothing"), device="cpu")


def test_ops_03_without_network_a_hub_id_says_where_to_get_it(monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("We couldn't connect to the hub")

    monkeypatch.setattr(
        "cloud.preannotation.naming.captions.BlipForConditionalGeneration.from_pretrained", offline
    )
    with pytest.raises(ModelLoadError, match="cornerloop models pull"):
        load_captioner("Salesforce/blip-image-captioning-base")


def test_pre_05_no_masks_and_no_crops_ask_no_model(networks):
    image, _, labelers = picture(32, 32, 1, seed=9)
    with networks.counted() as runs:
        assert our_namer(networks, labelers).name_masks(
            image, proposals_from_rles([], height=32, width=32)
        ) == ()  # fmt: skip
        assert BlipCaptioner(networks.blip, networks.blip_processor).captions([]) == []
    assert runs.total() == 0


def test_a_model_that_answers_nan_is_reported_by_name(folders):
    broken = Networks(folders)
    crop, mask = np.zeros((20, 20, 3), np.uint8), np.ones((20, 20), bool)
    with torch.no_grad():
        broken.clip.logit_scale.fill_(float("nan"))
        broken.clipseg.decoder.film_mul.weight.fill_(float("nan"))
    namer = our_namer(broken, [])
    with pytest.raises(ModelOutputError, match="CLIP: similarities hold NaN"):
        namer._ranker.rank([crop], [["car"]])
    voter = ClipSegVoter(broken.clipseg, broken.clipseg_processor)
    with pytest.raises(ModelOutputError, match="CLIPSeg: logits hold NaN"):
        voter.votes([crop], [mask], [["car", "tree"]])
