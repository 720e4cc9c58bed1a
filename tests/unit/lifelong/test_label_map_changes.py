"""LLL-06: one label map becomes another, and labels of the old one are never misread."""

from itertools import pairwise

import numpy as np
import pytest

from lifelong.errors import LabelMapChangeError
from lifelong.labels.map_changes import (
    LabelMapChange,
    change_by_names,
    change_classes,
    composed,
    inverse,
)
from lifelong.records.label_map import IGNORE_INDEX, LabelMap
from lifelong.records.wire import from_json, to_json


def label_map(*names: str) -> LabelMap:
    return LabelMap(names, tuple((10 * i + 1, 2, 3) for i in range(len(names))))


STREET = label_map("road", "building", "car", "bus", "sky")


def test_lll_06_a_new_class_stands_at_the_end_and_older_labels_may_hold_it():
    change = change_classes(STREET, add={"tram": ("building", "bus")}, things=["tram"])
    assert change.after.names == ("road", "building", "car", "bus", "sky", "tram")
    assert change.added == ("tram",)
    assert change.may_be("building") == ("building", "tram")
    assert change.may_be("road") == ("road",)
    assert change.after.things == ("tram",)
    assert change.after.colours[:5] == STREET.colours
    assert change.table()[[0, 1, 4, 5, 255]].tolist() == [0, 1, 4, 255, 255]


def test_lll_06_rename_merge_and_remove_move_ids_and_never_make_class_0_of_anything():
    change = change_classes(
        STREET, rename={"sky": "air"}, merge={"vehicle": ("bus", "car")}, remove=["road"]
    )
    assert change.after.names == ("building", "vehicle", "air")
    # road is gone: unknown, not class 0, which is building now.
    assert change.table()[:6].tolist() == [255, 0, 1, 1, 2, 255]
    assert change.removed == ("road",)
    assert change.renamed == {"sky": "air"}
    assert change.merged == {"vehicle": ("car", "bus")}
    assert change.words() == (
        "rename sky to air",
        "merge car and bus into vehicle",
        "remove road: its pixels become unknown",
    )


def test_lll_06_classes_may_be_merged_into_one_of_them():
    change = change_classes(STREET, merge={"car": ("car", "bus")})
    assert change.after.names == ("road", "building", "car", "sky")
    assert change.became("bus") == "car"


def test_lll_06_names_may_be_exchanged():
    change = change_classes(STREET, rename={"car": "bus", "bus": "car"})
    assert change.after.names == ("road", "building", "bus", "car", "sky")
    assert change.table()[:5].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("operations", "words"),
    [
        ({"rename": {"lorry": "truck"}}, "no class 'lorry'"),
        ({"remove": ["lorry"]}, "no class 'lorry'"),
        ({"add": {"tram": ("lorry",)}}, "no class 'lorry'"),
        ({"add": {"car": ("bus",)}}, "two classes 'car'"),
        ({"add": {" ": ()}}, "two classes ' '"),
        ({"rename": {"bus": "car"}}, "two classes 'car'"),
        ({"rename": {"car": "bus"}}, "two classes 'bus'"),
        ({"rename": {"road": "sky"}}, "two classes 'sky'"),
        ({"rename": {"car": "van"}, "remove": ["car"]}, "two things"),
        ({"merge": {"vehicle": ("car", "bus")}, "rename": {"car": "van"}}, "two things"),
        ({"merge": {"vehicle": ("car",)}}, "two classes or more"),
        ({"merge": {"sky": ("car", "bus")}}, "two classes 'sky'"),
        ({"remove": STREET.names}, "no class would be left"),
    ],
)
def test_lll_06_what_can_be_read_in_two_ways_is_refused(operations, words):
    with pytest.raises(LabelMapChangeError, match=words):
        change_classes(STREET, **operations)


def test_lll_06_another_order_is_told_from_the_names_and_nothing_else_is():
    turned = label_map("sky", "bus", "car", "building", "road")
    change = change_by_names(STREET, turned)
    assert change.table()[:5].tolist() == [4, 3, 2, 1, 0]
    assert change.words() == ("another order",)
    for other in (label_map("road", "building", "car", "bus"), label_map(*STREET.names, "tram")):
        with pytest.raises(LabelMapChangeError, match="cornerloop classes change"):
            change_by_names(STREET, other)


def test_lll_06_two_changes_are_one():
    first = change_classes(STREET, add={"tram": ("building", "bus")})
    second = change_classes(
        first.after, add={"pantograph": ("tram",)}, merge={"vehicle": ("car", "bus")}
    )
    both = composed(first, second)
    assert both.before == STREET and both.after == second.after
    assert both.may_be("building") == ("building", "tram", "pantograph")
    assert both.may_be("bus") == ("vehicle", "tram", "pantograph")
    assert both.may_be("car") == ("vehicle",)
    with pytest.raises(LabelMapChangeError, match="do not join"):
        composed(second, first)


def test_lll_06_a_class_that_was_added_and_removed_again_leaves_older_labels_as_they_were():
    first = change_classes(STREET, add={"tram": ("building",)})
    second = change_classes(first.after, remove=["tram"])
    both = composed(first, second)
    assert both.table().tolist() == change_by_names(STREET, STREET).table().tolist()
    assert second.table()[5] == IGNORE_INDEX


@pytest.mark.parametrize("seed", range(20))
def test_lll_06_composition_is_one_table_after_the_other(seed):
    """For sure ids: chains of random changes give the same table whichever way they are read."""
    rng = np.random.default_rng(seed)
    chain = [random_change(STREET, rng)]
    for _ in range(3):
        chain.append(random_change(chain[-1].after, rng))
    whole = chain[0]
    table = chain[0].table()
    for before, step in pairwise(chain):
        assert before.after.digest == step.before.digest
        whole = composed(whole, step)
        table = step.table()[table]
    assert whole.table().tolist() == table.tolist()
    assert table[IGNORE_INDEX] == IGNORE_INDEX
    for name in STREET.names:  # nothing that may be another class lost its own
        may = whole.may_be(name)
        assert (whole.became(name) is None) == (not may)
        assert not may or may[0] == whole.became(name)


def random_change(before: LabelMap, rng: np.random.Generator) -> LabelMapChange:
    names = [str(name) for name in rng.permutation(before.names)]
    tag = f"{int(rng.integers(10**6))}"
    return change_classes(
        before,
        add={f"new{tag}": names[:2]},
        rename={names[0]: f"renamed{tag}"},
        merge={f"merged{tag}": names[1:3]} if len(names) > 4 and rng.random() < 0.5 else {},
        remove=names[3:4] if len(names) > 4 and rng.random() < 0.5 else [],
    )


def test_lll_06_the_way_back_where_nothing_is_lost():
    change = change_classes(
        STREET, add={"tram": ("building",), "dog": ()}, rename={"sky": "air"}, remove=["car"]
    )
    back = inverse(change)
    assert back.after == STREET
    assert back.became("tram") == "building"
    assert back.became("dog") is None
    assert back.became("air") == "sky"
    assert back.added == ("car",)
    there_and_back = composed(change, back)
    assert [there_and_back.became(name) for name in STREET.names] == [
        "road", "building", None, "bus", "sky",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "operations",
    [{"merge": {"vehicle": ("car", "bus")}}, {"add": {"tram": ("building", "bus")}}],
)
def test_lll_06_no_way_back_from_what_took_several_classes_together(operations):
    with pytest.raises(LabelMapChangeError, match="no way back"):
        inverse(change_classes(STREET, **operations))


def test_lll_06_a_change_is_a_record():
    change = change_classes(STREET, add={"tram": ("building",)}, rename={"sky": "air"})
    assert from_json(LabelMapChange, to_json(change, sealed=True), "here") == change


def test_lll_06_a_record_that_makes_two_of_one_class_is_refused():
    with pytest.raises(LabelMapChangeError, match="two classes at once"):
        LabelMapChange(
            before=STREET, after=label_map("a", "b"), origins={"a": ("car",), "b": ("car",)}
        )
    with pytest.raises(LabelMapChangeError, match="no class lorry"):
        LabelMapChange(before=STREET, after=STREET, origins={"car": ("lorry",)})
