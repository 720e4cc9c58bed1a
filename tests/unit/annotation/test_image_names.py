"""Where an image lies becomes a name: one to one, and never outside its folder (CNV-06, SEC-03)."""

import base64
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotation.exports.image_names import (
    ImageNames,
    path_of_reference,
    renamed,
    safe_name,
    stem_of,
)
from lifelong.errors import RecordError

NAMES = ImageNames()

parts = st.text(
    st.characters(codec="utf-8", exclude_characters="/\\", exclude_categories=("Cc", "Cs")),
    min_size=1,
    max_size=40,
).filter(lambda part: part not in {".", ".."} and len(part.encode()) <= 200)
paths = st.lists(parts, min_size=1, max_size=4).map("/".join)


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("/data/local-files/?d=park/raw_data/a-b c.jpg", "park/raw_data/a-b c.jpg"),
        ("/data/local-files/?d=park/a%20b%2Bc%2525.jpg", "park/a b+c%25.jpg"),
        ("http://ls:8080/data/local-files/?d=%C3%BCber/%E7%8C%AB.png", "über/猫.png"),
        ("/data/upload/3/0a1b2c3d-my-cat.jpg", "my-cat.jpg"),
        ("/data/upload/3/0a1b2c3d-0a1b2c3d-my-cat.jpg", "0a1b2c3d-my-cat.jpg"),
        ("/data/upload/3/0A1B2C3D-cat.jpg", "0A1B2C3D-cat.jpg"),  # not Label Studio's
        ("/data/upload/3/a-b-c.jpg", "a-b-c.jpg"),
        ("upload/12/deadbeef-a%20b.jpg", "a b.jpg"),
        ("https://ls.example/sub/data/upload/3/0a1b2c3d-x.jpg", "x.jpg"),
        ("s3://bucket/front/100%25.jpg", "front/100%25.jpg"),
        ("gs://bucket/a b.jpg", "a b.jpg"),
        ("https://host/pictures/a%2Bb.jpg?token=1#x", "pictures/a+b.jpg"),
        ("/srv/pictures/1.jpg", "srv/pictures/1.jpg"),
        ("C:\\data\\1.jpg", "data/1.jpg"),
        ("front/./1.jpg", "front/1.jpg"),
        ("0016E5_07959.png", "0016E5_07959.png"),
        (
            "/tasks/7/resolve/?fileuri=" + base64.b64encode(b"s3://b/a/1.jpg").decode(),
            "a/1.jpg",
        ),
    ],
)
def test_cnv_06_every_way_label_studio_names_images(reference: str, name: str) -> None:
    assert NAMES.name_of(reference, "task 1") == name


@settings(max_examples=300, deadline=None)
@given(paths)
def test_cnv_06_local_files_and_keys_come_back_one_to_one(path: str) -> None:
    """Hyphens, spaces, percent signs, any script: what was quoted is what is named."""
    assert NAMES.name_of(f"/data/local-files/?d={quote(path)}", "x") == safe_name(path, "x")
    assert NAMES.name_of(f"s3://bucket/{path}", "x") == safe_name(path, "x")


@settings(max_examples=200, deadline=None)
@given(parts)
def test_cnv_06_exactly_label_studios_own_prefix_goes(name: str) -> None:
    reference = f"/data/upload/7/0badcafe-{quote(name)}"
    assert NAMES.name_of(reference, "x") == safe_name(name, "x")
    kept = ImageNames(keep_upload_prefix=True)
    assert kept.name_of(reference, "x") == safe_name(f"0badcafe-{name}", "x")


def test_flaw_b3_split_on_hyphen_cut_names_at_their_last_hyphen() -> None:
    """`split("-")[-1]` made c.png of a-c.png and of b-c.png: one overwrote the other."""
    assert NAMES.name_of("/data/upload/1/0a1b2c3d-a-c.png", "x") == "a-c.png"
    assert NAMES.name_of("/data/upload/1/0a1b2c3d-b-c.png", "x") == "b-c.png"


def test_flaw_b1_file_names_without_a_hyphen_are_names() -> None:
    """`split("-", 1)[1]` was an IndexError."""
    assert NAMES.name_of("/data/upload/1/cat.jpg", "x") == "cat.jpg"


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=60), st.sampled_from(["", "/data/local-files/?d=", "s3://b/", "http://h/"]))
def test_sec_03_no_reference_leaves_the_folder(text: str, prefix: str) -> None:
    try:
        name = NAMES.name_of(prefix + text, "task 1")
    except RecordError:
        return
    assert ".." not in name.split("/")
    assert not name.startswith("/")
    assert Path("/out", name).resolve().is_relative_to("/out")
    assert PurePosixPath(name).as_posix() == name


@pytest.mark.parametrize(
    "reference",
    [
        "../etc/passwd",
        "/data/local-files/?d=../../etc/passwd",
        "/data/local-files/?d=a/%2e%2e/%2e%2e/x.jpg",
        "/data/local-files/?d=..%5C..%5Cx.jpg",
        "/data/local-files/",
        "/data/upload/1/%2e%2e",
        "s3://bucket/../x",
        "https://host/%2e%2e/x",
        "C:\\..\\x",
        "a/../b.jpg",
        "a\x00b.jpg",
        "a\nb.jpg",
        "/",
        "",
        "data:image/png;base64,AAAA",
        "http://[x/1.jpg",
        "x" * 300 + ".jpg",
        "/data/local-files/?d=%ff.jpg",
        "/tasks/7/resolve/?fileuri=" + base64.b64encode(b"/../x").decode(),
    ],
)
def test_sec_03_what_would_leave_or_cannot_be_a_name_is_refused(reference: str) -> None:
    with pytest.raises(RecordError, match="task 1"):
        NAMES.name_of(reference, "task 1")


def test_folders_in_front_can_be_left_out() -> None:
    names = ImageNames(below="/park/raw_data/")
    assert names.name_of("/data/local-files/?d=park/raw_data/front/1.jpg", "x") == "front/1.jpg"
    assert names.name_of("/data/local-files/?d=park/raw_database/1.jpg", "x") == (
        "park/raw_database/1.jpg"
    )


def test_uploads_lie_below_the_media_folder() -> None:
    assert (
        path_of_reference("/data/upload/3/0a1b2c3d-a%20b.jpg", "x") == "upload/3/0a1b2c3d-a b.jpg"
    )


def test_stems_and_additions_touch_the_last_suffix_only() -> None:
    assert stem_of("a.b/c.d.jpg") == "a.b/c.d"
    assert stem_of("a.b/c") == "a.b/c"
    assert renamed("a.b/c.d.jpg", "-annotation-7") == "a.b/c.d-annotation-7.jpg"
