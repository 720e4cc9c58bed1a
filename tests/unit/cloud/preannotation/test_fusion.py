"""The vote of masks with a class map, against a plain reading of SSA's third step."""

import json

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import vote as vote_bench
from cloud.preannotation.fusion import fuse
from cloud.preannotation.region_masks import (
    box_of,
    mask_from_rle,
    no_proposals,
    proposals_from_rles,
    rle_from_mask,
    rles_from_pieces,
)
from lifelong.errors import ShapeError


def proposals_of(masks, height, width, **scores):
    rles = [rle_from_mask(mask) for mask in masks]
    return proposals_from_rles(rles, height=height, width=width, **scores)


def plain_vote(masks, class_ids):
    """SSA's `main_ssa` step 3 on whole frames: largest first, histogram of the original map,
    smaller masks paint over larger ones; and whether two classes were tied, mask by mask."""
    out = class_ids.copy()
    order = sorted(range(len(masks)), key=lambda i: -int(masks[i].sum()))
    winners, ties = [], []
    for number in order:
        inside = class_ids[masks[number]]
        if inside.size == 0:
            continue
        counts = np.bincount(inside)
        winner = int(counts.argmax())  # the lowest id among equals
        winners.append((number, winner))
        ties.append(bool((counts == counts.max()).sum() > 1))
        out[masks[number]] = winner
    return out, winners, ties


def random_case(seed, *, classes=5):
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(1, 24, size=2))
    coarse = rng.integers(0, classes, size=(height // 3 + 1, width // 3 + 1), dtype=np.uint8)
    class_ids = np.kron(coarse, np.ones((3, 3), np.uint8))[:height, :width]
    masks = []
    for _ in range(int(rng.integers(0, 9))):
        if rng.random() < 0.3:
            masks.append(rng.random((height, width)) < rng.random())
        else:
            mask = np.zeros((height, width), dtype=bool)
            y, x = int(rng.integers(height)), int(rng.integers(width))
            mask[y : y + int(rng.integers(1, 12)), x : x + int(rng.integers(1, 12))] = True
            masks.append(mask)
    return masks, np.ascontiguousarray(class_ids)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**32 - 1))
def test_pre_01_the_vote_on_runs_equals_the_vote_on_whole_frames(seed):
    """PRE-01: equal map and equal labels, with ties going to the lowest class id."""
    masks, class_ids = random_case(seed)

    fusion = fuse(proposals_of(masks, *class_ids.shape), class_ids)

    expected, winners, ties = plain_vote(masks, class_ids)
    assert np.array_equal(expected, fusion.mask)
    assert winners == [(vote.proposal, vote.class_id) for vote in fusion.votes]
    assert ties == [vote.tied for vote in fusion.votes]


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32 - 1))
def test_run_lengths_come_back_as_the_same_mask(seed):
    for mask in random_case(seed)[0]:
        rle = rle_from_mask(mask)
        assert sum(rle["counts"]) == mask.size
        assert np.array_equal(mask, mask_from_rle(rle))
        ys, xs = np.nonzero(mask)
        if ys.size:
            assert box_of(rle) == (xs.min(), ys.min(), xs.max(), ys.max())


def test_all_pieces_at_once_are_the_same_as_one_by_one():
    for seed in range(30):
        numbers = random_case(seed)[1].astype(np.int64)
        one_by_one = [rle_from_mask(numbers == number) for number in np.unique(numbers) if number]
        assert rles_from_pieces(numbers) == one_by_one


def test_run_lengths_are_cocos():
    oracle = pytest.importorskip("pycocotools.mask")
    for seed in range(40):
        for mask in random_case(seed)[0]:
            ours = oracle.frPyObjects(dict(rle_from_mask(mask)), *mask.shape)
            assert ours == oracle.encode(np.asfortranarray(mask.astype(np.uint8)))


def test_a_small_mask_stays_on_top_of_a_large_one():
    class_ids = np.zeros((6, 8), dtype=np.uint8)
    class_ids[1:3, 1:3] = 2  # four pixels of a car on twelve pixels of small mask
    large, small = np.ones((6, 8), dtype=bool), np.zeros((6, 8), dtype=bool)
    small[1:3, 1:4] = True

    fusion = fuse(proposals_of([small, large], 6, 8), class_ids)

    assert [vote.proposal for vote in fusion.votes] == [1, 0]
    assert (fusion.mask[1:3, 1:4] == 2).all()
    assert (fusion.mask[~small] == 0).all()
    assert fusion.votes[1].vote_share == pytest.approx(4 / 6)
    assert fusion.votes[1].box == (1, 1, 3, 2)


def test_a_tie_goes_to_the_lowest_class_id_and_is_marked():
    class_ids = np.array([[3, 3, 1, 1]], dtype=np.uint8)

    fusion = fuse(proposals_of([np.ones((1, 4), dtype=bool)], 1, 4), class_ids)

    assert fusion.mask.tolist() == [[1, 1, 1, 1]]
    assert fusion.votes[0].tied


def test_pixels_in_no_mask_keep_their_class():
    class_ids = np.array([[4, 5], [6, 7]], dtype=np.uint8)

    fusion = fuse(no_proposals(2, 2), class_ids)

    assert np.array_equal(class_ids, fusion.mask)
    assert fusion.votes == ()


def test_an_empty_mask_is_passed_over():
    class_ids = np.ones((2, 2), dtype=np.uint8)

    assert fuse(proposals_of([np.zeros((2, 2), dtype=bool)], 2, 2), class_ids).votes == ()


def test_a_class_the_vote_erased_is_named():
    class_ids = np.zeros((4, 4), dtype=np.uint8)
    class_ids[0, 0] = 9

    assert fuse(proposals_of([np.ones((4, 4), dtype=bool)], 4, 4), class_ids).erased == (9,)


def test_a_class_map_of_another_size_is_refused():
    with pytest.raises(ShapeError, match="class map"):
        fuse(no_proposals(4, 4), np.zeros((4, 5), dtype=np.uint8))


def test_proposals_are_filtered_together():
    masks = [np.eye(3, dtype=bool), np.ones((3, 3), dtype=bool)]
    proposals = proposals_of(masks, 3, 3, predicted_iou=[0.5, 0.9], stability=[0.7, 0.8])

    kept = proposals.filter(proposals.areas > 3)

    assert len(kept) == 1
    assert kept.areas.tolist() == [9]
    assert kept.predicted_iou.tolist() == pytest.approx([0.9])


def test_proposals_of_another_size_are_refused():
    with pytest.raises(ShapeError, match="mask of"):
        proposals_from_rles([rle_from_mask(np.ones((2, 2), dtype=bool))], height=3, width=2)


@pytest.fixture
def all_threads_after():
    before = torch.get_num_threads(), cv2.getNumThreads()
    yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


# pycocotools answers numpy 2 the way numpy 1 liked it.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.usefixtures("all_threads_after")
def test_pre_02_the_bench_finds_both_votes_equal(capsys, monkeypatch):
    """PRE-02: `python -m bench.vote --json`; its full size is 1024x2048 with 200 masks."""
    command = ["bench.vote", "--json", "--height", "96", "--width", "160", "--masks", "30"]
    monkeypatch.setattr("sys.argv", [*command, "--repeats", "1"])

    vote_bench.main()

    figures = json.loads(capsys.readouterr().out)
    assert figures["equal"] is True
    assert figures["masks"] == 30
    assert figures["ratio"] == pytest.approx(figures["peer_seconds"] / figures["our_seconds"])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_pre_15_sure_votes_are_plain_votes(seed):
    """PRE-15: where every pixel is sure of its class, weighing by probability changes nothing."""
    masks, class_ids = random_case(seed)
    sure = np.eye(5, dtype=np.float32)[class_ids].transpose(2, 0, 1)
    proposals = proposals_of(masks, *class_ids.shape)

    plain = fuse(proposals, class_ids)
    weighed = fuse(proposals, class_ids, probabilities=sure, weights="probability")

    assert np.array_equal(plain.mask, weighed.mask)
    assert [v.class_id for v in plain.votes] == [v.class_id for v in weighed.votes]


def test_pre_15_a_few_sure_pixels_outvote_many_unsure_ones():
    """PRE-15: three pixels barely prefer 0, two are certain of 1."""
    probabilities = np.array(
        [[[0.5, 0.5, 0.5, 0.0, 0.0]], [[0.4, 0.4, 0.4, 1.0, 1.0]]], dtype=np.float32
    )
    class_ids = probabilities.argmax(axis=0).astype(np.uint8)
    proposals = proposals_of([np.ones((1, 5), dtype=bool)], 1, 5)

    def winner(weights):
        return fuse(proposals, class_ids, probabilities=probabilities, weights=weights).votes[0]

    assert winner("majority").class_id == 0
    by_probability = winner("probability")
    assert by_probability.class_id == 1
    # 1.5 and 3.2 votes, and 0.3 for no class at all.
    assert by_probability.vote_share == pytest.approx(3.2 / 5)
    assert by_probability.margin == pytest.approx((3.2 - 1.5) / 5)


def test_pre_15_pixels_near_the_edge_count_less():
    """PRE-15: a rim two pixels wide has more pixels than the core, and less to say."""
    class_ids = np.ones((13, 13), dtype=np.uint8)
    class_ids[2:11, 2:11] = 0
    sure = np.eye(2, dtype=np.float32)[class_ids].transpose(2, 0, 1)
    proposals = proposals_of([np.ones((13, 13), dtype=bool)], 13, 13)

    def winner(weights):
        return fuse(proposals, class_ids, probabilities=sure, weights=weights).votes[0]

    assert (class_ids == 1).sum() > (class_ids == 0).sum()
    assert winner("probability").class_id == 1
    assert winner("probability+boundary").class_id == 0


def test_pre_15_weighing_needs_probabilities_of_the_same_size():
    with pytest.raises(ShapeError, match="votes by probability"):
        fuse(no_proposals(2, 2), np.zeros((2, 2), np.uint8), weights="probability")


def pole_in_a_street():
    """A pole three pixels wide inside one mask of the whole road."""
    class_ids = np.zeros((20, 30), dtype=np.uint8)
    class_ids[4:18, 14:17] = 5
    return proposals_of([np.ones((20, 30), dtype=bool)], 20, 30), class_ids


def test_pre_16_a_pole_the_vote_erases_is_flagged():
    """PRE-16: SSA paints it over without a word."""
    proposals, class_ids = pole_in_a_street()

    fusion = fuse(proposals, class_ids, erased_classes="flag")

    assert fusion.erased == (5,)
    assert not (fusion.mask == 5).any()


def test_pre_16_a_pole_may_keep_its_pixels():
    """PRE-16: and then it is not erased any more."""
    proposals, class_ids = pole_in_a_street()

    fusion = fuse(proposals, class_ids, erased_classes="keep")

    assert np.array_equal(class_ids, fusion.mask)
    assert (fusion.kept, fusion.erased) == ((5,), ())


def test_pixels_of_no_class_vote_and_are_never_painted_as_class_0():
    class_ids = np.full((3, 4), 255, dtype=np.uint8)
    class_ids[0, 0] = 0
    mask = np.ones((3, 4), dtype=bool)

    fusion = fuse(proposals_of([mask], 3, 4), class_ids)

    assert (fusion.mask == 255).all()
    assert fusion.votes[0].class_id == 255
    assert fusion.erased == (0,)
