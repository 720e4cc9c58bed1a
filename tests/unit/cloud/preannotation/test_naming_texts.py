"""PRE-18: names are encoded once as long as they are remembered."""

import torch

from cloud.preannotation.naming.text_features import TextFeatures


class Encoder:
    def __init__(self):
        self.asked = []

    def __call__(self, names):
        self.asked.append(list(names))
        return torch.tensor([[float(len(name)), float(ord(name[0]))] for name in names])


def test_pre_18_a_name_is_encoded_once_and_answered_in_the_order_asked():
    encoder = Encoder()
    texts = TextFeatures(encoder)
    first = texts.of(["car", "tree", "car"])
    second = texts.of(["tree", "sky"])
    assert encoder.asked == [["car", "tree"], ["sky"]]
    assert first[:, 0].tolist() == [3.0, 4.0, 3.0]
    assert second[:, 1].tolist() == [float(ord("t")), float(ord("s"))]


def test_the_memory_is_bounded_and_forgets_what_was_not_asked_for_longest():
    encoder = Encoder()
    texts = TextFeatures(encoder, remembered=2)
    texts.of(["a", "b"])
    texts.of(["a"])
    texts.of(["c"])  # forgets b
    texts.of(["a"])
    texts.of(["b"])
    assert encoder.asked == [["a", "b"], ["c"], ["b"]]
    assert len(texts) == 2


def test_one_picture_may_have_more_names_than_are_remembered():
    encoder = Encoder()
    texts = TextFeatures(encoder, remembered=2, at_once=3)
    names = ["a", "bb", "ccc", "dddd", "eeeee"]
    assert texts.of(names)[:, 0].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert [len(some) for some in encoder.asked] == [3, 2]
    assert len(texts) == 2
