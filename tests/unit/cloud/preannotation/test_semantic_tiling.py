"""PRE-13: large pictures in tiles, and nobody can tell where the tiles were."""

from itertools import pairwise

import numpy as np
import pytest

from cloud.preannotation.semantic.tiling import TiledLabeler, faded, tile_places
from lifelong.errors import ConfigError


def by_colour(image):
    """Purely local, and no round numbers: a table from the red value to five probabilities."""
    table = np.random.default_rng(7).dirichlet(np.ones(5), size=256).astype(np.float32)
    return np.ascontiguousarray(table[image[..., 0]].transpose(2, 0, 1))


def noise(height, width):
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(300, 700), (129, 128), (128, 1000), (515, 257), (40, 900)])
def test_pre_13_a_local_labeler_answers_exactly_as_without_tiles(size):
    image = noise(*size)

    tiled = TiledLabeler(by_colour, name="colour", tile_px=128).label(image)

    assert np.array_equal(tiled, by_colour(image))
    assert tiled.dtype == np.float32


def test_a_picture_not_larger_than_a_tile_is_labelled_as_it_is():
    image, seen = noise(128, 100), []

    def label(picture):
        seen.append(picture.shape)
        return by_colour(picture)

    answer = TiledLabeler(label, name="colour", tile_px=128).label(image)

    assert seen == [(128, 100, 3)]
    assert np.array_equal(answer, by_colour(image))


@pytest.mark.parametrize(("tile", "size"), [(128, (300, 900)), (256, (256, 2000)), (64, (150, 90))])
def test_pre_13_tiles_that_disagree_wholly_leave_no_seam(tile, size):
    """The worst case: every tile answers another constant between 0 and 1. Between neighbouring
    pixels the blend changes by no more than one step of a cosine over the smallest overlap."""
    rng = np.random.default_rng(0)

    def moody(picture):
        return np.full((1, *picture.shape[:2]), rng.random(), dtype=np.float32)

    answer = TiledLabeler(moody, name="moody", tile_px=tile).label(noise(*size))[0]

    bound = np.pi / 2 / max(32, tile // 4)
    assert np.abs(np.diff(answer, axis=0)).max() <= bound
    assert np.abs(np.diff(answer, axis=1)).max() <= bound
    assert answer.min() >= 0 and answer.max() <= 1


def test_pre_13_a_labeler_that_depends_on_its_place_in_the_tile_shows_no_step():
    """Answers that rise from 0 at a tile's left side to 1 at its right side: side by side they
    would jump by 1; blended, a pixel differs from the next by a cosine's step plus its own rise."""
    tile = 128

    def by_place(picture):
        height, width = picture.shape[:2]
        return np.tile(np.linspace(0, 1, width, dtype=np.float32), (1, height, 1))

    answer = TiledLabeler(by_place, name="place", tile_px=tile).label(noise(tile, 1000))[0]

    assert np.abs(np.diff(answer, axis=1)).max() <= np.pi / 2 / 32 + 1 / (tile - 1)


@pytest.mark.parametrize("tile", [64, 100, 128, 1024])
def test_tiles_cover_everything_and_share_a_quarter(tile):
    for side in (*range(tile - 1, 3 * tile, max(1, tile // 37)), 12000):
        places = tile_places(side, tile)
        assert places[0][0] == 0
        assert places[-1][1] == side
        shared = [a[1] - b[0] for a, b in pairwise(places)]
        assert all(overlap >= max(32, tile // 4) - 1 for overlap in shared)
        assert all((end - start) == min(tile, side) for start, end in places)
        assert all((weight > 0).all() and weight.max() <= 1 for weight in faded(places))


def test_tiles_too_small_to_overlap_are_refused():
    with pytest.raises(ConfigError, match=r"preannotation\.semantic\.tile_px: 63"):
        TiledLabeler(by_colour, name="colour", tile_px=63)
