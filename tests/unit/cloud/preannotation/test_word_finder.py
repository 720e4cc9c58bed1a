"""INT-19: words to labelled masks, by a text detector and by the semantic model."""

import numpy as np
import pytest
import torch

from annotation.assist.segmenter import Readiness, Thresholds
from cloud.assist.finders import Seen
from cloud.assist.interactive_model import Decoded, go_on
from cloud.assist_service.assembly import make_segmenter
from cloud.demo.scenes import CONDITIONS, draw_scene
from cloud.preannotation.interactive_sam import InteractiveSam
from cloud.preannotation.ontology import ontology_of
from cloud.preannotation.sam.by_name import promptable_from
from cloud.preannotation.semantic_labels import TinyLabeler
from cloud.preannotation.text_detectors import FoundBoxes, load_grounding_dino, load_owlv2
from cloud.preannotation.word_choice import ConfiguredWords
from cloud.preannotation.word_finder import ClassWords, DetectorWords, Vocabulary
from cloud.weights.text_detector_weights import missing_detector
from lifelong.config import Config
from lifelong.errors import ConfigError, ModelOutputError, PromptError
from lifelong.records.label_map import CITYSCAPES
from lifelong.records.prompts import Prompt
from lifelong.sections.drafting import MasksSection, PreannotationSection
from tests.drawn_shapes import ColourModel
from tests.tiny_drafting_models import save_grounding_dino, save_owlv2

STREET = Vocabulary(ontology_of(CITYSCAPES), CITYSCAPES)
LABELS = ("Car", "Road", "Person", "Truck")


class Recorded:
    """A detector that answers a question as it was recorded."""

    name = "recorded"

    def __init__(self, answers):
        self.answers, self.asked, self.thresholds = answers, [], []

    def find(self, image, prompts, *, box_threshold=None, text_threshold=None):
        self.asked.append(tuple(prompts))
        self.thresholds.append((box_threshold, text_threshold))
        return self.answers[tuple(prompts)]

    def check(self, prompts):
        if any(len(prompt) > 40 for prompt in prompts):
            raise ConfigError("preannotation.text_prompts.prompts: too many tokens")


def boxes(*rows):
    """(box, score, phrase, prompt) rows."""
    return FoundBoxes(
        boxes=torch.tensor([row[0] for row in rows], dtype=torch.float32).reshape(-1, 4),
        scores=torch.tensor([row[1] for row in rows], dtype=torch.float32),
        phrases=tuple(row[2] for row in rows),
        prompts=tuple(row[3] for row in rows),
    )


def seen_by(model, image, pause=go_on):
    embedded = model.embed(image)
    return Seen(digest="d", model=model, embedded=embedded, pixels=lambda: image, pause=pause)


def two_blocks():
    """A red and a blue block on grey."""
    image = np.full((128, 256, 3), 128, np.uint8)
    image[20:60, 20:80], image[60:110, 150:230] = (200, 30, 30), (30, 40, 200)
    return image


RED, BLUE = [18.0, 18.0, 82.0, 62.0], [148.0, 58.0, 232.0, 112.0]


def test_int_19_a_box_becomes_a_mask_with_a_label_its_phrase_and_no_second_embedding():
    model, image = ColourModel(), two_blocks()
    detector = Recorded(
        {("car", "man"): boxes((RED, 0.8, "old man", "man"), (BLUE, 0.6, "car", "car"))}
    )
    seen = seen_by(model, image)
    found = DetectorWords(detector, STREET).find(
        seen, ["car, man"], labels=LABELS, thresholds=Thresholds(box=0.2, text=0.1)
    )
    assert [(one.label, one.phrase) for one in found] == [("Person", "old man"), ("Car", "car")]
    assert [one.score for one in found] == pytest.approx([0.8 * 0.95, 0.6 * 0.95])
    assert (found[0].mask == (image[..., 0] > 150)).mean() > 0.99
    assert (found[1].mask == (image[..., 2] > 150)).mean() > 0.99
    assert detector.thresholds == [(0.2, 0.1)]
    assert (model.embedded, model.decoded) == (1, 2)


def test_int_19_what_words_of_two_phrases_lit_is_asked_for_each_phrase_alone():
    detector = Recorded(
        {
            ("car", "truck"): boxes((RED, 0.8, "car truck", None)),
            ("car",): boxes((RED, 0.5, "car", "car")),
            ("truck",): boxes((RED, 0.7, "truck", "truck"), (BLUE, 0.9, "", None)),
        }
    )
    found = DetectorWords(detector, STREET).find(
        seen_by(ColourModel(), two_blocks()), ["car", "truck"],
        labels=LABELS, thresholds=Thresholds(),
    )  # fmt: skip
    assert detector.asked == [("car", "truck"), ("car",), ("truck",)]
    # The better of the two for one object; what lit no word at all is nobody's.
    assert [(one.label, one.phrase) for one in found] == [("Truck", "truck")]


def test_int_19_two_boxes_whose_masks_are_one_object_are_one_answer():
    wide = [0.0, 0.0, 130.0, 127.0]
    detector = Recorded({("car",): boxes((RED, 0.6, "car", "car"), (wide, 0.5, "car", "car"))})

    class Generous(ColourModel):
        """Clicks the middle of what is red in a box."""

        def decode(self, embedded, prompt, *, previous, several):
            pixels = embedded.arrays["pixels"][0]
            mask = np.where(pixels[..., 0] > 150, 8.0, -8.0).astype(np.float32)
            return Decoded(mask[None], np.array([0.9], np.float32))

    found = DetectorWords(detector, STREET).find(
        seen_by(Generous(), two_blocks()), ["car"], labels=LABELS, thresholds=Thresholds()
    )
    assert [one.score for one in found] == pytest.approx([0.6 * 0.9])


def test_int_19_nothing_found_is_an_empty_answer():
    detector = Recorded({("car",): boxes()})
    seen = seen_by(ColourModel(), two_blocks())
    words = DetectorWords(detector, STREET)
    assert words.find(seen, ["car"], labels=LABELS, thresholds=Thresholds()) == []


def test_int_19_words_too_long_for_the_model_are_the_prompts_fault():
    seen = seen_by(ColourModel(), two_blocks())
    with pytest.raises(PromptError, match="too many tokens"):
        DetectorWords(Recorded({}), STREET).find(
            seen, ["very " * 20 + "car"], labels=LABELS, thresholds=Thresholds()
        )


def test_int_19_a_model_that_answers_nan_is_named():
    class Broken(ColourModel):
        def decode(self, embedded, prompt, *, previous, several):
            return Decoded(np.full((1, 256, 256), np.nan, np.float32), np.ones(1, np.float32))

    detector = Recorded({("car",): boxes((RED, 0.6, "car", "car"))})
    with pytest.raises(ModelOutputError, match="colours: masks hold NaN"):
        DetectorWords(detector, STREET).find(
            seen_by(Broken(), two_blocks()), ["car"], labels=LABELS, thresholds=Thresholds()
        )


@pytest.mark.parametrize(
    ("save", "load"),
    [(save_grounding_dino, load_grounding_dino), (save_owlv2, load_owlv2)],
    ids=["grounding_dino", "owlv2"],
)
def test_int_19_real_detectors_in_miniature_answer_with_labels(tmp_path, save, load):
    words = DetectorWords(load(str(save(tmp_path / "it")), device="cpu"), STREET)
    model, image = ColourModel(), two_blocks()
    seen = seen_by(model, image)
    found = words.find(
        seen, ["car . the man"], labels=LABELS, thresholds=Thresholds(box=0.0, text=0.0)
    )
    assert 1 <= len(found) <= 40 and {one.label for one in found} <= {"Car", "Person"}
    assert all(one.mask.shape == (128, 256) and 0 <= one.score <= 1 for one in found)
    assert words.find(seen, ["car"], labels=LABELS, thresholds=Thresholds(box=1.0)) == []
    assert model.embedded == 1


class Painted:
    """A semantic model that says what was painted."""

    name = "painted"

    def __init__(self, mask, sure=0.9):
        self._mask, self._sure = mask, sure

    def label(self, image):
        out = np.full((len(CITYSCAPES), *self._mask.shape), 0.0, np.float32)
        for class_id in np.unique(self._mask):
            out[class_id][self._mask == class_id] = self._sure
        return out


def painted_blocks():
    mask = np.full((128, 256), CITYSCAPES.id_of("road"), np.uint8)
    mask[20:60, 20:80] = mask[60:110, 150:230] = CITYSCAPES.id_of("car")
    mask[2:4, 2:4] = CITYSCAPES.id_of("car")  # a speck
    return mask


def test_int_19_the_semantic_model_answers_with_regions_of_the_class():
    mask = painted_blocks()
    words = ClassWords(Painted(mask), STREET)
    seen = seen_by(ColourModel(), two_blocks())
    found = words.find(seen, ["parked cars"], labels=LABELS, thresholds=Thresholds())
    assert [(one.label, one.phrase) for one in found] == [("Car", "parked cars")] * 2
    union = found[0].mask | found[1].mask
    assert (union == (two_blocks().max(axis=2) > 150)).mean() > 0.99
    # As sure as both are: the class's mean probability, and the click model's own guess.
    assert [one.score for one in found] == pytest.approx([0.9 * 0.95] * 2)
    assert words.find(seen, ["car"], labels=LABELS, thresholds=Thresholds(box=0.95)) == []


def test_int_19_a_click_model_that_means_something_else_leaves_the_region_alone():
    class Boxless(ColourModel):
        """Means everything of one colour, whatever box is drawn."""

        def decode(self, embedded, prompt, *, previous, several):
            points = Prompt(points=prompt.points)
            return super().decode(embedded, points, previous=previous, several=several)

    mask, image = painted_blocks(), np.full((128, 256, 3), 90, np.uint8)  # nothing to be seen
    found = ClassWords(Painted(mask), STREET).find(
        seen_by(Boxless(), image), ["car"], labels=LABELS, thresholds=Thresholds()
    )
    assert {int(one.mask.sum()) for one in found} == {40 * 60, 50 * 80}
    assert [one.score for one in found] == pytest.approx([0.9, 0.9])


def test_int_19_a_class_no_label_and_no_word_can_mean_is_refused_with_what_is_known():
    words = ClassWords(Painted(painted_blocks()), STREET)
    seen = seen_by(ColourModel(), two_blocks())
    with pytest.raises(PromptError, match=r"'zebra': painted answers words here.*road, sidewalk"):
        words.find(seen, ["zebra"], labels=["Animal"], thresholds=Thresholds())
    with pytest.raises(PromptError, match=r"'sedan' and 'taxi' are both 'car'"):
        words.find(seen, ["sedan, taxi"], labels=["Sedan", "Taxi"], thresholds=Thresholds())


@pytest.fixture(scope="module")
def tiny():
    return InteractiveSam(
        promptable_from(MasksSection(type="tiny"), device="cpu", precision="float32"),
        weights_digest="0" * 64, precision="float32", device="cpu", takes_masks=False,
    )  # fmt: skip


def test_int_19_the_shipped_models_find_cars_and_the_road_of_drawn_streets(tiny):
    """Seeds that nothing was calibrated on; figures over more of them are in docs/assist.md."""
    words = ClassWords(TinyLabeler(CITYSCAPES, device="cpu"), STREET)
    reached = {"the road": [], "cars": []}
    for number in range(5):
        scene = draw_scene(930_000 + number, CONDITIONS[number])
        seen = seen_by(tiny, scene.image)
        for phrase, label, name in (("the road", "Road", "road"), ("cars", "Car", "car")):
            found = words.find(seen, [phrase], labels=LABELS, thresholds=Thresholds())
            assert {one.label for one in found} <= {label}
            truth = scene.mask == CITYSCAPES.id_of(name)
            union = np.any([one.mask for one in found] or [np.zeros_like(truth)], axis=0)
            reached[phrase].append((union & truth).sum() / max(1, (union | truth).sum()))
    assert np.mean(reached["the road"]) > 0.85
    assert np.mean(reached["cars"]) > 0.4


def test_int_19_words_work_without_any_pulled_weights(tiny, tmp_path):
    words = ConfiguredWords(
        PreannotationSection(device="cpu", weights_path=tmp_path / "none"), CITYSCAPES
    )
    scene = draw_scene(930_000, "clear")
    found = words.find(
        seen_by(tiny, scene.image), ["road"], labels=["Road", "Car"], thresholds=Thresholds()
    )
    assert {one.label for one in found} == {"Road"} and words.trouble == ""


@pytest.mark.parametrize(
    "words", [{"detector": "owlv2"}, {"model": "IDEA-Research/grounding-dino-tiny"}]
)
def test_int_19_a_detector_that_is_asked_for_and_missing_is_said_and_classes_answer(
    monkeypatch, tiny, tmp_path, words
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    section = PreannotationSection.model_validate(
        {"device": "cpu", "weights_path": tmp_path / "none", "text_prompts": words}
    )
    finder = ConfiguredWords(section, CITYSCAPES)
    scene = draw_scene(930_000, "clear")
    found = finder.find(
        seen_by(tiny, scene.image), ["road"], labels=["Road", "Car"], thresholds=Thresholds()
    )
    assert {one.label for one in found} == {"Road"}
    assert "models pull" in finder.trouble and "is asked for" in finder.trouble


def test_int_19_a_detector_in_a_folder_is_used(tmp_path):
    folder = save_grounding_dino(tmp_path / "dino")
    section = PreannotationSection.model_validate(
        {"device": "cpu", "text_prompts": {"model": str(folder)}}
    )
    finder = ConfiguredWords(section, CITYSCAPES)
    found = finder.find(
        seen_by(ColourModel(), two_blocks()), ["car"],
        labels=["Car", "Road"], thresholds=Thresholds(box=0.0, text=0.0),
    )  # fmt: skip
    assert finder.trouble == "" and {one.label for one in found} == {"Car"}


def test_int_19_what_is_missing_is_known_before_anybody_asks(tmp_path):
    def section(**words):
        return PreannotationSection.model_validate(
            {"weights_path": tmp_path / "none", "text_prompts": words}
        )

    assert missing_detector(section()) == ""  # nobody asked for a detector
    assert missing_detector(section(box_threshold=0.2)) == ""
    said = missing_detector(section(detector="owlv2"))
    assert "models pull google/owlv2-base-patch16-ensemble" in said
    assert missing_detector(section(model=str(tmp_path))) == ""  # a folder that is there
    segmenter = make_segmenter(
        Config(journal_path=tmp_path / "journal", preannotation=section(detector="owlv2"))
    )
    try:
        segmenter.start()
        segmenter.size(Drawn())
        (state,) = segmenter.states()
    finally:
        segmenter.close()
    assert state.readiness is Readiness.DEGRADED and said in state.words


class Drawn:
    digest, name = "ab" * 32, "drawn"

    def pixels(self):
        return two_blocks()
