"""PRE-07: what Grounding DINO and OWLv2 answer, from recorded arrays and from tiny networks."""

import numpy as np
import pytest
import torch
from transformers import (
    BertTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    Owlv2Processor,
    SwinConfig,
)

from bench.engine_models import BLIP_WORDS, tiny_clip_tokenizer
from cloud.preannotation.sam.by_name import promptable_from
from cloud.preannotation.text_detectors import (
    grounded_boxes,
    load_grounding_dino,
    load_owlv2,
    queried_boxes,
    sentences,
    token_owners,
)
from cloud.preannotation.text_prompts import text_prompt_drafter
from lifelong.errors import ConfigError, ModelLoadError, ModelOutputError
from lifelong.records.label_map import CITYSCAPES
from lifelong.sections.drafting import MasksSection, TextPromptsSection

# Grounding DINO's own answer to "car. traffic light. man.": tokens and what each box lit.
SENTENCE = ["[CLS]", "car", ".", "traffic", "light", ".", "man", ".", "[SEP]"]
PROMPTS = ["car", "traffic light", "man"]


@pytest.mark.parametrize(
    ("lit", "phrase", "prompt"),
    [
        ({"car": 0.9}, "car", "car"),
        ({"traffic": 0.6, "light": 0.7}, "traffic light", "traffic light"),
        ({"light": 0.7}, "light", "traffic light"),  # where it stands says which prompt
        ({"car": 0.5, "man": 0.6}, "car man", None),
        ({"car": 0.5, "light": 0.26, "[CLS]": 0.9}, "car light", None),
        ({"car": 0.5, "man": 0.25}, "car", "car"),  # not above the text threshold
        ({"[CLS]": 0.9}, "", None),
        ({"car": 0.35}, None, None),  # not above the box threshold
    ],
)
def test_pre_07_recorded_tokens_of_grounding_dino_are_read(lit, phrase, prompt):
    row = torch.zeros(1, 256)
    for word, probability in lit.items():
        row[0, SENTENCE.index(word)] = probability
    answer = grounded_boxes(
        row,
        torch.tensor([[0.5, 0.5, 0.5, 1.5]]),
        prompts=PROMPTS,
        owners=token_owners([1, 2, 1]),
        words=lambda lit: " ".join(SENTENCE[int(place)] for place in lit),
        size=(40, 60),
        box_threshold=0.35,
        text_threshold=0.25,
    )
    if phrase is None:
        assert answer.phrases == ()
        return
    assert (answer.phrases, answer.prompts) == ((phrase,), (prompt,))
    assert answer.boxes.tolist() == [[15.0, 0.0, 45.0, 40.0]]  # clipped to the picture


def test_pre_07_recorded_queries_of_owlv2_are_read_on_the_padded_square():
    answer = queried_boxes(
        torch.tensor([[0.9, 0.2], [0.1, 0.4], [0.3, 0.1]]),
        torch.tensor([[0.5, 0.25, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0], [0.1, 0.1, 0.1, 0.1]]),
        prompts=["car", "man"],
        size=(40, 60),
        box_threshold=0.35,
    )
    assert answer.phrases == answer.prompts == ("car", "man")
    # Shares of 60 x 60, of which the picture is the upper part.
    assert answer.boxes.tolist() == [[15.0, 0.0, 45.0, 30.0], [0.0, 0.0, 60.0, 40.0]]


def test_a_detector_that_answers_nonsense_is_reported():
    with pytest.raises(ModelOutputError, match="NaN"):
        queried_boxes(
            torch.tensor([[float("nan")]]), torch.zeros(1, 4), prompts=["car"], size=(4, 4),
            box_threshold=0.1,
        )  # fmt: skip
    with pytest.raises(ModelOutputError, match="expected 2 columns"):
        queried_boxes(
            torch.ones(1, 1), torch.zeros(1, 4), prompts=["a", "b"], size=(4, 4), box_threshold=0.1
        )


def test_pre_07_prompts_that_do_not_fit_one_text_are_asked_in_several():
    assert sentences([3, 3, 3], 10) == [[0, 1], [2]]  # 2 + 4 + 4 tokens fill it
    assert sentences([7, 1, 1], 10) == [[0], [1, 2]]
    assert sentences([1] * 3, 256) == [[0, 1, 2]]
    assert sentences([], 256) == []
    assert token_owners([1, 2]) == [None, 0, None, 1, 1, None, None]


@pytest.fixture(scope="module")
def dino(tmp_path_factory):
    """A random Grounding DINO that reads 16 tokens."""
    torch.manual_seed(0)
    words = [*BLIP_WORDS, ".", "traffic", "?"]
    tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(words)})
    text = {
        "model_type": "bert", "vocab_size": len(words), "hidden_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 37, "max_position_embeddings": 64,
    }  # fmt: skip
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=64, embed_dim=16, depths=[1] * 4, num_heads=[1] * 4, window_size=4,
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=text, d_model=32, num_queries=20, encoder_layers=1, decoder_layers=2,
        encoder_ffn_dim=32, decoder_ffn_dim=32, encoder_attention_heads=2,
        decoder_attention_heads=2, max_text_len=16,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("dino")
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    images = GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def owl(tmp_path_factory):
    """A random OWLv2 whose tokens are letters, 16 a prompt."""
    torch.manual_seed(0)
    tokenizer = tiny_clip_tokenizer()
    config = Owlv2Config(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 37,
            "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 16,
        },
        vision_config={
            "hidden_size": 16, "intermediate_size": 37, "num_hidden_layers": 1,
            "num_attention_heads": 2, "image_size": 64, "patch_size": 16,
        },
        projection_dim=16,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("owl")
    Owlv2ForObjectDetection(config).save_pretrained(folder)
    images = Owlv2ImageProcessor(size={"height": 64, "width": 64})
    Owlv2Processor(images, tokenizer).save_pretrained(folder)
    return folder


def noise(seed=0, height=40, width=60):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def counted(detector):
    calls = []
    detector._network.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append(tuple(kwargs["input_ids"].shape)),
        with_kwargs=True,
    )
    return calls


def test_pre_07_a_real_grounding_dino_reads_a_sentence_and_then_the_rest(dino):
    detector = load_grounding_dino(str(dino), box_threshold=0.0, text_threshold=0.0, device="cpu")
    calls = counted(detector)
    few = detector.find(noise(), ["car", "traffic light"])
    assert calls == [(1, 7)]
    assert len(few.boxes) == len(few.scores) == len(few.phrases) == len(few.prompts) == 20
    # Every token is lit at a threshold of 0: words of both prompts run together.
    assert set(few.prompts) == {None}
    assert few.phrases[0] == "car traffic light"
    many = detector.find(
        noise(), ["car", "tree", "dog", "house", "red traffic light", "bus", "man"]
    )
    assert calls[1:] == [(1, 16), (1, 4)]
    assert len(many.boxes) == 40
    assert float(many.boxes[:, 0::2].max()) <= 60
    assert float(many.boxes[:, 1::2].max()) <= 40
    assert float(many.boxes.min()) >= 0


def test_pre_07_a_single_prompt_of_grounding_dino_is_told_from_others(dino):
    detector = load_grounding_dino(str(dino), box_threshold=0.0, text_threshold=0.0, device="cpu")
    one = detector.find(noise(), ["red traffic light"])
    assert set(one.prompts) == {"red traffic light"}
    assert set(one.phrases) == {"red traffic light"}


def test_pre_07_scores_are_those_of_the_librarys_own_reading(dino):
    detector = load_grounding_dino(str(dino), box_threshold=0.0, text_threshold=0.9, device="cpu")
    processor, network = detector._processor, detector._network
    image = noise(1)
    inputs = processor(images=image, text="car. tree.", return_tensors="pt")
    with torch.inference_mode():
        outputs = network(**inputs)
    (expected,) = processor.post_process_grounded_object_detection(
        outputs, inputs["input_ids"], threshold=0.0, text_threshold=0.9, target_sizes=[(40, 60)]
    )
    ours = detector.find(image, ["car", "tree"])
    assert torch.allclose(ours.scores, expected["scores"], atol=1e-5)
    inside = expected["boxes"].clamp(min=0)
    inside[:, 0::2] = inside[:, 0::2].clamp(max=60)
    inside[:, 1::2] = inside[:, 1::2].clamp(max=40)
    assert torch.allclose(ours.boxes, inside, atol=1e-3)


def test_pre_07_owlv2_takes_all_queries_in_one_call(owl, monkeypatch):
    detector = load_owlv2(str(owl), box_threshold=0.0, device="cpu")
    calls = counted(detector)
    answer = detector.find(noise(), ["car", "a man", "bus"])
    assert calls == [(3, 16)]
    assert len(answer.boxes) == 16  # one for each patch
    assert set(answer.prompts) <= {"car", "a man", "bus"}
    monkeypatch.setattr("cloud.preannotation.text_detectors._QUERIES_AT_ONCE", 2)
    again = detector.find(noise(), ["car", "a man", "bus"])
    assert calls[1:] == [(2, 16), (1, 16)]
    assert len(again.boxes) == 32


def test_pre_07_ops_03_a_prompt_too_long_for_the_model_is_refused(dino, owl):
    long = "red green old man in the old house"
    for detector, prompt in (
        (load_grounding_dino(str(dino), device="cpu"), f"{long} {long}"),
        (load_owlv2(str(owl), device="cpu"), long),
    ):
        detector.check(["car"])
        with pytest.raises(ConfigError, match=r"tokens, the model reads 16; say it in fewer words"):
            detector.check(["car", prompt])


@pytest.mark.parametrize("kind", ["grounding_dino", "owlv2"])
def test_pre_07_from_configuration_to_draft_with_the_tiny_sam(kind, dino, owl):
    folder = dino if kind == "grounding_dino" else owl
    section = TextPromptsSection(
        detector=kind, model=str(folder), prompts={"Car": "car", "tree": "vegetation"},
        box_threshold=0.0, text_threshold=0.0,
    )  # fmt: skip
    sam = promptable_from(MasksSection(type="tiny"), device="cpu")
    one = text_prompt_drafter(section, sam, CITYSCAPES, device="cpu")
    draft = one.draft(noise(3))
    assert draft.mask.shape == (40, 60)
    CITYSCAPES.check(draft.mask, "draft")
    assert one.labelled_by == folder.name
    assert all(0 <= region.score <= 1 for region in draft.regions)
    painted = {region.class_id for region in draft.regions} - {None}
    assert set(np.unique(draft.mask)) - {255} <= painted


def test_ops_03_a_folder_without_a_detector_is_named(tmp_path):
    for load, what in ((load_grounding_dino, "a Grounding DINO"), (load_owlv2, "an OWLv2")):
        with pytest.raises(ModelLoadError, match=f"expected a folder or hub id of {what}"):
            load(str(tmp_path), device="cpu")
