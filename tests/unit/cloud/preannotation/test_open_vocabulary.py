"""PRE-05, PRE-06: from names in words to a draft that can be imported; models are stubs here."""

import numpy as np
import pytest

from annotation.draft_regions import DraftShapes, regions_from_mask
from annotation.regions import mask_from_regions
from cloud.preannotation.naming.crops import cut
from cloud.preannotation.ontology import ontology_of, read_ontology
from cloud.preannotation.open_vocabulary import (
    LIGHT,
    UNNAMED,
    OpenVocabularyDrafter,
    OpenVocabularyNamer,
    namer_from,
)
from cloud.preannotation.region_masks import no_proposals, proposals_from_rles, rle_from_mask
from lifelong.errors import LabelMapError, ShapeError
from lifelong.records.label_map import CITYSCAPES, label_map_of
from lifelong.sections.drafting import OpenVocabularySection

IMAGE = np.arange(20 * 30 * 3, dtype=np.uint32).reshape(20, 30, 3).astype(np.uint8)
CAR, TREE, ROAD = (CITYSCAPES.id_of(name) for name in ("car", "vegetation", "road"))


class Labeler:
    names = ("road", "car")

    def __init__(self, ids):
        self._ids = ids

    def ids(self, image):
        return self._ids


class Captioner:
    """Says one caption for each crop, in turn."""

    def __init__(self, *captions):
        self._captions, self.crops = captions, []

    def captions(self, crops):
        self.crops.extend(crops)
        return list(self._captions[: len(crops)])


class Ranker:
    """Takes candidates backwards: the last is the best."""

    def __init__(self):
        self.crops, self.candidates = [], []

    def rank(self, crops, candidates):
        self.crops.extend(crops)
        self.candidates.extend(tuple(some) for some in candidates)
        return [tuple((name, 0.5) for name in reversed(some)) for some in candidates]


class Voter:
    """Gives each mask's pixels to its first proposals in given shares."""

    def __init__(self, *shares):
        self._shares, self.masks = shares, []

    def votes(self, crops, masks, proposals):
        self.masks.extend(masks)
        return [
            np.array([round(share * 100) for share in self._shares[: len(some)]])
            for some in proposals
        ]


class Proposer:
    name = "given"

    def __init__(self, proposals):
        self._proposals = proposals

    def propose(self, image):
        return self._proposals


def block(x0, y0, x1, y1):
    mask = np.zeros((20, 30), dtype=bool)
    mask[y0 : y1 + 1, x0 : x1 + 1] = True
    return mask


def proposals_of(*masks, **scores):
    rles = [rle_from_mask(mask) for mask in masks]
    return proposals_from_rles(rles, height=20, width=30, **scores)


def namer(*captions, shares=(1.0,), labelers=(), proposals=3):
    return OpenVocabularyNamer(
        labelers, Captioner(*captions), Ranker(), Voter(*shares), proposals=proposals
    )


def drafter(proposals, *captions, shares=(1.0,), ontology=None, label_map=CITYSCAPES):
    return OpenVocabularyDrafter(
        Proposer(proposals),
        namer(*captions, shares=shares),
        ontology or ontology_of(label_map),
        label_map,
    )


def test_pre_05_every_mask_gets_a_name_and_its_best_proposals():
    ids = np.zeros((20, 30), np.int64)
    ids[:, 15:] = 1
    one = namer("a man in a hat", "a dog", labelers=[Labeler(ids)], shares=(0.2, 0.7, 0.1))
    first, second = one.name_masks(IMAGE, proposals_of(block(0, 0, 5, 5), block(20, 5, 25, 9)))
    # Candidates are labels, then phrases; the stub ranks backwards; three are kept.
    assert one._ranker.candidates == [("road", "a man", "a hat"), ("car", "a dog")]
    assert first.class_proposals == ("a hat", "a man", "road")
    assert first.class_name == "a man"
    assert first.shares == pytest.approx((0.2, 0.7, 0.1))
    assert second.class_name in second.class_proposals == ("a dog", "car")


def test_pre_05_only_so_many_proposals_are_kept_as_asked_for():
    one = namer("a man and a dog and a cat and a hat", proposals=2, shares=(0.5, 0.5))
    (named,) = one.name_masks(IMAGE, proposals_of(block(0, 0, 5, 5)))
    assert named.class_proposals == ("a hat", "a cat")
    assert named.class_name == "a hat"  # the better ranked of two with as many pixels


def test_pre_05_crops_are_large_for_the_caption_small_for_the_ranking():
    one = namer("a dog")
    one.name_masks(IMAGE, proposals_of(block(10, 5, 19, 14)))
    # 5 - 3.0000000000000004 is cut to 1, in the original as here.
    assert np.array_equal(one._captioner.crops[0], cut(IMAGE, (7, 1, 22, 17)))
    assert np.array_equal(one._ranker.crops[0], cut(IMAGE, (9, 4, 20, 15)))
    assert one._voter.masks[0].sum() == 100
    assert one._voter.masks[0].shape == (17, 16)


def test_pre_05_a_caption_without_things_is_itself_the_candidate():
    (named,) = namer("blue").name_masks(IMAGE, proposals_of(block(0, 0, 5, 5)))
    assert named.class_name == "blue"


def test_pre_05_a_mask_without_any_word_is_unknown_and_never_painted():
    proposals = proposals_of(block(0, 0, 5, 5))
    (named,) = namer("").name_masks(IMAGE, proposals)
    assert (named.class_name, named.class_proposals) == (UNNAMED, ())
    label_map = label_map_of([("unknown", (1, 2, 3))])  # even where that is a class
    draft = drafter(proposals, "", label_map=label_map).draft(IMAGE)
    assert draft.regions[0].class_id is None
    assert (draft.mask == 255).all()


def test_pre_06_known_words_are_painted_large_to_small_and_unknown_ones_never():
    proposals = proposals_of(
        block(0, 0, 4, 4), block(0, 0, 29, 19), block(10, 10, 19, 19), np.zeros((20, 30), bool)
    )
    draft = drafter(proposals, "a taxi", "a street", "a unicorn").draft(IMAGE)
    assert [region.class_name for region in draft.regions] == ["a street", "a unicorn", "a taxi"]
    assert [region.class_id for region in draft.regions] == [ROAD, None, CAR]
    assert set(np.unique(draft.mask)) == {ROAD, CAR}
    assert (draft.mask == CAR).sum() == 25
    assert draft.mask[15, 15] == ROAD  # the unicorn leaves what lies under it
    assert draft.regions[0].class_proposals == ("a street",)


def test_pre_06_where_nobody_knows_a_word_the_mask_stays_255_and_not_class_0():
    draft = drafter(proposals_of(block(0, 0, 29, 19)), "a unicorn").draft(IMAGE)
    assert (draft.mask == 255).all()
    assert draft.score == 0.0


def test_pre_06_no_masks_at_all_are_an_empty_draft():
    draft = drafter(no_proposals(20, 30)).draft(IMAGE)
    assert draft.regions == ()
    assert (draft.mask == 255).all()


def test_pre_06_a_draft_can_be_imported_and_comes_back_exactly():
    proposals = proposals_of(block(0, 0, 29, 9), block(3, 3, 8, 8), block(20, 12, 25, 18))
    draft = drafter(proposals, "a street", "two parked cars", "a teapot").draft(IMAGE)
    CITYSCAPES.check(draft.mask, "draft")
    for mode in ("brush", "polygons"):
        regions = regions_from_mask(draft.mask, CITYSCAPES, shapes=DraftShapes(mode=mode))
        back = mask_from_regions(regions, CITYSCAPES, size=(20, 30), where="task")
        assert np.array_equal(back, draft.mask)


def test_pre_06_an_ontology_file_decides_what_a_word_means(tmp_path):
    path = tmp_path / "words.yaml"
    path.write_text("classes: {thing: [unicorn, teapot]}\nunknown: [toy teapot]\n")
    label_map = label_map_of([("thing", (1, 2, 3))])
    words = read_ontology(path, label_map)
    proposals = proposals_of(block(0, 0, 9, 9), block(10, 10, 18, 18))
    draft = drafter(
        proposals, "a unicorn", "a toy teapot", ontology=words, label_map=label_map
    ).draft(IMAGE)
    assert [region.class_id for region in draft.regions] == [0, None]


def test_an_ontology_of_another_label_map_is_refused():
    with pytest.raises(LabelMapError, match="read the ontology with this label map"):
        drafter(
            no_proposals(20, 30),
            ontology=ontology_of(CITYSCAPES),
            label_map=label_map_of([("car", (1, 2, 3))]),
        )


def test_a_regions_score_is_its_share_times_what_the_models_say_of_themselves():
    proposals = proposals_of(block(0, 0, 29, 19), predicted_iou=[0.8], stability=[0.9])
    draft = drafter(proposals, "a car and a dog", shares=(0.25, 0.75)).draft(IMAGE)
    (region,) = draft.regions
    assert region.class_name == "a car"
    assert region.vote_share == 0.75
    assert region.score == pytest.approx(0.75 * 0.8 * 0.9 * 0.5)
    assert draft.score == pytest.approx(region.score)


def test_a_class_that_others_cover_altogether_is_told():
    draft = drafter(
        proposals_of(block(0, 0, 5, 5), block(0, 0, 5, 4), block(0, 5, 5, 5)),
        "a tree", "a car", "a street",
    ).draft(IMAGE)  # fmt: skip
    assert draft.erased == (TREE,)


def test_masks_of_another_picture_are_refused():
    with pytest.raises(ShapeError, match="picture"):
        namer("a dog").name_masks(IMAGE[:10], proposals_of(block(0, 0, 5, 5)))


@pytest.mark.parametrize("light", [False, True])
def test_pre_05_light_takes_the_smaller_models(monkeypatch, light):
    asked = []

    def loader(model, *, device, at_once=0):
        asked.append(model)

    for name in ("load_picture_labeler", "load_captioner", "load_clip", "load_clipseg"):
        monkeypatch.setattr(f"cloud.preannotation.open_vocabulary.{name}", loader)
    section = OpenVocabularySection(light=light, proposals=2)
    made = namer_from(section, device="cpu")
    usual = [*section.labelers, section.captioner, section.clip, section.clipseg]
    small = [*LIGHT["labelers"], LIGHT["captioner"], LIGHT["clip"], LIGHT["clipseg"]]
    assert asked == (small if light else usual)
    assert made.name.count("+") == 2
