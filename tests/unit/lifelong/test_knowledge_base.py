"""The knowledge base only grows, is whole after any crash, and never unpickles."""

import threading

import pytest

from lifelong.errors import CorruptRecordError, RecordError, StorageUnavailableError
from lifelong.knowledge_base import LOG, KnowledgeBase
from lifelong.links.storage import Storage, open_storage
from lifelong.records.ids import RoundNumber, VersionId
from lifelong.records.model_versions import ModelVersion
from lifelong.records.samples import Split
from tests.builders import a_sample


def a_version(name: str, **changes: object) -> ModelVersion:
    values: dict[str, object] = {
        "version_id": VersionId(name),
        "parent": None,
        "round_number": RoundNumber(1),
        "bundle_key": f"models/{name}.bundle",
        "sha256": "00" * 32,
        "label_map_digest": "d",
        "network": "fast_cnn",
        "strategy": "replay",
        "weights_sha256": "11" * 32,
        **changes,
    }
    return ModelVersion(**values)  # type: ignore[arg-type]


def test_kb01_records_are_added_once_and_read_again_by_another_process() -> None:
    """KB-01: append-only; adding a known record writes nothing."""
    storage = open_storage("memory://")
    kb = KnowledgeBase(storage)
    assert kb.add([a_sample(0), a_sample(1)], why="two") == 2
    assert kb.add([a_sample(1), a_sample(2)], why="one of them known") == 1
    assert kb.add([a_sample(0)], why="known") == 0
    assert list(KnowledgeBase(storage).samples.values()) == [a_sample(0), a_sample(1), a_sample(2)]
    assert len(list(storage.keys(LOG))) == 2


def test_kb01_nothing_is_overwritten() -> None:
    """KB-01: another record under a known id is refused, and the old one stays."""
    storage = open_storage("memory://")
    kb = KnowledgeBase(storage)
    kb.add([a_sample(0)], why="first")
    before = {key: storage.get(key) for key in storage.keys("kb")}
    with pytest.raises(RecordError, match="never overwritten"):
        kb.add([a_sample(1), a_sample(0, annotator="somebody else")], why="second")
    assert {key: storage.get(key) for key in storage.keys("kb")} == before
    assert len(kb.samples) == 1


class Dying(Storage):
    """Storage whose process dies at the n-th write, before or after the bytes are there."""

    def __init__(self, real: Storage, at: int, *, after: bool) -> None:
        super().__init__(real._store, real.url)
        self.left, self.after = at, after

    def put_if_absent(self, key: str, data: bytes) -> None:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise StorageUnavailableError("killed before the write")
        super().put_if_absent(key, data)
        if self.left == 0:
            raise StorageUnavailableError("killed after the write")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_kb04_a_crash_leaves_the_old_or_the_new_state(at: int, after: bool) -> None:
    """KB-04: records of one change are all there or none is."""
    real = open_storage("memory://")
    groups = [[a_sample(i), a_sample(i + 100)] for i in range(3)]
    kb = KnowledgeBase(Dying(real, at, after=after))
    with pytest.raises(StorageUnavailableError):
        for group in groups:
            kb.add(group, why="group")
    assert len(KnowledgeBase(real).samples) == 2 * (at if after else at - 1)
    again = KnowledgeBase(real)
    for group in groups:
        again.add(group, why="group, repeated after the crash")
    assert len(KnowledgeBase(real).samples) == 6


def test_kb04_two_writers_lose_nothing() -> None:
    """KB-04: concurrent changes take numbers of their own."""
    storage = open_storage("memory://")

    def write(first: int) -> None:
        kb = KnowledgeBase(storage)
        for i in range(20):
            kb.add([a_sample(first + i)], why="concurrent")

    threads = [threading.Thread(target=write, args=(first,)) for first in (0, 1000, 2000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(KnowledgeBase(storage).samples) == 60


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x8c\x06system\x93.",  # a pickle
        b'{"schema": 2, "number": 1, "records": []}',
        b'{"schema": 1, "number": 7, "records": []}',
        b'{"schema": 1, "number": 1, "records": [{"kind": "os.system", "record": {}}]}',
        b'{"schema": 1, "number": 1, "records": [{"kind": "Sample", "record": {"a": 1}}]}',
        b"[]",
    ],
)
def test_kb03_a_foreign_change_is_refused_by_name(content: bytes) -> None:
    """KB-03: JSON of our schema or a named error; a pickle is never opened."""
    storage = open_storage("memory://")
    storage.put(f"{LOG}/00000001.json", content)
    with pytest.raises(CorruptRecordError, match="00000001"):
        KnowledgeBase(storage)


def test_what_a_version_learned_is_walked_through_its_ancestors() -> None:
    kb = KnowledgeBase(open_storage("memory://"))
    first, second = a_sample(0, learning_task="clear"), a_sample(1, learning_task="fog")
    third, held_back = a_sample(2, learning_task="night"), a_sample(3, split=Split.EVAL)
    kb.add([first, second, third, held_back], why="samples")
    kb.add([a_version("v0", round_number=RoundNumber(0), trained_on=(first.sample_id,))], why="0")
    kb.add([a_version("v1", parent=VersionId("v0"), trained_on=(second.sample_id,))], why="1")
    assert kb.learned_by(VersionId("v1")) == [first, second]
    assert kb.tasks_learned_by(VersionId("v1")) == ["clear", "fog"]
    assert kb.not_learned_by(VersionId("v1")) == [third]
    assert kb.not_learned_by(VersionId("v0")) == [second, third]
    assert kb.candidate_of(RoundNumber(1)) is not None
    assert kb.candidate_of(RoundNumber(0)) is None
