"""PRE-06: free names to classes, and never a class that nobody meant."""

import pytest

from cloud.preannotation.naming.english import singular, words_of
from cloud.preannotation.ontology import CITYSCAPES_WORDS, ontology_of, read_ontology
from lifelong.errors import ConfigError
from lifelong.records.label_map import CITYSCAPES, label_map_of

SMALL = label_map_of([("car", (1, 0, 0)), ("person", (2, 0, 0)), ("traffic light", (3, 0, 0))])


def written(tmp_path, text):
    path = tmp_path / "words.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def own(tmp_path):
    return read_ontology(
        written(
            tmp_path,
            "classes:\n"
            '  car: [sedan, taxi, "parked cars"]\n'
            "  person: [man, woman, pedestrian, child]\n"
            "unknown: [toy car, dining car]\n",
        ),
        SMALL,
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("car", "car"),
        ("Cars ", "car"),
        ("two red cars", "car"),
        ("A Taxi", "car"),
        ("his sedan", "car"),
        ("red parked car", "car"),
        ("car park", None),
        ("car-park", None),
        ("toy car", None),
        ("a red toy car", None),
        ("dining cars", None),
        ("person", "person"),
        ("people", None),  # a plural of its own: only a synonym makes it a person
        ("children", "person"),
        ("traffic_light", "traffic light"),
        ("traffic-light", "traffic light"),
        ("Traffic Lights", "traffic light"),
        ("traffic light, stoplight", "traffic light"),
        ("stoplight; traffic light", "traffic light"),
        ("light", None),
        ("man riding a bike", "person"),
        ("man on a car", "person"),
        ("car driven by a man", "car"),
        ("row of parked cars", "car"),
        ("two of the cars", "car"),
        ("side of a car", None),
        ("a man and a woman", "person"),
        ("a man and a car", None),
        ("man's car", "car"),
        ("car's", None),
        ("", None),
        ("  ", None),
        ("?!", None),
        ("the", None),
    ],
)
def test_pre_06_a_name_means_a_class_or_none(own, name, expected):
    found = own.class_of(name)
    assert (None if found is None else SMALL.names[found]) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # COCO's and ADE20K's own names
        ("sky-other-merged", "sky"),
        ("tree-merged", "vegetation"),
        ("building-other-merged", "building"),
        ("pavement-merged", "sidewalk"),
        ("wall-brick", "wall"),
        ("grass-merged", "terrain"),
        ("stop sign", "traffic sign"),
        ("potted plant", None),
        ("parking meter", None),
        ("bed ", None),
        ("car, auto, automobile, machine, motorcar", "car"),
        ("minibike, motorbike", "motorcycle"),
        ("streetlight, street lamp", "pole"),
        ("signboard, sign", None),
        ("earth, ground", "terrain"),
        ("van", "car"),
        ("windowpane, window", "building"),
        # what captions say
        ("a double decker bus", "bus"),
        ("buses", "bus"),
        ("bus stop", None),
        ("the bus driver", None),
        ("a group of people", "person"),
        ("people", "person"),
        ("a cyclist", "rider"),
        ("bicycles", "bicycle"),
        ("the leaves", "vegetation"),
        ("a parking lot", None),
        ("a toy truck", None),
        ("the ground", None),
        ("a street filled with cars", "road"),
        ("model trains", None),
        ("train station", "building"),
        ("a fire truck", "truck"),
        ("the trolley car", "train"),
        ("people crossing the street", "person"),
        ("a zebra crossing", "road"),
        ("a brick building that has a sign", "building"),
        ("roof of a house", "building"),
        ("the roof of the car", None),
        ("floor-wood", None),
        ("car (parked)", "car"),
    ],
)
def test_pre_06_the_shipped_words_know_common_names(name, expected):
    found = ontology_of(CITYSCAPES).class_of(name)
    assert (None if found is None else CITYSCAPES.names[found]) == expected


def test_pre_06_every_class_is_known_by_its_own_name_without_a_file():
    ontology = ontology_of(SMALL)
    assert [ontology.class_of(name) for name in SMALL.names] == [0, 1, 2]
    assert ontology.class_of("the Cars") == 0
    assert ontology.class_of("sedan") is None


def test_the_shipped_words_serve_cityscapes_classes_in_any_order():
    turned = label_map_of(list(zip(CITYSCAPES.names, CITYSCAPES.colours, strict=True))[::-1])
    assert ontology_of(turned).class_of("taxi") == turned.id_of("car")
    assert all(
        read_ontology(CITYSCAPES_WORDS, turned).class_of(n) is not None for n in turned.names
    )


def test_two_classes_that_only_differ_in_number_are_told_apart_by_their_exact_names():
    both = label_map_of([("car", (1, 0, 0)), ("cars", (2, 0, 0))])
    ontology = ontology_of(both)
    assert [ontology.class_of(name) for name in ("car", "cars", "the car")] == [0, 1, None]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("classes: {lorry: [truck]}", "classes.lorry: the label map has no such class; it has car"),
        ("classes: {car: [auto], person: [man, Autos]}", "classes.person[1]: 'auto' is given to"),
        ("classes: {car: [person]}", "classes.car[0]: 'person' is given to classes.person"),
        ("classes: {car: [toy]}\nunknown: [a toy]", "unknown[0]: 'toy' is given to classes.car"),
        ("unknown: [cars]", "unknown[0]: 'car' is given to classes.car"),
        ("classes: {car: sedan}", "classes.car: expected a list of words, got str"),
        ("classes: {car: [no]}", "classes.car[0]: expected a word in quotes, got False"),
        ("classes: {car: ['']}", "classes.car[0]: expected a word"),
        ("classes: [car]", "classes: expected a class name with a list of words each, got list"),
        ("clases: {car: []}", "clases: unknown key"),
        ("- car", "expected the keys classes and unknown, got list"),
        ("classes: {car: [", "not YAML"),
        ("classes:\n  car: [taxi]\n  car: [cab]", "the key 'car' stands twice"),
        ("", "got NoneType"),
    ],
)
def test_pre_06_ops_03_a_wrong_file_is_refused_by_file_and_key(tmp_path, text, says):
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_ontology(path, SMALL)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)


def test_ops_03_a_missing_or_unreadable_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"missing\.yaml: cannot be read"):
        read_ontology(tmp_path / "missing.yaml", SMALL)
    broken = tmp_path / "latin.yaml"
    broken.write_bytes(b"classes: {car: [\xe9t\xe9]}")
    with pytest.raises(ConfigError, match=r"latin\.yaml: not YAML"):
        read_ontology(broken, SMALL)


def test_a_word_given_twice_to_one_class_is_no_mistake(tmp_path):
    path = written(tmp_path, "classes: {car: [Cars, sedan, sedans]}\nunknown:")
    assert read_ontology(path, SMALL).class_of("sedan") == 0


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("buses", "bus"), ("bus", "bus"), ("bicycles", "bicycle"), ("houses", "house"),
        ("boxes", "box"), ("benches", "bench"), ("ladies", "lady"), ("ties", "tie"),
        ("glass", "glass"), ("glasses", "glass"), ("men", "man"), ("people", "people"),
        ("cactus", "cactus"), ("trees", "tree"), ("gas", "gas"), ("gates", "gate"),
    ],
)  # fmt: skip
def test_plurals_become_singular(word, expected):
    assert singular(word) == expected


def test_words_are_parted_by_anything_that_is_no_letter():
    assert words_of("The man's Traffic_light-pole 2!") == (
        "the", "man's", "traffic", "light", "pole", "2",
    )  # fmt: skip
