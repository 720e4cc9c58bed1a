"""INT-19: words to a project's own labels."""

import pytest

from cloud.preannotation.ontology import ontology_of
from cloud.preannotation.word_labels import labels_of, phrases_of
from lifelong.errors import PromptError
from lifelong.records.label_map import CITYSCAPES, label_map_of

STREET = ontology_of(CITYSCAPES)


def meant(phrase, labels, *, ontology=STREET, names=CITYSCAPES.names):
    return labels_of([phrase], labels, ontology, names)[phrase]


def test_int_19_phrases_are_parted_as_people_write_them():
    assert phrases_of(["car . Traffic Light.", "a person, the road;car|bus\nvan"]) == (
        "car", "traffic light", "a person", "the road", "bus", "van",
    )  # fmt: skip
    assert phrases_of(["", " ,;. ", "…"]) == ()


@pytest.mark.parametrize(
    ("phrase", "label"),
    [
        ("car", "Car"),
        ("cars", "Car"),
        ("the cars", "Car"),
        ("parked car", "Car"),
        ("two red cars on the road", "Car"),
        ("taxi", "Car"),  # the label map's words: a taxi is a car
        ("traffic lights", "traffic_light"),
        ("man", "person"),
        ("row of people", "person"),
        ("big lorry", "Truck"),
    ],
)
def test_int_19_a_phrase_is_the_label_that_it_means(phrase, label):
    assert meant(phrase, ["Car", "traffic_light", "person", "Truck"]) == label


@pytest.mark.parametrize("phrase", ["zebra", "car park", "light", "cars and trucks", "hund"])
def test_int_19_words_that_no_label_can_mean_are_refused_with_the_labels(phrase):
    with pytest.raises(PromptError, match=r"no label of this project.*Car, traffic_light, Truck"):
        meant(phrase, ["Car", "traffic_light", "Truck"])


def test_int_19_one_lost_phrase_among_others_is_named_and_nothing_is_guessed():
    with pytest.raises(PromptError, match="'zebra', 'moon': no label"):
        labels_of(["car", "zebra", "moon"], ["Car", "Truck"], STREET, CITYSCAPES.names)


def test_int_19_a_project_with_one_label_means_that_one_by_any_words():
    assert meant("striped zebra", ["Animal"]) == "Animal"
    assert meant("zebra", ["Animal", "Animal"]) == "Animal"


def test_int_19_a_labels_own_words_go_before_those_of_the_label_map():
    # Both are a car in the label map's words, so only the project's own words part them.
    labels = ["Taxi", "Sedan"]
    assert meant("yellow taxi", labels) == "Taxi"
    assert meant("sedans", labels) == "Sedan"
    with pytest.raises(PromptError, match="Taxi, Sedan"):
        meant("car", labels)


def test_int_19_two_labels_of_one_form_go_by_their_exact_names():
    assert meant("car", ["car", "Cars", "bus"]) == "car"
    with pytest.raises(PromptError):
        meant("red car", ["Car", "Cars", "bus"])


def test_int_19_labels_in_other_scripts_are_labels_too():
    plain = label_map_of([("Straße", (1, 2, 3)), ("大巴", (4, 5, 6))])
    ontology = ontology_of(plain)
    assert meant("大巴", ["大巴", "Straße"], ontology=ontology, names=plain.names) == "大巴"
    (phrase,) = phrases_of(["STRASSE"])
    assert meant(phrase, ["大巴", "Straße"], ontology=ontology, names=plain.names) == "Straße"


def test_int_19_no_words_and_no_labels_say_what_to_do():
    with pytest.raises(PromptError, match="type what to look for"):
        labels_of([], ["Car"], STREET, CITYSCAPES.names)
    with pytest.raises(PromptError, match="no labels"):
        labels_of(["car"], [], STREET, CITYSCAPES.names)
