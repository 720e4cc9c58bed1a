"""UX-07: class colours are unique and told apart by every kind of colour vision."""

from pathlib import Path

import numpy as np
import pytest

from lifelong.config import Config, load_label_map, read_label_map
from lifelong.errors import ConfigError, LabelMapError
from lifelong.records.colours import distances, distinct_colours
from lifelong.records.label_map import CITYSCAPES


def _smallest(colours: object) -> float:
    apart = distances(np.array(colours, dtype=np.float64))
    return float(apart[~np.eye(len(apart), dtype=bool)].min())


@pytest.mark.parametrize(("count", "least"), [(5, 0.22), (10, 0.13), (19, 0.075), (255, 0.016)])
def test_ux_07_colours_are_unique_and_far_apart_for_every_eye(count: int, least: float) -> None:
    colours = distinct_colours(count)
    assert len(set(colours)) == count
    assert _smallest(colours) >= least


def test_ux_07_the_safe_colours_are_further_apart_than_the_data_sets() -> None:
    assert _smallest(distinct_colours(19)) > 4 * _smallest(CITYSCAPES.colours)


def test_ux_07_a_class_keeps_its_colour_when_others_are_added() -> None:
    assert distinct_colours(40)[:19] == distinct_colours(19)
    with pytest.raises(LabelMapError, match="not 256"):
        distinct_colours(256)


def test_ux_07_distance_is_that_of_the_worst_kind_of_vision() -> None:
    """Red and a green of the same lightness: far apart for most, close without middle cones."""
    red_green = distances(np.array([[200, 60, 60], [110, 120, 40]], dtype=np.float64))
    blue_yellow = distances(np.array([[60, 60, 200], [200, 190, 60]], dtype=np.float64))
    assert red_green[0, 1] < 0.1 < 0.3 < blue_yellow[0, 1]


def test_ux_07_one_label_map_gives_label_studio_overlays_and_pages_their_colours() -> None:
    assert load_label_map(Config()).colours == distinct_colours(19)
    assert load_label_map(Config(colours="data_set")).colours == CITYSCAPES.colours
    assert load_label_map(Config()).things == CITYSCAPES.things


def test_ux_07_colours_and_things_of_a_file_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    path.write_text(
        '{"classes": [{"name": "floor"}, {"name": "box", "colour": [1, 2, 3], "thing": true}]}'
    )
    label_map = read_label_map(path)
    assert label_map.colours == (distinct_colours(1)[0], (1, 2, 3))
    assert label_map.things == ("box",)
    path.write_text('{"classes": [{"name": "floor", "colour": [1, 2]}]}')
    with pytest.raises(ConfigError, match=r"map\.json"):
        read_label_map(path)
