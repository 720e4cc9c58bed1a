"""Captions to noun phrases: our own chunker on what BLIP typically writes, and spaCy's if there."""

import sys
from types import SimpleNamespace

import pytest

from cloud.preannotation.naming.noun_phrases import noun_phraser, noun_phrases


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a man riding a bike down a street", "a man|a bike|a street"),
        ("a red car parked on the side of the road", "a red car|the road"),
        ("a row of parked cars", "parked cars"),
        ("a group of people walking down the street", "people|the street"),
        ("a close up of a traffic light", "a traffic light"),
        ("a close - up of a red brick building", "a red brick building"),
        ("a street sign on a pole", "a street sign|a pole"),
        ("there is a dog that is sitting on the ground", "a dog|the ground"),
        ("a black and white photo of a train", "a train"),
        ("a black and white cat", "a black and white cat"),
        ("a man and a woman walking with their dog", "a man|a woman|their dog"),
        ("a parking lot filled with lots of cars", "a parking lot|cars"),
        ("a parking meter", "a parking meter"),
        ("a tall building with a clock on top of it", "a tall building|a clock"),
        ("the sky is blue", "the sky"),
        ("a bus driving down a city street", "a bus|a city street"),
        ("two men standing next to a truck", "two men|a truck"),
        ("a man ' s hand holding a cell phone", "a man's hand|a cell phone"),
        ("a green leafy tree in front of a white house", "a green leafy tree|a white house"),
        ("a stop sign at an intersection", "a stop sign|an intersection"),
        ("a smiling woman wearing a hat", "a smiling woman|a hat"),
        ("a painting of a boat in the water", "a painting|a boat|the water"),
        ("a train traveling down train tracks next to a forest", "a train|train tracks|a forest"),
        ("a person on a motorcycle", "a person|a motorcycle"),
        ("people sit at tables outside a restaurant", "people|tables|a restaurant"),
        ("a brightly colored bus", "a brightly colored bus"),
        ("a bird perched on a branch", "a bird|a branch"),
        ("a view of a city from the window of a car", "a city|the window|a car"),
        ("cars, trucks and buses", "cars|trucks|buses"),
        ("a large swimming pool", "a large swimming pool"),
        ("a light on a ceiling", "a light|a ceiling"),
        ("a car and a car", "a car"),
        ("the back of a truck", "a truck"),
        ("a man dressed in black", "a man"),
        ("a very tall building that has a sign", "a very tall building|a sign"),
        ("the sky is very blue", "the sky"),
        ("people stand at a fruit stand", "people|a fruit stand"),
        ("two men walk on a cross walk", "two men|a cross walk"),
        ("a sign that says stop", "a sign|stop"),
        ("people crossing the street at a zebra crossing", "people|the street|a zebra crossing"),
        ("Graffiti on a Wall", "graffiti|a wall"),
        ("it is", ""),
        ("", ""),
        ("...", ""),
    ],
)
def test_pre_05_a_caption_names_things(caption, expected):
    assert "|".join(noun_phrases(caption)) == expected


def test_spacy_is_asked_where_it_is_installed(monkeypatch):
    chunks = [SimpleNamespace(text="a man"), SimpleNamespace(text="it"), SimpleNamespace(text="it")]
    loaded = []

    def load(model):
        loaded.append(model)
        return lambda caption: SimpleNamespace(noun_chunks=chunks)

    monkeypatch.setitem(sys.modules, "spacy", SimpleNamespace(load=load))
    assert noun_phraser()("whatever") == ("a man", "it")
    assert loaded == ["en_core_web_sm"]


def test_without_spacy_or_its_model_our_own_reading_is_taken(monkeypatch):
    def load(model):
        raise OSError(f"can't find model {model}")

    monkeypatch.setitem(sys.modules, "spacy", None)  # import fails
    assert noun_phraser() is noun_phrases
    monkeypatch.setitem(sys.modules, "spacy", SimpleNamespace(load=load))
    assert noun_phraser() is noun_phrases
