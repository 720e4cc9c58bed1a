"""INT-08: embeddings on disk are bounded, checked, and replaced where they cannot be trusted."""

import threading
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from cloud.assist.embedding_files import EmbeddingFiles, EmbeddingKey
from cloud.assist.interactive_model import Embedded

KEY = EmbeddingKey("a" * 64, "b" * 64)


def key(number):
    return EmbeddingKey(f"{number:064x}", "b" * 64)


def embedded(number=1, floats=100):
    arrays = {
        "image": np.arange(floats, dtype=np.float32).reshape(1, -1) + number,
        "fine": np.full((1, 2, 3), number, np.float32),
    }
    return Embedded(30, 40, arrays)


def files_of(folder):
    return sorted(folder.rglob("*.safetensors"))


def bytes_of(folder):
    return sum(path.stat().st_size for path in files_of(folder))


def assert_same(one, other):
    assert (one.height, one.width) == (other.height, other.width)
    assert set(one.arrays) == set(other.arrays)
    for name, array in one.arrays.items():
        assert array.dtype == other.arrays[name].dtype
        np.testing.assert_array_equal(array, other.arrays[name])


def test_int_08_what_was_written_is_read_again_by_another_process(tmp_path):
    EmbeddingFiles(tmp_path, limit_bytes=10_000).write(KEY, embedded())

    later = EmbeddingFiles(tmp_path, limit_bytes=10_000)

    assert later.has(KEY)
    found = later.read(KEY)
    assert_same(found, embedded())
    assert all(array.flags.writeable for array in found.arrays.values())  # as torch wants them
    assert later.read(EmbeddingKey("c" * 64, KEY.model)) is None
    assert later.read(EmbeddingKey(KEY.picture, "c" * 64)) is None


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def another_key(data: bytes) -> bytes:
    return data.replace(KEY.picture.encode(), b"c" * 64)


def foreign(_data: bytes) -> bytes:
    return save({"image": np.zeros((2, 2), np.float32)})


@pytest.mark.parametrize(
    "damage",
    [
        flipped,
        another_key,
        foreign,
        lambda data: data[: len(data) // 2],
        lambda data: data[:5],
        lambda data: b"",
        lambda data: b"\xff" * 100,
        lambda data: data.replace(b'"height":"30"', b'"height":"31"'),
        lambda data: data.replace(b"F32", b"F64"),
        lambda data: data.replace(b"cornerloop-embedding-1", b"cornerloop-embedding-0"),
    ],
)
def test_int_08_a_damaged_or_foreign_file_is_as_if_not_there_and_is_replaced(tmp_path, damage):
    files = EmbeddingFiles(tmp_path, limit_bytes=10_000)
    files.write(KEY, embedded())
    (place,) = files_of(tmp_path)
    whole = place.read_bytes()
    assert damage(whole) != whole
    place.write_bytes(damage(whole))

    assert files.read(KEY) is None

    files.write(KEY, embedded())
    assert_same(files.read(KEY), embedded())


def test_int_08_the_bound_holds_over_restarts_and_the_oldest_goes_first(tmp_path):
    one = len(_written(tmp_path / "size"))
    limit = 10 * one + 10
    for number in range(25):
        EmbeddingFiles(tmp_path / "kept", limit_bytes=limit).write(key(number), embedded(number))
        assert bytes_of(tmp_path / "kept") <= limit

    files = EmbeddingFiles(tmp_path / "kept", limit_bytes=limit)
    there = [number for number in range(25) if files.has(key(number))]
    assert there == list(range(there[0], 25))
    assert len(there) >= 9  # no more is taken away than is needed, and a twentieth

    smaller = EmbeddingFiles(tmp_path / "kept", limit_bytes=3 * one)
    smaller.write(key(99), embedded(99))
    assert bytes_of(tmp_path / "kept") <= 3 * one
    assert smaller.has(key(99))


def _written(folder: Path) -> bytes:
    EmbeddingFiles(folder, limit_bytes=10_000).write(key(10), embedded(10))
    return files_of(folder)[0].read_bytes()


def test_int_08_what_is_read_stays_longer(tmp_path):
    one = len(_written(tmp_path / "size"))
    files = EmbeddingFiles(tmp_path / "kept", limit_bytes=5 * one + 10)
    for number in range(5):
        files.write(key(number), embedded(number))
    assert files.read(key(0)) is not None

    files.write(key(5), embedded(5))

    assert files.has(key(0))
    assert not files.has(key(1))


def test_int_08_several_writers_together_keep_the_bound(tmp_path):
    one = len(_written(tmp_path / "size"))
    limit = 6 * one
    seen = []

    def write(first):
        files = EmbeddingFiles(tmp_path / "kept", limit_bytes=limit)  # as a process of its own
        for number in range(first, first + 20):
            files.write(key(number), embedded(number))
            seen.append(bytes_of_now(tmp_path / "kept"))

    threads = [threading.Thread(target=write, args=(first,)) for first in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(seen) == 60
    assert max(seen) <= limit
    assert bytes_of(tmp_path / "kept") <= limit
    assert not list((tmp_path / "kept").rglob(".unfinished-*"))


def bytes_of_now(folder):
    """As `bytes_of`, while others take files away."""
    total = 0
    for path in files_of(folder):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


@pytest.mark.parametrize("ledger", ["", "nonsense", "-5"])
def test_int_08_a_lost_ledger_is_counted_anew(tmp_path, ledger):
    one = len(_written(tmp_path / "size"))
    files = EmbeddingFiles(tmp_path / "kept", limit_bytes=3 * one)
    for number in range(3):
        files.write(key(number), embedded(number))
    (tmp_path / "kept" / ".size").write_text(ledger)

    files.write(key(3), embedded(3))

    assert bytes_of(tmp_path / "kept") <= 3 * one
    assert files.has(key(3))


def test_int_08_what_a_dead_process_left_is_cleared_away(tmp_path):
    one = len(_written(tmp_path / "size"))
    files = EmbeddingFiles(tmp_path / "kept", limit_bytes=2 * one)
    files.write(key(0), embedded(0))
    (place,) = files_of(tmp_path / "kept")
    left = place.with_name(f".unfinished-{place.name}")
    left.write_bytes(b"half of it")
    mine = tmp_path / "kept" / "notes.safetensors"
    mine.write_bytes(b"somebody's own file")

    for number in range(1, 4):
        files.write(key(number), embedded(number))

    assert not left.exists()
    assert mine.exists()


def test_int_08_larger_than_the_limit_is_not_written(tmp_path):
    files = EmbeddingFiles(tmp_path, limit_bytes=100)

    files.write(KEY, embedded())

    assert not files.has(KEY)
    assert files.trouble == ""


def test_ops_02_a_disk_that_fails_is_told_and_costs_only_time(tmp_path):
    """OPS-02: degraded, not failed."""
    in_the_way = tmp_path / "embeddings"
    in_the_way.write_text("a file where a folder should be")
    files = EmbeddingFiles(in_the_way, limit_bytes=10_000)

    files.write(KEY, embedded())

    assert files.read(KEY) is None
    assert "embeddings are not kept on disk" in files.trouble
    assert str(in_the_way) in files.trouble

    in_the_way.unlink()
    files.write(KEY, embedded())
    assert files.trouble == ""
    assert files.has(KEY)
