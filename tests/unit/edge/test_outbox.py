"""The outbox: EDGE-08 (disk, caps, kills), EDGE-10 (no metadata leaves), EDGE-05 (lowest first)."""

import io
import os
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge.delivery.outbox import Outbox
from lifelong.hard_examples import Verdict
from lifelong.links import durable_files
from lifelong.links.durable_files import UNFINISHED
from lifelong.links.journal import Journal
from lifelong.records.ids import sample_id_of
from lifelong.records.pixels import image_from_bytes, mask_from_png
from lifelong.sections.delivery import OutboxSection
from tests.builders import a_frame, a_jpeg, a_prediction
from tests.edge_fixtures import HandClock, events, with_exif


def verdict(score: float = 0.5) -> Verdict:
    return Verdict(is_hard=True, score=score, reasons=("for a test",), scores={"entropy": score})


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def opened(folder: Path, clock: HandClock, **changes) -> Outbox:
    section = OutboxSection(path=folder / "outbox", **changes)
    return Outbox(section, Journal(folder / "journal", "edge-1", clock.now), clock.now, clock)


def put(outbox: Outbox, seed: int, score: float = 0.5):
    return outbox.put(a_frame(seed), a_prediction(), verdict(score))


def noisy(seed: int) -> np.ndarray:
    """A picture whose JPEG takes about 0.6 MiB."""
    return np.random.default_rng(seed).integers(0, 256, (480, 480, 3), dtype=np.uint8)


def test_edge_08_what_was_put_is_there_after_reopening(tmp_path, clock):
    example = put(opened(tmp_path, clock), 1, 0.7)
    assert example is not None
    again = opened(tmp_path, clock)
    assert again.waiting() == [example]
    contents = again.contents(example)
    assert contents is not None
    assert list(contents) == [
        f"inbox/edge-1/{example.sample_id}/{name}"
        for name in ("image.jpg", "mask.png", "example.json")
    ]
    image, mask, _ = contents.values()
    assert sample_id_of(image) == example.sample_id
    assert np.array_equal(mask_from_png(mask, "mask"), a_prediction().mask)
    assert image_from_bytes(image, "image").shape == a_frame().image.shape
    assert again.size == opened(tmp_path, clock).size > 0


def test_edge_10_no_exif_leaves_and_the_picture_stands_upright(tmp_path, clock):
    outbox = opened(tmp_path, clock)
    camera_file = with_exif(a_jpeg(0), orientation=6)
    upright = image_from_bytes(camera_file, "camera")
    assert upright.shape == (64, 48, 3)
    example = outbox.put(a_frame(image=upright, encoded=camera_file), a_prediction(), verdict())
    assert example is not None
    assert (example.height, example.width) == (64, 48)
    contents = outbox.contents(example)
    assert contents is not None
    sent = Image.open(io.BytesIO(contents[example.image_key]))
    assert not sent.getexif()
    assert b"Exif" not in contents[example.image_key]
    assert sent.size == (48, 64)


def test_the_hardest_goes_first_and_equals_in_the_order_they_were_seen(tmp_path, clock):
    outbox = opened(tmp_path, clock)
    for seed, score in ((1, 0.2), (2, 0.9), (3, 0.2), (4, 0.5)):
        put(outbox, seed, score)
    assert [example.sequence for example in outbox.waiting()] == [2, 4, 1, 3]


def test_tr_01_the_same_picture_twice_is_one_entry(tmp_path, clock):
    outbox = opened(tmp_path, clock)
    first, second = put(outbox, 1, 0.3), put(outbox, 1, 0.9)
    assert first == second
    assert len(outbox) == 1


def test_edge_08_a_full_outbox_gives_up_the_lowest_scores_and_says_so(tmp_path, clock):
    outbox = opened(tmp_path, clock, max_mib=1)
    for seed, score in ((1, 0.4), (2, 0.8), (3, 0.1)):
        outbox.put(a_frame(seed, image=noisy(seed)[:400]), a_prediction(), verdict(score))
        clock.advance(1)
    assert sorted(example.score for example in outbox.waiting()) == [0.4, 0.8]
    outbox.put(a_frame(4, image=noisy(4)[:400]), a_prediction(), verdict(0.6))
    assert sorted(example.score for example in outbox.waiting()) == [0.6, 0.8]
    assert outbox.size <= 2**20
    dropped = events(tmp_path / "journal", "hard_example.dropped")
    assert [event["score"] for event in dropped] == [0.1, 0.4]
    assert all("full" in event["reason"] for event in dropped)


def test_the_best_are_kept_whatever_the_order_in_which_they_come(tmp_path, clock):
    outbox = opened(tmp_path, clock, max_mib=1)
    scores = [float(s) for s in np.random.default_rng(5).permutation(12) / 12]
    for seed, score in enumerate(scores):
        outbox.put(a_frame(seed, image=noisy(seed)[:120]), a_prediction(), verdict(score))
    kept = [example.score for example in outbox.waiting()]
    assert kept == sorted(scores, reverse=True)[: len(kept)]
    assert len(kept) >= 4


def test_an_example_larger_than_the_whole_outbox_is_dropped_and_nothing_else(tmp_path, clock):
    outbox = opened(tmp_path, clock, max_mib=1)
    small = put(outbox, 1, 0.1)
    large = np.concatenate([noisy(2), noisy(3), noisy(4)])
    assert outbox.put(a_frame(2, image=large), a_prediction(), verdict(0.9)) is None
    assert outbox.waiting() == [small]


def test_edge_08_entries_older_than_the_limit_go(tmp_path, clock):
    outbox = opened(tmp_path, clock, max_age_hours=2)
    put(outbox, 1)
    clock.advance(3600)
    young = put(outbox, 2)
    clock.advance(3601)
    outbox.expire()
    assert outbox.waiting() == [young]
    (dropped,) = events(tmp_path / "journal", "hard_example.dropped")
    assert dropped["reason"] == "older than 2 h"


def test_edge_08_how_long_the_oldest_waits_is_told_also_of_an_earlier_life(tmp_path, clock):
    outbox = opened(tmp_path, clock)
    assert outbox.oldest_age_s() is None, "an empty outbox has no age"
    first = put(outbox, 1)
    clock.advance(3600)
    put(outbox, 2)
    clock.advance(60)
    assert outbox.oldest_age_s() == 3660
    assert first is not None
    outbox.delivered(first.sample_id)
    assert outbox.oldest_age_s() == 60
    kept_hours_ago(tmp_path / "restarted", clock, 3)
    again = opened(tmp_path / "restarted", clock)
    assert again.oldest_age_s() == pytest.approx(3 * 3600)
    clock.advance(30)
    assert again.oldest_age_s() == pytest.approx(3 * 3600 + 30)


class Sundial:
    """A wall clock that can be set to anything, beside a clock that only ever goes on."""

    def __init__(self) -> None:
        self.going = HandClock()
        self.wrong_by = timedelta()

    def now(self):
        return self.going.now() + self.wrong_by


@pytest.mark.parametrize("jump", [timedelta(days=d) for d in (-20_000, -1, 1, 3650)])
def test_edge_08_a_clock_that_jumps_makes_nothing_old(tmp_path, jump):
    dial = Sundial()
    section = OutboxSection(path=tmp_path / "outbox", max_age_hours=2)
    journal = Journal(tmp_path / "journal", "edge-1", dial.now)
    outbox = Outbox(section, journal, dial.now, dial.going)
    put(outbox, 1)
    dial.wrong_by = jump
    outbox.expire()
    assert len(outbox) == 1
    dial.going.advance(7201)
    outbox.expire()
    assert len(outbox) == 0


def kept_hours_ago(folder: Path, clock: HandClock, hours: float) -> None:
    """An entry that an earlier life of the node left."""
    example = put(opened(folder, clock), 1)
    assert example is not None
    moment = clock.now().timestamp() - 3600 * hours
    os.utime(folder / "outbox" / example.sample_id / "example.json", (moment, moment))


@pytest.mark.parametrize(
    ("hours", "wrong_at_start", "wrong_later", "stays"),
    [
        (1.0, timedelta(0), timedelta(0), True),
        (30.0, timedelta(0), timedelta(0), False),
        (1.0, timedelta(days=3650), timedelta(0), True),  # set right within the hour
        (1.0, timedelta(0), timedelta(days=3650), True),  # set wrong within the hour
        (30.0, timedelta(days=-20_000), timedelta(0), True),  # 1970 first: its age is not known
    ],
)
def test_edge_08_the_age_of_what_an_earlier_life_left_needs_a_clock_that_agrees_with_itself(
    tmp_path, clock, hours, wrong_at_start, wrong_later, stays
):
    kept_hours_ago(tmp_path, clock, hours)
    dial = Sundial()
    dial.wrong_by = wrong_at_start
    section = OutboxSection(path=tmp_path / "outbox", max_age_hours=24)
    outbox = Outbox(section, Journal(tmp_path, "edge-1", dial.now), dial.now, dial.going)
    outbox.expire()
    assert len(outbox) == 1, "not before the clock has proven itself"
    dial.wrong_by = wrong_later
    dial.going.advance(3601)
    outbox.expire()
    assert (len(outbox) == 1) == stays


def test_an_entry_from_before_the_clock_was_set_is_not_taken_for_an_old_one(tmp_path, clock):
    example = put(opened(tmp_path, clock), 1)
    assert example is not None
    record = tmp_path / "outbox" / example.sample_id / "example.json"
    os.utime(record, (5.0, 5.0))  # 1970
    outbox = opened(tmp_path, clock, max_age_hours=2)
    clock.advance(3601)
    outbox.expire()
    assert len(outbox) == 1


@pytest.mark.parametrize("fatal_step", range(1, 9))
def test_edge_08_killed_at_any_step_an_entry_is_whole_or_absent(
    tmp_path, clock, monkeypatch, fatal_step
):
    """Every write, fsync and rename of `put` and `delivered` is the last thing that happens."""

    class Killed(BaseException):
        pass

    outbox = opened(tmp_path, clock)
    first = put(outbox, 1)
    assert first is not None
    count = 0

    def counted(function):
        def step(*arguments, **named):
            nonlocal count
            count += 1
            if count == fatal_step:
                raise Killed
            return function(*arguments, **named)

        return step

    monkeypatch.setattr("edge.delivery.outbox.write_synced", counted(durable_files.write_synced))
    monkeypatch.setattr("edge.delivery.outbox.sync_folder", counted(durable_files.sync_folder))
    monkeypatch.setattr(Path, "rename", counted(Path.rename))
    second = None
    try:
        second = put(outbox, 2)
        outbox.delivered(first.sample_id)
    except Killed:
        pass
    monkeypatch.undo()
    again = opened(tmp_path, clock)
    for example in again.waiting():
        assert again.contents(example) is not None
    ids = {example.sample_id for example in again.waiting()}
    if second is None:
        assert first.sample_id in ids
    else:
        assert second.sample_id in ids
    assert not [p for p in (tmp_path / "outbox").iterdir() if p.name.startswith(UNFINISHED)]
    assert not events(tmp_path / "journal", "hard_example.dropped")


@pytest.mark.parametrize("damage", ["no image", "broken record", "other id"])
def test_an_entry_damaged_by_the_disk_goes_at_opening_and_is_told(tmp_path, clock, damage):
    example = put(opened(tmp_path, clock), 1)
    assert example is not None
    folder = tmp_path / "outbox" / example.sample_id
    if damage == "no image":
        (folder / "image.jpg").unlink()
    elif damage == "broken record":
        (folder / "example.json").write_bytes(b"{")
    else:
        folder.rename(folder.with_name("0" * 16))
    outbox = opened(tmp_path, clock)
    assert len(outbox) == 0
    assert len(events(tmp_path / "journal", "hard_example.dropped")) == 1


def test_an_entry_whose_bytes_rot_is_dropped_instead_of_sent(tmp_path, clock):
    outbox = opened(tmp_path, clock)
    example = put(outbox, 1)
    assert example is not None
    path = tmp_path / "outbox" / example.sample_id / "image.jpg"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert outbox.contents(example) is None
    assert len(outbox) == 0
    (dropped,) = events(tmp_path / "journal", "hard_example.dropped")
    assert "damaged" in dropped["reason"]


def test_a_full_disk_drops_the_example_and_not_the_node(tmp_path, clock, monkeypatch):
    outbox = opened(tmp_path, clock)

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edge.delivery.outbox.write_synced", full)
    assert put(outbox, 1) is None
    monkeypatch.undo()
    (dropped,) = events(tmp_path / "journal", "hard_example.dropped")
    assert "No space left" in dropped["reason"]
    assert list((tmp_path / "outbox").iterdir()) == []
    assert put(outbox, 1) is not None
