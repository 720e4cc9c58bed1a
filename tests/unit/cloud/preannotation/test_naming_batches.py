"""PRE-18: one call for all crops of a picture, fewer crops a call where memory is short."""

import pytest
import torch

from cloud.preannotation.naming.batches import Batches


class Model:
    def __init__(self, holds):
        self.holds, self.sizes = holds, []

    def __call__(self, items):
        self.sizes.append(len(items))
        if len(items) > self.holds:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return [item * 10 for item in items]


def test_pre_18_everything_goes_at_once_up_to_the_bound():
    model = Model(holds=100)
    assert Batches(4).over([1, 2, 3], model) == [10, 20, 30]
    assert Batches(4).over(list(range(9)), model) == [n * 10 for n in range(9)]
    assert model.sizes == [3, 4, 4, 1]


def test_a_full_gpu_halves_the_batch_once_and_for_all(caplog):
    model, batches = Model(holds=3), Batches(16)
    assert batches.over(list(range(8)), model) == [n * 10 for n in range(8)]
    assert model.sizes == [8, 4, 2, 2, 2, 2]
    assert "8 crops at once do not fit" in caplog.text
    batches.over([1, 2, 3], model)
    assert model.sizes[6:] == [2, 1]


def test_a_single_crop_that_does_not_fit_is_an_error():
    with pytest.raises(torch.cuda.OutOfMemoryError):
        Batches(2).over([1, 2], Model(holds=0))
