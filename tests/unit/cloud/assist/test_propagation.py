"""INT-28: several objects through many frames, as masks, from any frame, in bounded memory."""

import gc
import json
import weakref

import numpy as np
import pytest
from typer.testing import CliRunner

from cloud.assist.interactive_model import Decoded
from cloud.assist.propagation import PropagationRules, propagated
from cloud.assist_service.tracking import sequence_of, track
from cloud.cli import app
from lifelong.errors import ConfigError, ImageError, ModelOutputError, PromptError, ShapeError
from lifelong.records.pixels import jpeg_from_image, mask_from_png, png_from_mask
from tests.drawn_shapes import COLOURS, ColourModel, shape_mask

SIZE, COUNT = (240, 320), 14
DISC, SQUARE, TRIANGLE = 1, 2, 3


@pytest.fixture(scope="module")
def footage():
    """A disc to the right and past the square, a turning square to the left, a triangle that
    leaves; frames and what is to be seen of each object."""
    rng = np.random.default_rng(5)
    colours = rng.permutation(COLOURS)
    frames, truth = [], []
    for now in range(COUNT):
        image = np.full((*SIZE, 3), 128.0)
        masks = {
            TRIANGLE: shape_mask("triangle", 290 + 9 * now, 60, 26, 0.2, SIZE),
            SQUARE: shape_mask("square", 250 - 6 * now, 190, 26, 0.3 + 0.1 * now, SIZE),
            DISC: shape_mask("disc", 50 + 12 * now, 80 + 3 * now, 24, 0, SIZE),
        }
        for number, mask in masks.items():
            image[mask] = colours[number]
        frames.append(np.clip(image + rng.normal(0, 5, image.shape), 0, 255).astype(np.uint8))
        truth.append(masks)
    return frames, truth


def overlap(first, second):
    return (first & second).sum() / (first | second).sum()


@pytest.mark.parametrize(("start", "order"), [(0, range(1, COUNT)), (9, range(8, -1, -1))])
def test_int_28_masks_of_several_objects_go_forward_and_backward_from_any_frame(
    footage, start, order
):
    frames, truth = footage
    masks = {number: truth[start][number] for number in (DISC, SQUARE)}
    answers = list(
        propagated(ColourModel(), frames[start], (frames[place] for place in order), masks)
    )
    assert len(answers) == len(order)
    for place, answer in zip(order, answers, strict=True):
        assert set(answer.seen) == {DISC, SQUARE} and answer.ended == ()
        for number, one in answer.seen.items():
            assert overlap(one.mask, truth[place][number]) > 0.8, (place, number)
            assert 0 < one.score <= 1


def test_int_28_an_object_that_leaves_ends_and_is_said_once(footage):
    frames, truth = footage
    answers = list(
        propagated(
            ColourModel(), frames[0], iter(frames[1:]), {TRIANGLE: truth[0][TRIANGLE]},
            rules=PropagationRules(patience=2),
        )
    )  # fmt: skip
    last = max(place for place, answer in enumerate(answers, 1) if TRIANGLE in answer.seen)
    assert 3 <= last <= 5  # 8 of its pixels are left in frame 5
    assert [answer.ended for answer in answers if answer.ended] == [(TRIANGLE,)]
    # Nothing is left to follow, so no further frame is read.
    assert len(answers) == last + 3


def test_int_28_an_object_behind_something_is_found_again(footage):
    frames, truth = [frame.copy() for frame in footage[0]], footage[1]
    for place in (6, 7):
        frames[place][:, 90:200] = (90, 100, 110)  # a curtain for two frames
    answers = list(propagated(ColourModel(), frames[0], frames[1:], {DISC: truth[0][DISC]}))
    seen = [DISC in answer.seen for answer in answers]
    assert seen[:5] == [True] * 5 and seen[5:7] == [False] * 2 and seen[7:] == [True] * 6
    assert overlap(answers[-1].seen[DISC].mask, truth[-1][DISC]) > 0.8


def test_int_28_one_frame_at_a_time_is_read_embedded_once_and_let_go(footage):
    frames, truth = footage
    model, alive = ColourModel(), []

    def stream():
        for frame in frames[1:]:
            gc.collect()
            # The frame before may still be at hand, those before it not.
            assert sum(one() is not None for one in alive) <= 1
            copy = frame.copy()
            alive.append(weakref.ref(copy))
            yield copy
            del copy

    answers = propagated(model, frames[0], stream(), {SQUARE: truth[0][SQUARE]})
    assert model.embedded == 0
    for number, _ in enumerate(answers, 1):
        assert model.embedded == 1 + number
    assert model.embedded == COUNT


def test_int_28_two_objects_never_end_up_as_the_same_pixels(footage):
    frames, truth = footage
    twice = {1: truth[0][SQUARE], 2: truth[0][SQUARE]}
    (answer,) = propagated(ColourModel(), frames[0], frames[1:2], twice)
    assert len(answer.seen) == 1


def test_int_28_bad_input_is_named(footage):
    frames, truth = footage
    model = ColourModel()
    with pytest.raises(PromptError, match="no object to follow"):
        next(propagated(model, frames[0], frames[1:], {}))
    with pytest.raises(PromptError, match="object 4: its mask is empty"):
        next(propagated(model, frames[0], frames[1:], {4: np.zeros(SIZE, bool)}))
    with pytest.raises(PromptError, match=r"object 4: a mask of \(2, 2\)"):
        next(propagated(model, frames[0], frames[1:], {4: np.ones((2, 2), bool)}))
    with pytest.raises(ShapeError, match=r"\(9, 9\) pixels after one of"):
        odd = [np.zeros((9, 9, 3), np.uint8)]
        next(propagated(model, frames[0], odd, {SQUARE: truth[0][SQUARE]}))

    class Broken(ColourModel):
        def decode(self, embedded, prompt, *, previous, several):
            return Decoded(np.full((3, 256, 256), np.nan, np.float32), np.ones(3, np.float32))

    with pytest.raises(ModelOutputError, match="colours"):
        next(propagated(Broken(), frames[0], frames[1:], {SQUARE: truth[0][SQUARE]}))


@pytest.fixture
def folder(footage, tmp_path):
    """frame_1.jpg to frame_14.jpg, and masks of frame_7."""
    frames, truth = footage
    made = tmp_path / "frames"
    made.mkdir()
    for place, frame in enumerate(frames):
        (made / f"frame_{place + 1}.jpg").write_bytes(jpeg_from_image(frame))
    numbers = np.zeros(SIZE, np.uint8)
    for number in (DISC, SQUARE):
        numbers[truth[6][number]] = number
    (tmp_path / "frame_7.png").write_bytes(png_from_mask(numbers))
    return made


def test_int_28_a_folder_of_frames_becomes_a_folder_of_masks(folder, footage, tmp_path):
    out = tmp_path / "out"
    given = sequence_of(folder, tmp_path / "frame_7.png")
    assert [path.stem for path in given.frames[:2]] == ["frame_1", "frame_2"]
    tracks = track(ColourModel(), given, out)
    assert [one.number for one in tracks] == [DISC, SQUARE]
    for place in range(COUNT):
        path = out / f"frame_{place + 1}.png"
        numbers = mask_from_png(path.read_bytes(), path.name)
        assert set(np.unique(numbers)) == {0, DISC, SQUARE}
        assert overlap(numbers == SQUARE, footage[1][place][SQUARE]) > 0.8
    told = json.loads((out / "tracks.json").read_text())
    assert told["start"] == "frame_7"
    assert [len(one["seen"]) for one in told["tracks"]] == [COUNT, COUNT]
    assert told["tracks"][0]["seen"][:2] == ["frame_1", "frame_2"]


def test_int_28_a_folder_that_cannot_be_followed_says_why(folder, tmp_path):
    masks = tmp_path / "frame_7.png"
    with pytest.raises(ConfigError, match="no such folder"):
        sequence_of(tmp_path / "nowhere", masks)
    with pytest.raises(ConfigError, match=r"no frame 'frame_99'.*frame_1, frame_2"):
        sequence_of(folder, tmp_path / "frame_99.png")
    given = sequence_of(folder, masks)
    with pytest.raises(ConfigError, match="holds the frames"):
        track(ColourModel(), given, folder)
    masks.write_bytes(png_from_mask(np.ones((9, 9), np.uint8)))
    with pytest.raises(PromptError, match=r"\(240, 320\) pixels, its masks have \(9, 9\)"):
        track(ColourModel(), sequence_of(folder, masks), tmp_path / "out")
    masks.write_bytes(png_from_mask(np.zeros(SIZE, np.uint8)))
    with pytest.raises(ImageError, match="no object"):
        sequence_of(folder, masks)
    (folder / "frame_9.jpg").write_bytes(b"torn")
    with pytest.raises(ImageError, match=r"frame_9\.jpg"):
        track(ColourModel(), given, tmp_path / "out")
    assert (tmp_path / "out" / "frame_8.png").is_file()  # what was done before stays


def test_int_28_the_command_follows_with_the_shipped_model(folder, tmp_path):
    """What the shipped SAM makes of shapes is another matter; every frame gets its file."""
    for path in folder.iterdir():
        if path.stem not in ("frame_6", "frame_7", "frame_8"):
            path.unlink()
    result = CliRunner().invoke(
        app,
        ["track", str(folder), "--masks", str(tmp_path / "frame_7.png"), "--out",
         str(tmp_path / "out")],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "object 1: seen in" in result.output and "object 2: seen in" in result.output
    assert len(list((tmp_path / "out").glob("*.png"))) == 3
