"""EDGE-10: what is taken out of a picture before it is kept."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from edge.delivery.example_files import example_files
from edge.privacy import (
    MIN_CROP_SHARE,
    SPOTS,
    Privacy,
    dilated,
    doubtful_box,
    spot_side,
    unrecognisable,
)
from lifelong.errors import ConfigError
from lifelong.hard_examples import Verdict, judge
from lifelong.records.pixels import image_from_bytes, jpeg_from_image, mask_from_png
from lifelong.sections.edge import HardExamplesSection, PrivacySection
from tests.builders import HEIGHT, SMALL_MAP, WIDTH, a_frame, a_jpeg, a_prediction
from tests.edge_fixtures import with_exif

ROAD, CAR, PERSON = 0, 1, 2


def noise(seed: int = 0, height: int = 96, width: int = 128):
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (height, width, 3), dtype=np.uint8)


def with_person(height: int = 96, width: int = 128, box=(40, 20, 79, 83)):
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[box[1] : box[3] + 1, box[0] : box[2] + 1] = PERSON
    return mask


def a_verdict(prediction) -> Verdict:
    return judge(prediction, HardExamplesSection(policy="cloud_only"), {}, 0.5)


def applied(frame, prediction, **section):
    privacy = Privacy(PrivacySection(**section), SMALL_MAP)
    return privacy.applied(frame, prediction, a_verdict(prediction))


def test_without_settings_only_the_cameras_own_file_is_let_go():
    frame = a_frame(encoded=a_jpeg())
    prediction = a_prediction()
    kept, answered = applied(frame, prediction)
    assert np.array_equal(kept.image, frame.image)
    assert np.array_equal(answered.mask, prediction.mask)
    assert kept.attributes == frame.attributes
    assert kept.encoded is None


def test_edge_10_pixels_of_a_class_are_replaced_and_no_others():
    mask = with_person()
    frame = a_frame(image=noise())
    kept, answered = applied(frame, a_prediction(mask=mask), blur=("person",), margin_px=0)
    changed = (kept.image != frame.image).any(axis=2)
    assert not changed[mask != PERSON].any()
    assert changed[mask == PERSON].mean() > 0.99
    assert np.array_equal(answered.mask, mask), "the class itself is no secret"
    assert np.array_equal(frame.image, noise()), "the frame in memory is not touched"


def test_edge_10_the_margin_reaches_beyond_the_mask():
    mask = with_person()
    frame = a_frame(image=noise())
    kept, _ = applied(frame, a_prediction(mask=mask), blur=("person",), margin_px=8)
    changed = (kept.image != frame.image).any(axis=2)
    assert changed[12:92, 32:88].mean() > 0.99
    outside = np.ones_like(changed)
    outside[12:92, 32:88] = False
    assert not changed[outside].any()


@pytest.mark.parametrize("seed", range(5))
def test_edge_10_fine_detail_cannot_be_read_back(seed):
    """Shuffling the pixels inside each spot changes nothing: only the spots' means are left."""
    mask = with_person()
    box = (40, 20, 79, 83)
    side = spot_side(box)
    image, random = noise(seed), np.random.default_rng(seed + 100)
    shuffled = image.copy()
    for y in range(box[1], box[3] + 1, side):
        for x in range(box[0], box[2] + 1, side):
            spot = np.s_[y : min(y + side, box[3] + 1), x : min(x + side, box[2] + 1)]
            pixels = shuffled[spot]
            flat = random.permutation(pixels.reshape(-1, 3))
            shuffled[spot] = flat.reshape(pixels.shape)
    assert (shuffled != image)[mask == PERSON].mean() > 0.9
    first, second = (unrecognisable(picture, mask == PERSON) for picture in (image, shuffled))
    assert np.array_equal(first, second)


def test_edge_10_a_message_written_in_the_pixels_survives_a_gaussian_blur_but_not_this():
    """256 bits as light and dark squares of 4 pixels; the reader compares each with the mean of
    the 5 x 5 squares around it."""
    bits = np.random.default_rng(4).integers(0, 2, (16, 16)).astype(bool)
    image = np.full((96, 96, 3), 128, dtype=np.uint8)
    image[16:80, 16:80] = np.where(np.kron(bits, np.ones((4, 4), bool)), 200, 60)[..., None]
    region = np.zeros((96, 96), dtype=bool)
    region[16:80, 16:80] = True

    def read(picture) -> float:
        cells = picture[16:80, 16:80, 0].reshape(16, 4, 16, 4).mean(axis=(1, 3))
        around = np.lib.stride_tricks.sliding_window_view(np.pad(cells, 2, mode="edge"), (5, 5))
        return float(((cells > around.mean(axis=(2, 3))) == bits).mean())

    blurred = np.array(Image.fromarray(image).filter(ImageFilter.GaussianBlur(2)))
    assert read(blurred) > 0.95
    assert read(unrecognisable(image, region)) < 0.65


@pytest.mark.parametrize("longer", [10, 40, 64, 300, 4000])
def test_edge_10_a_piece_keeps_a_few_colours_whatever_its_size(longer):
    box = (0, 0, longer // 2, longer - 1)
    assert -(-longer // spot_side(box)) <= SPOTS
    image = noise(1, longer + 20, longer + 20)
    region = np.zeros(image.shape[:2], dtype=bool)
    region[: box[3] + 1, : box[2] + 1] = True
    if longer <= 300:
        # Far from the spots' edges the colour is the mean itself.
        side = spot_side(box)
        middle = unrecognisable(image, region)[min(side, longer) // 2, min(side, longer // 2) // 2]
        spot = image[: min(side, longer), : min(side, longer // 2 + 1)]
        assert np.abs(middle.astype(float) - spot.reshape(-1, 3).mean(axis=0)).max() <= 12


def test_edge_10_a_person_that_another_class_beat_by_a_little_is_blurred_too():
    mask = np.zeros((96, 128), dtype=np.uint8)
    likely = np.zeros((12, 16), dtype=np.float32)  # the network's own resolution
    likely[4:8, 6:9] = 0.3
    frame = a_frame(image=noise())
    prediction = replace(a_prediction(mask=mask), watched={PERSON: likely})
    kept, _ = applied(frame, prediction, blur=("person",), margin_px=0, from_probability=0.2)
    assert (kept.image != frame.image).any(axis=2)[40:56, 56:64].mean() > 0.99
    sure, _ = applied(frame, prediction, blur=("person",), margin_px=0, from_probability=1.0)
    assert np.array_equal(sure.image, frame.image)


def test_edge_10_two_unlikely_classes_count_together_and_no_number_counts_as_likely():
    prediction = replace(
        a_prediction(mask=np.zeros((HEIGHT, WIDTH), np.uint8)),
        watched={c: np.full((6, 8), 0.15, np.float32) for c in (CAR, PERSON)},
    )
    frame = a_frame(image=noise(0, HEIGHT, WIDTH))
    one, _ = applied(frame, prediction, blur=("person",), from_probability=0.2)
    assert np.array_equal(one.image, frame.image)
    both, _ = applied(frame, prediction, blur=("person", "car"), from_probability=0.2)
    assert (both.image != frame.image).any(axis=2).mean() > 0.99
    nan = replace(prediction, watched={PERSON: np.full((6, 8), np.nan, np.float32)})
    doubt, _ = applied(frame, nan, blur=("person",))
    assert (doubt.image != frame.image).any(axis=2).mean() > 0.99


@pytest.mark.parametrize(
    ("share", "drop_share", "kept"),
    [(0.0, 0.0, True), (0.001, 0.0, False), (0.04, 0.05, True), (0.06, 0.05, False)],
)
def test_edge_10_a_frame_that_shows_a_class_is_not_kept(share, drop_share, kept):
    mask = np.zeros(48 * 64, dtype=np.uint8)
    mask[: round(share * mask.size)] = PERSON
    prediction = a_prediction(mask=mask.reshape(48, 64))
    result = applied(a_frame(), prediction, drop=("person",), drop_share=drop_share)
    assert (result is not None) == kept


@pytest.mark.parametrize(
    ("novelty", "kept"), [(0.3, True), (0.5, False), (0.9, False), (float("nan"), False)]
)
def test_edge_10_a_frame_too_novel_for_the_filter_to_be_trusted_is_not_kept(novelty, kept):
    prediction = replace(a_prediction(), novelty=novelty)
    assert (applied(a_frame(), prediction, drop_novel_from=0.5) is not None) == kept
    assert applied(a_frame(), prediction) is not None
    assert applied(a_frame(), a_prediction(), drop_novel_from=0.5) is None, "nobody can tell"


def test_edge_10_only_the_doubtful_box_is_kept_of_picture_and_mask_alike():
    entropy = np.full((96, 128), 0.05, dtype=np.float32)
    entropy[30:60, 64:100] = 0.9
    mask = with_person()
    image = noise()
    prediction = a_prediction(mask=mask, entropy=entropy)
    frame = a_frame(image=image)
    kept, answered = applied(frame, prediction, crop="doubtful", attributes=("condition",))
    x0, y0, x1, y1 = doubtful_box(entropy)
    assert x0 <= 64 and y0 <= 30 and x1 >= 99 and y1 >= 59
    assert (x1 - x0 + 1) * (y1 - y0 + 1) < 0.35 * mask.size
    assert np.array_equal(kept.image, image[y0 : y1 + 1, x0 : x1 + 1])
    assert np.array_equal(answered.mask, mask[y0 : y1 + 1, x0 : x1 + 1])
    assert answered.entropy.shape == answered.mask.shape == kept.image.shape[:2]
    assert kept.attributes == {"condition": "day", "crop": f"{x0},{y0},{x1},{y1} of 128x96"}


def test_edge_10_a_picture_doubtful_all_over_stays_whole():
    frame = a_frame()
    kept, _ = applied(frame, a_prediction(0.4), crop="doubtful")
    assert kept.image.shape == frame.image.shape
    assert "crop" not in kept.attributes


@pytest.mark.parametrize("seed", range(20))
def test_edge_10_a_box_lies_in_the_picture_and_holds_the_most_doubtful_pixel(seed):
    random = np.random.default_rng(seed)
    height, width = int(random.integers(1, 90)), int(random.integers(1, 90))
    entropy = np.zeros((height, width), dtype=np.float32)
    y, x = int(random.integers(height)), int(random.integers(width))
    entropy[y, x] = random.choice([1.0, np.nan])
    x0, y0, x1, y1 = doubtful_box(entropy)
    assert 0 <= x0 <= x <= x1 < width
    assert 0 <= y0 <= y <= y1 < height
    assert (x1 - x0 + 1) >= MIN_CROP_SHARE * width
    assert (y1 - y0 + 1) >= MIN_CROP_SHARE * height


def test_edge_10_only_named_attributes_leave():
    frame = a_frame(attributes={"site": "north", "gps": "48.1,11.5", "condition": "night"})
    kept, _ = applied(frame, a_prediction(), attributes=("site",))
    assert kept.attributes == {"site": "north"}
    nothing, _ = applied(frame, a_prediction(), attributes=())
    assert nothing.attributes == {}


def test_edge_10_no_exif_no_place_no_thumbnail_no_profile_in_what_is_stored():
    thumbnail = b"\xff\xd8THUMBNAIL-OF-A-FACE\xff\xd9"
    buffer = io.BytesIO()
    Image.open(io.BytesIO(with_exif(a_jpeg(), orientation=1))).save(
        buffer,
        format="JPEG",
        exif=Image.open(io.BytesIO(with_exif(a_jpeg(), orientation=1))).getexif(),
        icc_profile=b"PROFILE-OF-A-CAMERA" * 10,
        comment=b"taken by anna" + thumbnail,
    )
    camera = buffer.getvalue()
    assert b"THUMBNAIL" in camera and b"PROFILE-OF" in camera and b"Exif" in camera
    frame = a_frame(image=image_from_bytes(camera, "camera"), encoded=camera)
    prediction = a_prediction()
    kept, answered = applied(frame, prediction, blur=("person",))
    _, files = example_files(kept, answered, a_verdict(prediction))
    for data in files.values():
        for secret in (b"Exif", b"THUMBNAIL", b"PROFILE-OF", b"ICC_PROFILE", b"anna", b"GPS"):
            assert secret not in data
    stored = Image.open(io.BytesIO(files["image.jpg"]))
    assert not stored.getexif()
    assert set(stored.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    segments = {marker for marker, _ in stored.applist}
    assert segments <= {"APP0"}, segments
    assert mask_from_png(files["mask.png"], "mask").shape == kept.image.shape[:2]


def test_edge_10_what_was_blurred_stays_so_in_the_stored_jpeg():
    mask = with_person()
    frame = a_frame(image=noise())
    kept, _ = applied(frame, a_prediction(mask=mask), blur=("person",), margin_px=0)
    stored = image_from_bytes(jpeg_from_image(kept.image), "stored").astype(float)
    before = frame.image.astype(float)
    deep = np.s_[30:74, 50:70]
    assert before[deep].std() > 70
    assert stored[deep].std() < 15


@pytest.mark.parametrize("key", ["blur", "drop"])
def test_edge_10_an_unknown_class_is_told_with_its_key(key):
    with pytest.raises(ConfigError, match=rf"edge\.privacy\.{key}: no class 'persn'.*person"):
        Privacy(PrivacySection.model_validate({key: ("persn",)}), SMALL_MAP)


def test_the_classes_worth_watching():
    section = PrivacySection(blur=("person",), drop=("car", "person"))
    assert Privacy(section, SMALL_MAP).watched == (CAR, PERSON)
    off = section.model_copy(update={"from_probability": 1.0})
    assert Privacy(off, SMALL_MAP).watched == ()
    assert Privacy(PrivacySection(), SMALL_MAP).watched == ()


def test_dilation_is_that_of_a_square():
    region = np.zeros((9, 11), dtype=bool)
    region[4, 5] = region[0, 0] = True
    expected = np.zeros_like(region)
    expected[2:7, 3:8] = expected[:3, :3] = True
    assert np.array_equal(dilated(region, 2), expected)
    assert np.array_equal(dilated(region, 0), region)
    assert dilated(region, 50).all()
    assert not dilated(np.zeros((3, 3), bool), 2).any()
