"""Archives from outside write nothing outside and fill no disk (SEC-03)."""

import stat
import struct
import zipfile
from pathlib import Path

import pytest

from annotation.exports.safe_archives import ArchiveLimits, unpacked
from lifelong.errors import CorruptRecordError, RecordError


def a_zip(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content, compress_type=zipfile.ZIP_DEFLATED)
    return path


def everything_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_a_good_archive_comes_out_whole(tmp_path: Path) -> None:
    archive = a_zip(tmp_path / "a.zip", ("set/images/a b.jpg", b"1"), ("set/über.txt", b"22"))
    folder = unpacked(archive, tmp_path / "out")
    assert folder == tmp_path / "out" / "set"
    assert (folder / "images" / "a b.jpg").read_bytes() == b"1"
    assert (folder / "über.txt").read_bytes() == b"22"


@pytest.mark.parametrize(
    "name",
    [
        "../evil.txt",
        "a/../../evil.txt",
        "/etc/evil.txt",
        "C:/evil.txt",
        "C:evil.txt",
        "..\\evil.txt",
        "\\\\host\\share\\evil.txt",
        "a/..",
        "a\x01b",
        "x" * 300,
    ],
)
def test_sec_03_zip_slip_is_refused_before_a_byte_is_written(tmp_path: Path, name: str) -> None:
    archive = a_zip(tmp_path / "a.zip", ("good.txt", b"good"), (name, b"evil"))
    before = everything_below(tmp_path)
    with pytest.raises(RecordError, match=r"a\.zip"):
        unpacked(archive, tmp_path / "out")
    assert everything_below(tmp_path) == before


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_sec_03_links_and_devices_are_refused(tmp_path: Path, mode: int) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (mode | 0o777) << 16
    archive = a_zip(tmp_path / "a.zip", (link, b"/etc/passwd"))
    with pytest.raises(RecordError, match="link or a device"):
        unpacked(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_sec_03_damage_of_any_kind_of_packing_is_a_named_error(tmp_path: Path, kind: int) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", kind) as content:
        content.writestr("a.txt", b"hello" * 100)
    data = bytearray(archive.read_bytes())
    data[40:48] = b"\xff" * 8
    archive.write_bytes(data)
    with pytest.raises(RecordError, match=r"a\.zip"):
        unpacked(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_sec_03_a_bomb_by_ratio_leaves_nothing(tmp_path: Path) -> None:
    archive = a_zip(tmp_path / "a.zip", ("good.txt", b"x"), ("bomb", bytes(40 << 20)))
    assert archive.stat().st_size < 100_000
    with pytest.raises(RecordError, match="decompression bomb"):
        unpacked(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_sec_03_a_bomb_by_total_is_refused_by_its_own_word(tmp_path: Path) -> None:
    archive = a_zip(tmp_path / "a.zip", *[(f"{n}.txt", b"x" * 1000) for n in range(20)])
    with pytest.raises(RecordError, match="more than is allowed"):
        unpacked(archive, tmp_path / "out", ArchiveLimits(total_bytes=10_000))
    with pytest.raises(RecordError, match="more than is allowed"):
        unpacked(archive, tmp_path / "out", ArchiveLimits(entry_bytes=999))


def test_sec_03_an_archive_that_lies_about_sizes_is_refused(tmp_path: Path) -> None:
    archive = a_zip(tmp_path / "a.zip", ("bomb", bytes(1 << 20)))
    data = bytearray(archive.read_bytes())
    at = data.index(b"PK\x01\x02") + 24  # uncompressed size in the central directory
    data[at : at + 4] = struct.pack("<I", 10)
    archive.write_bytes(bytes(data))
    with pytest.raises(RecordError):
        unpacked(archive, tmp_path / "out")
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path != archive]
    assert not written


def test_sec_03_too_many_entries_are_refused(tmp_path: Path) -> None:
    archive = a_zip(tmp_path / "a.zip", *[(f"{n}.txt", b"") for n in range(11)])
    with pytest.raises(RecordError, match="11 entries"):
        unpacked(archive, tmp_path / "out", ArchiveLimits(entries=10))


def test_sec_03_encrypted_entries_are_named(tmp_path: Path) -> None:
    archive = a_zip(tmp_path / "a.zip", ("secret.txt", b"x"))
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x03\x04") + 6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(bytes(data))
    with pytest.raises(RecordError, match=r"secret\.txt.*encrypted"):
        unpacked(archive, tmp_path / "out")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_sec_03_one_name_twice_is_refused(tmp_path: Path) -> None:
    archive = a_zip(tmp_path / "a.zip", ("a.txt", b"1"), ("./a.txt", b"2"))
    with pytest.raises(RecordError, match="twice"):
        unpacked(archive, tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04" + bytes(50)])
def test_what_is_no_archive_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(CorruptRecordError, match=r"a\.zip"):
        unpacked(tmp_path / "a.zip", tmp_path / "out")


def test_a_damaged_archive_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    archive = a_zip(tmp_path / "a.zip", ("a.txt", b"some words " * 500))
    data = bytearray(archive.read_bytes())
    data[45:60] = bytes(15)
    archive.write_bytes(bytes(data))
    with pytest.raises(CorruptRecordError, match=r"a\.zip"):
        unpacked(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    archive = a_zip(tmp_path / "a.zip", ("a.txt", b"1"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_bytes(b"mine")
    with pytest.raises(RecordError, match="not empty"):
        unpacked(archive, tmp_path / "out")
    assert everything_below(tmp_path / "out") == {"mine.txt"}
