"""The watched folder: order, names, half-written and broken files, memory across restarts."""

import os
import threading
from pathlib import Path

import pytest
from PIL import Image

from edge.seen_frames import SeenFrames
from edge.sources.frame_sources import FolderFrames, Patience
from lifelong.links.journal import Journal
from lifelong.records.ids import EdgeId
from lifelong.records.pixels import Frame
from lifelong.sections.edge import FolderSource
from tests.builders import a_jpeg, an_image
from tests.edge_fixtures import events, make_old, write_frames


def source(folder: Path, **changes) -> FolderFrames:
    named = {"stop_when_empty": True, "poll_seconds": 0.0, **changes.pop("section", {})}
    fields = {
        "edge_id": EdgeId("edge-1"),
        "attributes": {"site": "north gate"},
        "seen": SeenFrames(folder / "seen.jsonl"),
        "journal": Journal(folder / "journal", "edge-1"),
        "wait": lambda _seconds: None,
        "patience": Patience(settled_s=0.5, tries=3, retry_s=0.0),
        **changes,
    }
    return FolderFrames(FolderSource(type="folder", path=folder / "frames", **named), **fields)


def taken(frames: FolderFrames) -> list[Frame]:
    """All frames of a source that ends, each remembered."""
    result = []
    for frame in frames:
        if frame is not None:
            frames.remember(frame)
            result.append(frame)
    return result


def names(frames: list[Frame]) -> list[str]:
    return [frame.attributes["frame"] for frame in frames]


def test_frames_come_sorted_nested_and_with_their_attributes(tmp_path):
    write_frames(tmp_path, 4)
    frames = taken(source(tmp_path))
    assert names(frames) == ["day/0000", "day/0002", "night/0001", "night/0003"]
    assert [frame.sequence for frame in frames] == [0, 1, 2, 3]
    assert [frame.attributes["condition"] for frame in frames] == ["day", "day", "night", "night"]
    assert frames[0].attributes["site"] == "north gate"
    assert frames[0].captured_at.timestamp() == pytest.approx(
        (tmp_path / "frames/day/0000.jpg").stat().st_mtime, abs=1e-3
    )


def test_every_suffix_in_any_case_is_read_and_other_files_are_not(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    picture = Image.fromarray(an_image())
    wanted = ["a.JPG", "b.jpeg", "c.Png", "d.bmp", "e.TIF", "f.tiff", "g.webp"]
    for name in wanted:
        kind = {"jpg": "jpeg", "tif": "tiff"}.get(name[2:].lower(), name[2:].lower())
        picture.save(folder / name, format=kind)
        make_old(folder / name)
    for name in ("notes.txt", ".hidden.jpg", "h.jpg.part"):
        (folder / name).write_bytes(a_jpeg())
        make_old(folder / name)
    frames = taken(source(tmp_path))
    assert names(frames) == [name[0] for name in wanted]
    assert all("condition" not in frame.attributes for frame in frames)


def test_a_file_that_is_still_being_written_is_left_until_it_settles(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    path, whole = folder / "a.jpg", a_jpeg(1)
    seconds, written = [0.0], [10]
    path.write_bytes(whole[:10])

    def wait(_seconds: float) -> None:
        """Time passes, and for a while the camera goes on writing."""
        seconds[0] += 0.3
        if written[0] < len(whole):
            written[0] += len(whole) // 4
            path.write_bytes(whole[: written[0]])
        os.utime(path, (2000.0 + written[0], 2000.0 + written[0]))

    frames = source(
        tmp_path,
        wait=wait,
        clock=lambda: seconds[0],
        wall_clock=lambda: path.stat().st_mtime,  # always just written
    )
    assert names(taken(frames)) == ["a"]
    assert frames.unreadable == 0
    assert seconds[0] >= 1.8


def test_an_atomically_renamed_file_is_read_at_once(tmp_path):
    write_frames(tmp_path, 1)
    frames = iter(source(tmp_path, section={"stop_when_empty": False}))
    assert next(frames) is not None


def test_a_broken_file_is_tried_again_then_reported_once_and_passed_over(tmp_path):
    write_frames(tmp_path, 3)
    broken = tmp_path / "frames/day/0001.jpg"
    broken.write_bytes(a_jpeg(9)[:200])
    make_old(broken)
    first = source(tmp_path)
    assert names(taken(first)) == ["day/0000", "day/0002", "night/0001"]
    assert first.unreadable == 1
    (event,) = events(tmp_path / "journal", "frame.unreadable")
    assert event["file"] == "day/0001.jpg"
    assert taken(source(tmp_path)) == []
    assert len(events(tmp_path / "journal", "frame.unreadable")) == 1


def test_a_broken_file_that_is_replaced_by_a_whole_one_is_read(tmp_path):
    path = tmp_path / "frames/a.jpg"
    path.parent.mkdir()
    path.write_bytes(b"not a picture")
    make_old(path)
    assert taken(source(tmp_path)) == []
    path.write_bytes(a_jpeg(1))
    make_old(path)
    assert names(taken(source(tmp_path))) == ["a"]


def test_edge_08_processed_files_are_remembered_across_restarts_and_numbers_go_on(tmp_path):
    write_frames(tmp_path, 3)
    assert len(taken(source(tmp_path))) == 3
    write_frames(tmp_path, 2, first=3)
    frames = taken(source(tmp_path))
    assert names(frames) == ["day/0004", "night/0003"]
    assert [frame.sequence for frame in frames] == [3, 4]


def test_edge_08_a_frame_that_was_not_remembered_comes_again_under_the_same_number(tmp_path):
    write_frames(tmp_path, 2)
    killed = iter(source(tmp_path))
    first = next(killed)
    again = taken(source(tmp_path))
    assert first is not None
    assert (again[0].sequence, names(again)) == (first.sequence, ["day/0000", "night/0001"])


def test_a_picture_written_over_under_the_same_name_is_a_new_frame(tmp_path):
    write_frames(tmp_path, 1)
    assert len(taken(source(tmp_path))) == 1
    path = tmp_path / "frames/day/0000.jpg"
    path.write_bytes(a_jpeg(7))
    assert len(taken(source(tmp_path, patience=Patience(settled_s=0.0)))) == 1


def test_a_replay_processes_everything_again(tmp_path):
    write_frames(tmp_path, 2)
    assert len(taken(source(tmp_path))) == 2
    replayed = taken(source(tmp_path, again=True))
    assert [frame.sequence for frame in replayed] == [2, 3]
    assert len(taken(source(tmp_path, again=True))) == 2


def test_frames_that_come_while_the_folder_is_watched_are_found(tmp_path):
    (tmp_path / "frames").mkdir()
    frames = source(tmp_path, section={"stop_when_empty": False})
    found = []
    for turn, frame in enumerate(frames):
        if frame is not None:
            frames.remember(frame)
            found.append(frame)
        if turn in (1, 3):
            write_frames(tmp_path, 1, first=turn)
        if turn > 8:
            break
    assert names(found) == ["night/0001", "night/0003"]


def test_a_folder_that_is_not_there_yet_is_waited_for(tmp_path):
    frames = iter(source(tmp_path, section={"stop_when_empty": False}))
    assert next(frames) is None
    write_frames(tmp_path, 1)
    assert next(frames) is not None


def test_no_frame_is_lost_or_doubled_while_a_camera_writes(tmp_path):
    (tmp_path / "frames").mkdir()

    def camera() -> None:
        for seed in range(40):
            temporary = tmp_path / f"{seed}.part"
            temporary.write_bytes(a_jpeg(seed))
            temporary.rename(tmp_path / f"frames/{seed:03d}.jpg")

    frames = source(
        tmp_path,
        section={"stop_when_empty": False},
        patience=Patience(settled_s=0.0, retry_s=0.0),
    )
    thread = threading.Thread(target=camera)
    thread.start()
    found = []
    for frame in frames:
        if frame is not None:
            frames.remember(frame)
            found.append(frame)
        elif not thread.is_alive() and len(found) >= 40:
            break
    thread.join()
    assert sorted(names(found)) == [f"{seed:03d}" for seed in range(40)]


@pytest.mark.parametrize("torn", [b'{"key": "b|1', b"{", b"\xff\xfe"])
def test_edge_08_a_torn_last_line_is_cut_off_and_only_that_frame_comes_again(tmp_path, torn):
    path = tmp_path / "seen.jsonl"
    seen = SeenFrames(path)
    seen.remember("a|1", 0)
    seen.close()
    with path.open("ab") as file:
        file.write(torn)
    again = SeenFrames(path)
    assert again.knows("a|1")
    assert again.next_sequence == 1
    again.remember("b|1", 1)
    again.close()
    last = SeenFrames(path)
    assert last.knows("a|1")
    assert last.knows("b|1")
    last.close()


def test_tr_08_numbers_go_on_when_files_that_are_gone_are_forgotten(tmp_path):
    seen = SeenFrames(tmp_path / "seen.jsonl")
    for number in range(20):
        seen.remember(f"{number}|1", number)
    seen.forget(lambda key: int(key.split("|")[0]) >= 5, at_least=10)
    seen.remember("new|1", seen.next_sequence)
    seen.close()
    again = SeenFrames(tmp_path / "seen.jsonl")
    assert len(again) == 6
    assert again.next_sequence == 21
    again.close()


def test_b5_a_decompression_bomb_is_an_unreadable_file_and_not_the_end(tmp_path, monkeypatch):
    write_frames(tmp_path, 2)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 48 // 4)
    frames = source(tmp_path)
    assert taken(frames) == []
    assert frames.unreadable == 2


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"GIF89a", b"\xff\xd8\xff\xe1\xff\xff"])
def test_a_file_that_only_pretends_to_be_a_picture_is_reported(tmp_path, content):
    path = tmp_path / "frames/a.jpg"
    path.parent.mkdir()
    path.write_bytes(content)
    make_old(path)
    frames = source(tmp_path)
    assert taken(frames) == []
    assert frames.unreadable == 1


def test_latest_takes_the_newest_file_and_counts_the_others(tmp_path):
    write_frames(tmp_path, 5)
    newest = tmp_path / "frames/day/0002.jpg"
    changed = newest.stat().st_mtime + 60
    os.utime(newest, (changed, changed))
    first = source(tmp_path, section={"back_pressure": "latest"})
    (frame,) = taken(first)
    assert frame.attributes["frame"] == "day/0002"
    assert first.passed_over == 4
    assert frame.sequence == 4, "the others came before it and keep their numbers"
    again = source(tmp_path, section={"back_pressure": "latest"})
    assert taken(again) == [], "nor do they come back after a restart"
    assert again.passed_over == 0


def test_latest_takes_what_came_while_the_node_was_busy(tmp_path):
    write_frames(tmp_path, 1)
    live = source(tmp_path, section={"back_pressure": "latest"})
    frames = iter(live)
    first = next(frames)
    assert first is not None
    write_frames(tmp_path, 3, first=1)  # while the first is at work
    live.remember(first)
    second = next(frames)
    assert second is not None
    assert (first.attributes["frame"], second.sequence, live.passed_over) == ("day/0000", 3, 2)


def test_latest_falls_back_to_an_older_file_while_the_newest_is_broken(tmp_path):
    write_frames(tmp_path, 3)
    broken = tmp_path / "frames/day/0002.jpg"
    broken.write_bytes(a_jpeg(9)[:200])
    make_old(broken)
    changed = broken.stat().st_mtime + 60
    os.utime(broken, (changed, changed))
    live = source(tmp_path, section={"back_pressure": "latest"})
    (frame,) = taken(live)
    assert frame.attributes["frame"] == "night/0001"
    assert (live.passed_over, live.unreadable) == (1, 1)
