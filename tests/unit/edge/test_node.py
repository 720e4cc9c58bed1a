"""The edge main path with everything real but the storage's reliability."""

import json
from pathlib import Path

import pytest

from edge.assembly import build_node, lock_state
from edge.node import EdgeNode, draw
from edge.stop import Stop
from lifelong.config import Config
from lifelong.errors import ConfigError, ModelOutputError
from lifelong.records.samples import HardExample
from lifelong.records.wire import from_json
from tests.builders import a_frame
from tests.edge_fixtures import (
    FlakyStorage,
    edge_config,
    events,
    make_old,
    release,
    street_bundle,
    write_frames,
)


@pytest.fixture
def storage() -> FlakyStorage:
    storage = FlakyStorage()
    release(storage, street_bundle())
    return storage


def node(folder: Path, storage: FlakyStorage, stop: Stop | None = None, **edge) -> EdgeNode:
    config = edge_config(folder, **edge)
    return build_node(config, stop or Stop(), storage=storage, inline=True)


def arrived(storage) -> list[HardExample]:
    return [
        from_json(HardExample, storage.get(key), key)
        for key in storage.keys("inbox/edge-1")
        if key.endswith("example.json")
    ]


def test_frames_are_segmented_judged_kept_and_uploaded(tmp_path, storage):
    write_frames(tmp_path, 6)
    ran = node(tmp_path, storage, attributes={"site": "north"})
    ran.run()
    examples = arrived(storage)
    assert sorted(example.sequence for example in examples) == list(range(6))
    assert {example.attributes["condition"] for example in examples} == {"day", "night"}
    assert {example.attributes["site"] for example in examples} == {"north"}
    assert {example.version_id for example in examples} == {street_bundle().version_id}
    for example in examples:
        assert storage.exists(example.image_key)
        assert storage.exists(example.mask_key)
    kept = events(tmp_path / "state/journal", "hard_example.kept")
    assert sorted(event["sample_id"] for event in kept) == sorted(e.sample_id for e in examples)
    health = json.loads((tmp_path / "state/health.json").read_text())
    assert health["frames"] == health["uploaded"] == health["hard_examples"] == 6
    assert health["source_exhausted"] is True
    assert health["version"] == street_bundle().version_id


def test_edge_02_a_sure_model_keeps_nothing(tmp_path, storage):
    write_frames(tmp_path, 3)
    node(tmp_path, storage, hard_examples={"policy": "entropy", "threshold": 1.0}).run()
    assert arrived(storage) == []


def test_the_bundles_own_quantile_decides_when_no_threshold_is_configured(tmp_path):
    write_frames(tmp_path, 3)
    storage = FlakyStorage()
    release(storage, street_bundle(score_quantiles={"entropy": {"0.95": 0.01}}))
    node(tmp_path, storage, hard_examples={"policy": "entropy"}).run()
    assert len(arrived(storage)) == 3
    assert "0.95 quantile" in arrived(storage)[0].reasons[0]


def test_a_corrupt_picture_is_passed_over_and_told(tmp_path, storage):
    write_frames(tmp_path, 3)
    broken = tmp_path / "frames/day/0000.jpg"
    broken.write_bytes(b"\xff\xd8 no picture")
    make_old(broken)
    ran = node(tmp_path, storage)
    ran.run()
    assert len(arrived(storage)) == 2
    assert ran.health.vitals.frames_unreadable == 1
    assert len(events(tmp_path / "state/journal", "frame.unreadable")) == 1


def test_edge_09_without_network_everything_goes_on_and_is_caught_up_afterwards(tmp_path, storage):
    first = node(tmp_path, storage)
    first.run()  # takes the model
    write_frames(tmp_path, 8)
    storage.is_down = True
    offline = restarted(tmp_path, storage)
    offline.run()
    assert offline.health.vitals.frames == 8
    assert len(offline.outbox) == 8
    assert "connection refused" in offline.health.vitals.last_error
    storage.is_down = False
    online = restarted(tmp_path, storage)
    online.run()
    assert online.health.vitals.frames == 0
    assert len(arrived(storage)) == 8
    scores = [e["score"] for e in events(tmp_path / "state/journal", "hard_example.uploaded")]
    assert scores == sorted(scores, reverse=True)


def restarted(folder: Path, storage: FlakyStorage) -> EdgeNode:
    """The node after a restart of the process: the lock of its former life is gone."""
    (folder / "state/lock").unlink()
    return node(folder, storage)


def test_without_a_model_no_frame_is_taken(tmp_path):
    write_frames(tmp_path, 3)
    storage, waits = FlakyStorage(), []

    def sleep(_seconds: float) -> None:
        waits.append(1)
        if len(waits) == 5:
            assert len((tmp_path / "state/frames.jsonl").read_bytes()) == 0
            release(storage, street_bundle())

    waiting = node(tmp_path, storage, Stop(sleep))
    waiting.run()
    assert waiting.health.vitals.frames == 3
    assert len(waits) >= 5


def test_a_stop_ends_after_the_frame_at_hand_and_what_is_left_comes_next_time(
    tmp_path, storage, monkeypatch
):
    write_frames(tmp_path, 5)
    stop = Stop()
    ran = node(tmp_path, storage, stop)
    see = ran.slot.segment

    def stop_in_the_second(frame):
        if frame.sequence == 1:
            stop.request()
        return see(frame)

    monkeypatch.setattr(ran.slot, "segment", stop_in_the_second)
    ran.run()
    assert ran.health.vitals.frames == 2
    assert ran.health.vitals.source_exhausted is False
    assert len(arrived(storage)) == 2
    restarted(tmp_path, storage).run()
    assert sorted(example.sequence for example in arrived(storage)) == [0, 1, 2, 3, 4]


def test_a_stop_before_the_first_model_ends_at_once(tmp_path):
    stop = Stop()
    stop.request()
    ran = node(tmp_path, FlakyStorage(), stop)
    ran.run()
    assert ran.health.vitals.frames == 0


def test_a_frame_that_no_model_can_answer_is_counted_and_passed_over(
    tmp_path, storage, monkeypatch
):
    write_frames(tmp_path, 3)
    ran = node(tmp_path, storage)
    see = ran.slot.segment

    def fails_on_the_second(frame):
        if frame.sequence == 1:
            raise ModelOutputError("logits hold NaN")
        return see(frame)

    monkeypatch.setattr(ran.slot, "segment", fails_on_the_second)
    ran.run()
    assert (ran.health.vitals.frames, ran.health.vitals.frames_failed) == (2, 1)
    assert "NaN" in ran.health.vitals.last_error


def test_edge_11_a_model_released_meanwhile_takes_over_without_a_lost_frame(
    tmp_path, storage, monkeypatch
):
    write_frames(tmp_path, 10)
    ran = node(tmp_path, storage, canary_frames=2)
    see, new = ran.slot.segment, street_bundle(1)

    def release_in_the_fourth(frame):
        if frame.sequence == 3:
            release(storage, new, 2)
        return see(frame)

    monkeypatch.setattr(ran.slot, "segment", release_in_the_fourth)
    ran.run()
    by_sequence = sorted(arrived(storage), key=lambda example: example.sequence)
    versions = [example.version_id for example in by_sequence]
    assert versions == [street_bundle().version_id] * 6 + [new.version_id] * 4


def test_two_nodes_do_not_share_one_state(tmp_path):
    lock_state(tmp_path / "state")
    with pytest.raises(ConfigError, match="another process"):
        lock_state(tmp_path / "state")


@pytest.mark.parametrize(
    ("edge", "message"),
    [
        ({"id": "../other"}, r"edge\.id"),
        ({"hard_examples": {"background": "snow"}}, "no class 'snow'"),
    ],
)
def test_a_wrong_setting_is_told_with_its_key(tmp_path, edge, message):
    with pytest.raises(ConfigError, match=message):
        build_node(edge_config(tmp_path, **edge), Stop(), storage=FlakyStorage())


def test_an_edge_section_is_needed():
    with pytest.raises(ConfigError, match=r"needs at least edge\.source"):
        build_node(Config(), Stop())


def test_the_random_draw_is_even_and_the_same_for_a_frame_seen_again():
    draws = [draw(7, a_frame(0, sequence=number)) for number in range(2000)]
    assert draws == [draw(7, a_frame(0, sequence=number)) for number in range(2000)]
    assert 0.0 <= min(draws) < 0.01
    assert 0.99 < max(draws) < 1.0
    assert sum(draws) / len(draws) == pytest.approx(0.5, abs=0.03)
    assert draw(8, a_frame()) != draw(7, a_frame())


def test_b5_a_full_disk_neither_stops_the_node_nor_loses_count(tmp_path, storage, monkeypatch):
    write_frames(tmp_path, 3)
    ran = node(tmp_path, storage)

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    for name in ("edge.delivery.outbox.write_synced", "edge.seen_frames.os.write", "os.write"):
        monkeypatch.setattr(name, full)
    monkeypatch.setattr("edge.health.write_whole", full)
    for module in ("kept_models", "refusals", "probation", "bundle_fetch", "trust"):
        monkeypatch.setattr(f"edge.models.{module}.write_whole", full)
    ran.run()
    monkeypatch.undo()
    assert ran.health.vitals.frames == 3
    assert ran.health.vitals.hard_examples == 0
    assert restarted(tmp_path, storage).slot.version_id is None


def test_a_state_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        lock_state(tmp_path / "file/state")


@pytest.mark.parametrize(
    ("source", "built_as"),
    [
        ({"type": "camera"}, "LiveFrames"),
        ({"type": "rtsp", "url": "rtsp://cam/live"}, "LiveFrames"),
        ({"type": "video", "path": "none.mp4"}, "VideoFrames"),
        ({"type": "folder", "path": "frames"}, "FolderFrames"),
    ],
)
def test_a_node_is_built_for_every_kind_of_source(tmp_path, storage, source, built_as):
    built = node(tmp_path, storage, source=source)
    assert type(built.source).__name__ == built_as


def test_health_tells_frames_passed_over_and_what_is_wrong_with_the_source(
    tmp_path, storage, monkeypatch
):
    write_frames(tmp_path, 4)
    source = {
        "type": "folder",
        "path": tmp_path / "frames",
        "stop_when_empty": True,
        "back_pressure": "latest",
    }
    built = node(tmp_path, storage, source=source)
    monkeypatch.setattr(built.source, "trouble", "camera 0: cannot be opened")
    built.run()
    told = json.loads((tmp_path / "state/health.json").read_text())
    assert (told["frames"], told["frames_passed_over"]) == (1, 3)
    assert told["source_error"] == "camera 0: cannot be opened"


def test_an_unknown_execution_provider_is_told_before_the_node_runs(tmp_path, storage):
    with pytest.raises(ConfigError, match="ONNX Runtime knows no 'CUDA'"):
        node(tmp_path, storage, providers=("CUDA",))


def test_lll_11_what_one_model_saw_says_nothing_of_the_next_one(tmp_path, storage, monkeypatch):
    """Also when no frame comes after the swap: the report would name the new model."""
    write_frames(tmp_path, 4)
    ran = node(tmp_path, storage, canary_frames=1)
    see, new = ran.slot.segment, street_bundle(1)

    class Watch:
        def use(self, manifest):
            self.weights, self.frames = manifest.weights_sha256, 0

        def see(self, _prediction, _verdict):
            self.frames += 1

    watch = Watch()
    monkeypatch.setattr(ran, "drift", watch)

    def release_in_the_third(frame):
        if frame.sequence == 2:
            release(storage, new, 2)
        return see(frame)

    monkeypatch.setattr(ran.slot, "segment", release_in_the_third)
    ran.run()
    assert ran.slot.version_id == new.version_id
    assert (watch.weights, watch.frames) == (new.manifest.weights_sha256, 0)
