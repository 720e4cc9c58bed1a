"""LLL-13: pictures of a hold-out among those that train, in whatever clothes they come."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from lifelong.leakage import NEAR, find_leaks, fingerprint
from tests.camvid import CAMVID


def a_street(seed, moved=0.0):
    """240 x 180 RGB: houses with windows and things on a road; `moved` shifts what stands near."""
    random = np.random.default_rng(seed)
    picture = Image.new("RGB", (240, 180), (120, 160, 220))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 100, 240, 180), fill=(90, 90, 90))
    left = 0
    while left < 240:
        width, height = (int(value) for value in random.integers(20, 60, 2))
        colour = tuple(int(value) for value in random.integers(40, 220, 3))
        draw.rectangle((left, 100 - height, left + width, 100), fill=colour)
        for x in range(left + 3, left + width - 5, 9):
            draw.rectangle((x, 106 - height, x + 4, 112 - height), fill=(30, 30, 60))
        left += width
    for _ in range(8):
        x, y = int(random.integers(0, 220)) + moved * 40, int(random.integers(90, 150))
        colour = tuple(int(value) for value in random.integers(0, 255, 3))
        right, bottom = x + int(random.integers(8, 40)), y + int(random.integers(6, 22))
        draw.rectangle((x, y, right, bottom), fill=colour)
    noise = random.normal(0, 4, (180, 240, 3))
    return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))


def encoded_again(picture, quality=50):
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def cropped(picture, left, top, right, bottom):
    width, height = picture.size
    return picture.crop(
        (int(width * left), int(height * top), int(width * (1 - right)), int(height * (1 - bottom)))
    )


def mirrored(picture):
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


DISGUISES = {
    "encoded again": encoded_again,
    "half as large": lambda p: p.resize((p.width // 2, p.height // 2)),
    "of another shape": lambda p: p.resize((int(p.width * 1.7), int(p.height * 1.4))),
    "mirrored": mirrored,
    "brighter": lambda p: ImageEnhance.Brightness(p).enhance(1.4),
    "darker": lambda p: ImageEnhance.Brightness(p).enhance(0.5),
    "other gamma": lambda p: p.point(lambda v: int(255 * (v / 255) ** 1.8)),
    "blurred": lambda p: p.filter(ImageFilter.GaussianBlur(1.2)),
    "cropped": lambda p: cropped(p, 0.03, 0.01, 0.02, 0.05),
    "cropped on one side": lambda p: cropped(p, 0.0, 0.0, 0.08, 0.0),
    "all of it": lambda p: encoded_again(
        ImageEnhance.Brightness(mirrored(cropped(p, 0.02, 0.03, 0.01, 0.02))).enhance(1.2), 60
    ),
}


def prints(**pictures):
    return {name: fingerprint(np.asarray(picture)) for name, picture in pictures.items()}


HOLDOUT = prints(**{f"held{seed}": a_street(seed) for seed in range(5)})


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("seed", [0, 3])
def test_lll13_a_picture_in_other_clothes_is_found(disguise, seed):
    """LLL-13: and the hold-out's picture is named."""
    (leak,) = find_leaks(prints(copy=DISGUISES[disguise](a_street(seed))), HOLDOUT)
    assert (leak.train, leak.holdout) == ("copy", f"held{seed}")
    assert NEAR <= leak.likeness < 1.0
    assert "copy is nearly" in str(leak)


@pytest.mark.parametrize("disguise", ["cropped", "all of it"])
def test_lll13_it_does_not_matter_which_of_the_two_was_cut(disguise):
    """LLL-13: a hold-out of cropped pictures is found among whole ones."""
    holdout = prints(cut=DISGUISES[disguise](a_street(1)), other=a_street(7))
    (leak,) = find_leaks(prints(whole=a_street(1), honest=a_street(2)), holdout)
    assert (leak.train, leak.holdout) == ("whole", "cut")


def test_lll13_equal_pixels_are_found_however_they_are_stored():
    """LLL-13: a PNG of the same pixels has another file and the same fingerprint."""
    (leak,) = find_leaks(prints(again=a_street(2)), HOLDOUT)
    assert leak.likeness == 1.0
    assert str(leak) == "again is held2"


def test_lll13_other_pictures_of_the_same_kind_are_honest():
    """LLL-13: the layout is the same everywhere, the details are not."""
    honest = prints(**{f"train{seed}": a_street(seed) for seed in range(20, 40)})
    assert find_leaks(honest, HOLDOUT) == []


def test_pictures_without_detail_are_like_nothing_but_themselves():
    flat = prints(
        grey=Image.new("RGB", (64, 48), (90, 90, 90)), dark=Image.new("RGB", (64, 48), (9, 9, 9))
    )
    assert find_leaks({"grey": flat["grey"]}, {"dark": flat["dark"]}) == []
    assert len(find_leaks({"grey": flat["grey"]}, {"twin": flat["grey"]})) == 1
    assert find_leaks({}, HOLDOUT) == [] == find_leaks(HOLDOUT, {})


def test_tiny_and_huge_pictures_have_fingerprints():
    for size in ((1, 1), (3, 700), (2000, 1500)):
        picture = Image.new("RGB", size, (40, 80, 120))
        assert fingerprint(np.asarray(picture)).grey.shape == (96, 128)


def test_lll13_real_neighbours_are_honest_and_real_copies_are_not():
    """LLL-13 on CamVid's dusk: frames of one drive, the hold-out a second after the others."""
    folder = CAMVID / "dusk"
    train = sorted((folder / "train" / "images").glob("*.jpg"))[-12:]
    held = sorted((folder / "eval" / "images").glob("*.jpg"))[:12]
    if not train or not held:
        pytest.skip(f"no CamVid in {CAMVID}; its pictures are not part of the repository")
    pictures = {path.stem: Image.open(path).convert("RGB") for path in (*train, *held)}
    holdout = prints(**{path.stem: pictures[path.stem] for path in held})
    assert find_leaks(prints(**{path.stem: pictures[path.stem] for path in train}), holdout) == []
    for disguise in ("encoded again", "all of it"):
        copies = {path.stem: DISGUISES[disguise](pictures[path.stem]) for path in held}
        found = find_leaks(
            prints(**{f"copy-{name}": copy for name, copy in copies.items()}), holdout
        )
        assert [leak.holdout for leak in found] == [path.stem for path in held]
