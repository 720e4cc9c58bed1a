"""LLL-06: masks of older label maps, read as labels of the present one."""

import numpy as np
import pytest

from lifelong.errors import CorruptRecordError, LabelMapChangeError, LabelMapError
from lifelong.labels.map_changes import change_classes
from lifelong.labels.map_history import LabelMapHistory, read_history, record_change
from lifelong.labels.readings import LabelReader, plain_codes
from lifelong.links.storage import open_storage
from lifelong.records.label_map import LabelMap
from lifelong.records.wire import to_json


def label_map(*names: str) -> LabelMap:
    return LabelMap(names, tuple((10 * i + 1, 2, 3) for i in range(len(names))))


STREET = label_map("road", "building", "car", "bus", "sky")
WITH_TRAM = change_classes(STREET, add={"tram": ("building", "bus")})
THEN = change_classes(WITH_TRAM.after, merge={"vehicle": ("car", "bus")}, remove=["road"])
OLD = np.array([[0, 1, 2, 3, 4, 255]], dtype=np.uint8)


def test_lll_06_an_old_label_that_may_hold_a_new_class_is_read_as_a_code_for_both():
    reader = LabelReader(LabelMapHistory(WITH_TRAM.after, [WITH_TRAM]))
    read = reader.read(OLD, STREET.digest, "here")
    assert read[0, [0, 2, 4, 5]].tolist() == [0, 2, 4, 255]
    building, bus = int(read[0, 1]), int(read[0, 3])
    assert {building, bus} == {253, 254}
    assert np.flatnonzero(reader.codes.members[building]).tolist() == [1, 5]
    assert np.flatnonzero(reader.codes.members[bus]).tolist() == [3, 5]
    assert reader.sure(OLD, STREET.digest, "here").tolist() == OLD.tolist()
    new = np.array([[0, 1, 5, 255]], dtype=np.uint8)
    assert reader.read(new, WITH_TRAM.after.digest, "here").tolist() == new.tolist()


def test_lll_06_masks_of_before_any_change_say_nothing_and_are_of_the_first_label_map():
    reader = LabelReader(LabelMapHistory(THEN.after, [WITH_TRAM, THEN]))
    assert THEN.after.names == ("building", "vehicle", "sky", "tram")
    assert reader.sure(OLD, "", "here").tolist() == [[255, 0, 1, 1, 2, 255]]
    assert reader.pixels({0: 5, 1: 7, 2: 1, 3: 2, 255: 4}, "", "here") == {0: 7, 1: 3, 255: 9}


def test_lll_06_without_changes_every_mask_is_read_as_it_is():
    reader = LabelReader(LabelMapHistory(STREET))
    assert reader.codes.are_plain
    assert reader.read(OLD, "", "here").tolist() == OLD.tolist()


def test_lll_06_an_unknown_label_map_or_id_is_an_error_and_not_a_guess():
    reader = LabelReader(LabelMapHistory(WITH_TRAM.after, [WITH_TRAM]))
    with pytest.raises(LabelMapChangeError, match=r"mask 7.*cornerloop classes change"):
        reader.read(OLD, "0123456789abcdef", "mask 7")
    with pytest.raises(LabelMapError, match=r"mask 7: class ids \[5\]"):
        reader.read(np.array([[5]], dtype=np.uint8), STREET.digest, "mask 7")
    other = label_map("road", "house")
    stranger = LabelReader(LabelMapHistory(WITH_TRAM.after, [WITH_TRAM], others=[other]))
    with pytest.raises(LabelMapChangeError, match="gone: house"):
        stranger.read(np.array([[1]], dtype=np.uint8), other.digest, "mask 7")


def test_lll_06_an_answer_that_may_be_right_counts_as_right_and_no_other():
    reader = LabelReader(LabelMapHistory(WITH_TRAM.after, [WITH_TRAM]))
    truth = reader.read(np.array([[1, 1, 1, 0, 255, 1]], dtype=np.uint8), STREET.digest, "here")
    answer = np.array([[1, 5, 2, 5, 5, 255]], dtype=np.uint8)
    assert reader.codes.right(truth, answer).tolist() == [[1, 1, 2, 5, 5, 255]]


def test_lll_06_more_kinds_of_labels_than_a_byte_has_are_refused():
    many = label_map(*(f"c{i}" for i in range(250)))
    change = change_classes(many, add={"new": [f"c{i}" for i in range(10)]})
    with pytest.raises(LabelMapChangeError, match="251 classes"):
        LabelReader(LabelMapHistory(change.after, [change]))


def test_lll_06_plain_codes_stand_for_themselves():
    codes = plain_codes(3)
    assert codes.are_plain
    assert codes.members.sum() == 3
    assert codes.sure[[0, 2, 3, 255]].tolist() == [0, 2, 255, 255]


def test_lll_06_changes_are_kept_in_storage_one_after_the_other(tmp_path):
    storage = open_storage(str(tmp_path / "storage"))
    assert read_history(storage, STREET).first == STREET
    assert record_change(storage, WITH_TRAM)
    assert not record_change(storage, WITH_TRAM)
    assert record_change(storage, THEN)
    history = read_history(storage, THEN.after)
    assert [m.digest for m in history.maps] == [
        STREET.digest, WITH_TRAM.after.digest, THEN.after.digest,
    ]  # fmt: skip
    assert history.since(STREET).became("bus") == "vehicle"
    with pytest.raises(LabelMapChangeError, match="the newest one is"):
        record_change(storage, WITH_TRAM)


def test_lll_06_a_chain_with_a_hole_is_refused(tmp_path):
    storage = open_storage(str(tmp_path / "storage"))
    record_change(storage, WITH_TRAM)
    storage.put("label_maps/000002.json", to_json(WITH_TRAM))
    with pytest.raises(CorruptRecordError, match="000002"):
        read_history(storage, WITH_TRAM.after)


def test_lll_06_masks_of_the_newer_map_are_read_in_the_older_one_where_nothing_is_lost():
    """Somebody put the old configuration back."""
    change = change_classes(STREET, add={"tram": ("building",)})
    reader = LabelReader(LabelMapHistory(STREET, [change]))
    newer = np.array([[1, 5, 3]], dtype=np.uint8)
    assert reader.read(newer, change.after.digest, "here").tolist() == [[1, 1, 3]]
    lossy = LabelReader(LabelMapHistory(STREET, [WITH_TRAM]))
    with pytest.raises(LabelMapChangeError):
        lossy.read(newer, WITH_TRAM.after.digest, "here")


def test_lll_06_a_label_map_that_comes_back_needs_no_way():
    away = change_classes(STREET, remove=["sky"])
    back = change_classes(away.after, add={"sky": ()})
    assert back.after.digest == STREET.digest
    reader = LabelReader(LabelMapHistory(STREET, [away, back]))
    assert reader.read(OLD, STREET.digest, "here").tolist() == OLD.tolist()
    assert reader.read(OLD[:, :4], away.after.digest, "here").tolist() == [[0, 1, 2, 3]]
