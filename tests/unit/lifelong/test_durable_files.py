"""Files that are whole or absent, and who may read them."""

import stat
from pathlib import Path

import pytest

from lifelong.links.durable_files import UNFINISHED, remove_whole, write_whole


def test_nobody_else_ever_reads_a_private_file(tmp_path: Path) -> None:
    """Not by the mode of the file before, nor by that of what a killed writer left."""
    path, left = tmp_path / "secret", tmp_path / f"{UNFINISHED}secret"
    for file in (path, left):
        file.write_bytes(b"old")
        file.chmod(0o666)
    write_whole(path, b"new", 0o600)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["secret"]


@pytest.mark.parametrize("mode", [None, 0o600])
def test_a_disk_that_fills_up_leaves_the_old_file_alone(
    tmp_path: Path, mode: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kept"
    path.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lifelong.links.durable_files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, b"new", mode)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["kept"]


def test_what_is_removed_leaves_nothing_of_a_killed_writer(tmp_path: Path) -> None:
    path, left = tmp_path / "a.jpg", tmp_path / f"{UNFINISHED}a.jpg"
    for file in (path, left, tmp_path / "b.jpg"):
        file.write_bytes(b"picture")
    assert remove_whole(path)
    assert [file.name for file in tmp_path.iterdir()] == ["b.jpg"]
    left.write_bytes(b"half a picture")
    assert not remove_whole(path)
    assert [file.name for file in tmp_path.iterdir()] == ["b.jpg"]
