"""What a worker answers about a picture that its models cannot bear."""

import pytest
import torch

from cloud.preannotation.draft_worker import _drafted, on_own_device
from cloud.preannotation.draft_writer import DraftWriter
from lifelong.errors import ImageError
from lifelong.sections.drafting import PreannotationSection

TOLD = {"path": "/p/a.png", "name": "a.png", "draft": "a"}


class Fails(DraftWriter):
    """A writer that raises what it is given."""

    def __init__(self, error):
        self._error = error

    def write(self, picture):
        raise self._error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ImageError("a.png: not a readable image"), "a.png: not a readable image"),
        (ValueError("Size must contain\n  height"), "a.png: ValueError: Size must contain height"),
        (RuntimeError("out of memory"), "a.png: RuntimeError: out of memory"),
        (MemoryError(), "a.png: MemoryError: "),
        (KeyError("pixel_values"), "a.png: KeyError: 'pixel_values'"),
    ],
)
def test_pre_11_whatever_a_model_raises_costs_one_picture_and_is_one_line(
    monkeypatch, error, says, caplog
):
    """PRE-11, OPS-03: tracebacks come with --verbose."""
    monkeypatch.delenv("CORNERLOOP_VERBOSE", raising=False)

    assert _drafted(Fails(error), TOLD) == {"failed": says}
    assert caplog.text == ""


def test_ops_03_verbose_tells_where_it_happened(monkeypatch, caplog):
    monkeypatch.setenv("CORNERLOOP_VERBOSE", "1")
    _drafted(Fails(ValueError("nonsense")), TOLD)

    assert "Traceback" in caplog.text


def test_a_worker_that_is_told_to_end_is_not_held_up():
    with pytest.raises(KeyboardInterrupt):
        _drafted(Fails(KeyboardInterrupt()), TOLD)


@pytest.mark.parametrize(
    ("gpus", "device", "devices"),
    [
        (0, "auto", ["auto"] * 3),
        (1, "auto", ["auto"] * 3),
        (2, "auto", ["cuda:0", "cuda:1", "cuda:0"]),
        (2, "cuda:1", ["cuda:1"] * 3),
        (2, "cpu", ["cpu"] * 3),
    ],
)
def test_pre_19_workers_take_the_gpus_in_turn(monkeypatch, gpus, device, devices):
    """PRE-19: any number of GPUs."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    section = PreannotationSection(device=device)

    assert [on_own_device(section, place).device for place in range(3)] == devices
