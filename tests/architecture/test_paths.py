"""UX-04: keys and paths as Windows, macOS and Linux have them; CI itself only ever ran Linux."""

import unicodedata
from pathlib import Path, PureWindowsPath

import pytest

from annotation.exports.image_names import ImageNames, safe_name
from annotation.formats.file_names import flat_name, original_name, refuse_twins
from cloud.backup.places import FolderPlace, is_plain
from cloud.drafting.raw_pictures import draft_names
from lifelong.config import load_config
from lifelong.errors import CorruptRecordError, RecordError, StorageError
from lifelong.links.storage import checked_key, open_storage
from lifelong.records.ids import edge_id

COMPOSED, APART = "é", unicodedata.normalize("NFD", "é")
NAMES = ImageNames()


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("C:\\data\\1.jpg", "data/1.jpg"),
        ("c:/data/1.jpg", "data/1.jpg"),
        ("\\\\server\\share\\a b.jpg", "server/share/a b.jpg"),
        ("data\\front\\1.jpg", "data/front/1.jpg"),
        ("/home/ada/1.jpg", "home/ada/1.jpg"),
        ("file:///C:/data/1.jpg", "data/1.jpg"),
        ("/data/local-files/?d=park%5C1.jpg", "park/1.jpg"),
        (f"s3://b/caf{APART}/1.jpg", f"caf{APART}/1.jpg"),
        ("s3://b/街道/一.jpg", "街道/一.jpg"),
    ],
)
def test_ux_04_a_picture_has_one_name_whatever_system_wrote_its_address(
    reference: str, name: str
) -> None:
    found = NAMES.name_of(reference, "task 1")
    assert found == name
    assert not PureWindowsPath(found).drive and not PureWindowsPath(found).root
    assert ".." not in PureWindowsPath(found).parts


@pytest.mark.parametrize(
    "reference", ["C:\\..\\..\\x.jpg", "..\\x.jpg", "a\\..\\..\\x", "x" * 241 + ".jpg"]
)
def test_ux_04_sec_03_ways_up_in_either_spelling_are_refused(reference: str) -> None:
    with pytest.raises(RecordError):
        NAMES.name_of(reference, "task 1")


@pytest.mark.parametrize(
    ("key", "is_good"),
    [
        ("inbox/edge-1/0123/image.jpg", True),
        ("kb/街道.json", True),
        (f"kb/caf{APART}.json", True),
        ("a b/c d.json", True),
        ("a\\b", False),
        ("/a", False),
        ("a//b", False),
        ("../a", False),
        ("a/..", False),
        ("a\nb", False),
        ("", False),
    ],
)
def test_ux_04_keys_always_have_slashes(key: str, is_good: bool) -> None:
    if is_good:
        assert checked_key(key) == key
        return
    with pytest.raises(StorageError):
        checked_key(key)


def test_ux_04_names_with_blanks_and_any_script_lie_in_a_folder_and_come_back(
    tmp_path: Path,
) -> None:
    storage = open_storage(str(tmp_path / "a folder with blanks" / "街"))
    keys = ["a b/c d.json", "街道/一.json", f"x/caf{COMPOSED}.json", "x/50%25.json", "x/a+b#c.json"]
    for key in keys:
        storage.put(key, key.encode())
    assert {k for room in storage.rooms() for k in storage.keys(room)} == set(keys)
    assert all(storage.get(key) == key.encode() for key in keys)
    place = FolderPlace(tmp_path / "folder")
    for key in keys:
        place.write(key, key.encode())
    assert {found.key for found in place.listing(lambda _: None)} == set(keys)


@pytest.mark.parametrize(
    ("key", "is_good"),
    [
        ("a/b.json", True),
        ("C:/x", False),
        ("a/b:stream", False),
        ("a\\b", False),
        ("a/../b", False),
    ],
)
def test_ux_04_what_a_backup_writes_is_a_name_on_every_system(key: str, is_good: bool) -> None:
    """A drive, or a stream of NTFS, is more than a name."""
    assert is_plain(key) is is_good
    if is_good:
        assert PureWindowsPath(key).drive == ""


@pytest.mark.parametrize(
    ("one", "other"),
    [("a.jpg", "A.jpg"), (f"{COMPOSED}.jpg", f"{APART}.jpg"), ("STRASSE.jpg", "straße.jpg")],
)
def test_ux_04_pictures_that_some_file_system_takes_for_one_stay_apart_or_are_refused(
    one: str, other: str
) -> None:
    drafts = draft_names([one, other])
    seen = {unicodedata.normalize("NFC", draft).casefold() for draft in drafts}
    assert len(seen) == 2
    with pytest.raises(CorruptRecordError, match="rename one"):
        refuse_twins([(one, one), (other, other)])


@pytest.mark.parametrize("name", ["front/0001.jpg", "a__b/c_.jpg", "50%25/x.jpg", "街/一 二.jpg"])
def test_ux_04_a_flat_name_has_no_separator_and_leads_back(name: str) -> None:
    flat = flat_name(name)
    assert len(PureWindowsPath(flat).parts) == 1
    assert original_name(flat) == name


@pytest.mark.parametrize(
    ("name", "is_good"),
    [
        ("edge-1", True), ("Hall_7.north", True), ("console", True), ("com10", True),
        ("CON", False), ("nul", False), ("com1", False), ("LPT9.txt", False), ("edge.", False),
        ("a/b", False), ("a\\b", False), ("C:", False), ("köln", False), ("x" * 64, False),
    ],
)  # fmt: skip
def test_ux_04_an_edge_has_a_name_that_every_file_system_can_keep(name: str, is_good: bool) -> None:
    if is_good:
        assert edge_id(name) == name
        return
    with pytest.raises(ValueError, match="edge id"):
        edge_id(name)


def test_ux_04_windows_drives_are_no_scheme_of_a_storage(tmp_path: Path) -> None:
    """`C:\\data` is a folder, as is `file://`; a scheme that nobody knows is refused by name."""
    assert open_storage((tmp_path / "x").as_uri()).url == (tmp_path / "x").as_uri()
    with pytest.raises(Exception, match="use a folder"):
        open_storage("ftp://host/x")


def test_ux_04_a_configuration_with_windows_line_ends_and_a_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xef\xbb\xbfstorage: a folder\r\nrounds:\r\n  min_examples: 3\r\n")
    config = load_config(path)
    assert config.storage == str(tmp_path / "a folder")
    assert config.rounds.min_examples == 3


def test_ux_04_a_name_that_is_too_long_is_told_in_bytes() -> None:
    with pytest.raises(RecordError, match="240"):
        safe_name("街" * 81, "task 1")
