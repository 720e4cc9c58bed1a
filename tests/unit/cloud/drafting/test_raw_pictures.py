"""Which pictures there are, what their drafts are called, and who does which."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.drafting.raw_pictures import (
    Shard,
    draft_names,
    raw_pictures,
    shard_from,
    share_of,
    unread_pictures,
)
from lifelong.errors import ConfigError

NAMES = [
    "a b.jpg",
    "v1.2.final.JPG",
    "-dash.jpeg",
    "路口/图 片.png",
    "night/north gate/0001.TIF",
    "straße.webp",
    "UPPER.BMP",
    "x.tiff",
]


def written(folder, names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_pre_03_any_name_in_any_folder_is_a_picture(tmp_path):
    """PRE-03: suffixes in any case, nested, with spaces, dots, hyphens, and any script."""
    written(tmp_path, [*NAMES, "notes.txt", ".hidden.jpg", "night/readme.md"])

    found = raw_pictures(tmp_path)

    assert sorted(picture.name for picture in found) == sorted(NAMES)
    assert {p.draft for p in found} == {str(Path(n).with_suffix("").as_posix()) for n in NAMES}


def test_drafts_in_the_same_folder_are_no_pictures(tmp_path):
    written(tmp_path, ["a.jpg", "ssa_output/a_semantic.png"])

    found = raw_pictures(tmp_path, without=tmp_path / "ssa_output")

    assert [picture.name for picture in found] == ["a.jpg"]


@pytest.mark.parametrize("names", [["a.txt"], []])
def test_a_folder_without_pictures_says_what_was_expected(tmp_path, names):
    written(tmp_path, names)

    with pytest.raises(ConfigError, match=r"no pictures in it; expected .*\.jpg"):
        raw_pictures(tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ConfigError, match="nowhere: no such folder"):
        raw_pictures(tmp_path / "nowhere")


def test_pre_04_a_draft_is_called_as_ssa_calls_it_where_that_is_unique():
    """PRE-04: `<stem>_semantic.json`."""
    assert draft_names(["x/a.jpg", "b.c.png"]) == ("x/a", "b.c")


def test_ux_04_names_that_a_file_system_takes_for_one_get_different_drafts():
    """UX-04: Windows and macOS ignore case, and macOS how a letter is composed."""
    composed, apart = "é.jpg", unicodedata.normalize("NFD", "é.png")
    names = ["a.jpg", "A.png", "b.jpg", "B.JPG", "b.png.jpg", "b.png", composed, apart]

    drafts = draft_names(names)

    seen = [unicodedata.normalize("NFC", draft).casefold() for draft in drafts]
    assert len(set(seen)) == len(names)
    assert draft_names(names) == drafts


@given(st.lists(st.text("aAbB.éE\u0301", min_size=1, max_size=4), unique=True, max_size=12))
def test_pre_03_no_two_pictures_share_a_draft(stems):
    """PRE-03: whatever the names."""
    names = [f"{stem}{suffix}" for stem in stems for suffix in (".jpg", ".PNG")]

    seen = [unicodedata.normalize("NFC", draft).casefold() for draft in draft_names(names)]

    assert len(set(seen)) == len(names)


@given(st.integers(0, 40), st.integers(1, 9))
def test_pre_19_shares_are_balanced_and_together_they_are_everything(count, shards):
    """PRE-19: SSA's slices leave the last ranks without a picture."""
    pictures = tuple(range(count))

    shares = [share_of(pictures, Shard(index=i, count=shards)) for i in range(shards)]

    assert sorted(one for share in shares for one in share) == list(pictures)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    if count >= shards:
        assert all(shares)


@pytest.mark.parametrize("text", ["2/2", "-1/2", "1", "a/b", "1/", "/2", "1/0"])
def test_a_share_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="expected INDEX/COUNT"):
        shard_from(text)


def test_a_share_is_counted_from_0_as_kubernetes_counts():
    assert shard_from("0/8") == Shard(index=0, count=8)


def test_ops_03_pictures_of_a_kind_that_is_not_read_are_named(tmp_path):
    """OPS-03: a folder of a phone's pictures must not become half of them without a word."""
    written(tmp_path, ["a.jpg", "night/IMG_1.HEIC", "b.avif", "notes.txt", ".c.heic"])
    assert unread_pictures(tmp_path) == ("b.avif", "night/IMG_1.HEIC")
    assert unread_pictures(tmp_path / "nowhere") == ()
