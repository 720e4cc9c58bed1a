"""Labelling config and project check (ANN-01)."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from annotation.labeling_config import check_fits, labeling_config
from annotation.project import ImageAddresses, ensure_project, ensure_readable
from lifelong.errors import ConfigError, ProjectMismatchError
from lifelong.records.label_map import CITYSCAPES, label_map_of
from tests.builders import SMALL_MAP
from tests.fakes_label_studio import FakeStudio


def test_ann_01_every_tool_has_every_class_in_its_own_colour() -> None:
    view = ElementTree.fromstring(labeling_config(CITYSCAPES))
    for tag in ("BrushLabels", "PolygonLabels", "RectangleLabels", "KeyPointLabels"):
        labels = view.findall(f"{tag}/Label")
        assert [label.get("value") for label in labels] == list(CITYSCAPES.names)
        assert len({label.get("background") for label in labels}) == 19
    assert view.findall("Image")[0].get("value") == "$image"


def test_ann_01_only_prompting_tools_are_smart() -> None:
    view = ElementTree.fromstring(labeling_config(SMALL_MAP))
    smart = {element.get("name"): element.get("smartOnly") for element in view if len(element)}
    assert smart == {
        "brush": None,
        "polygon": None,
        "prompt_box": "true",
        "prompt_point": "true",
    }


def test_names_with_signs_survive_the_xml() -> None:
    odd = label_map_of([("a & b <c>", (1, 2, 3)), ('"quoted" ä', (4, 5, 6))])
    check_fits(labeling_config(odd), odd, "odd")


def test_our_own_config_fits_and_foreign_additions_do_not_matter() -> None:
    config = labeling_config(SMALL_MAP).replace("</View>", '<Header value="hello"/></View>')
    check_fits(config, SMALL_MAP, "title")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('value="car"', 'value="boat"', "has no class 'car'; brush has unknown classes 'boat'"),
        ("BrushLabels", "EllipseLabels", 'no <BrushLabels name="brush">'),
        ('value="$image"', 'value="$picture"', "no <Image"),
        ('toName="image"', 'toName="other"', "is for 'other'"),
        ("<View>", "<View", "not XML"),
    ],
)
def test_every_difference_is_told_in_words(old: str, new: str, told: str) -> None:
    config = labeling_config(SMALL_MAP).replace(old, new)
    with pytest.raises(ProjectMismatchError) as caught:
        check_fits(config, SMALL_MAP, "Night shift")
    assert told in str(caught.value)
    assert "Night shift" in str(caught.value)


def test_ann_01_a_project_is_made_once_and_an_empty_one_is_taken_over() -> None:
    studio = FakeStudio()
    first = ensure_project(studio, "Cornerloop", SMALL_MAP)
    assert ensure_project(studio, "Cornerloop", SMALL_MAP) == first
    empty = studio.create_project("By hand", "<View></View>", "")
    assert ensure_project(studio, "By hand", SMALL_MAP) == empty
    check_fits(studio.projects[empty].label_config, SMALL_MAP, "By hand")


def test_two_projects_of_one_title_are_refused() -> None:
    studio = FakeStudio()
    for _ in range(2):
        studio.create_project("Twice", labeling_config(SMALL_MAP), "")
    with pytest.raises(ProjectMismatchError, match="ids 1, 2"):
        ensure_project(studio, "Twice", SMALL_MAP)


@pytest.mark.parametrize("title", ["", "ab", "x" * 51])
def test_a_title_that_label_studio_refuses_is_a_config_error(title: str) -> None:
    with pytest.raises(ConfigError, match=r"label_studio\.project"):
        ensure_project(FakeStudio(), title, SMALL_MAP)


@pytest.mark.parametrize(
    ("storage", "root", "url", "folder"),
    [
        ("/srv/data/storage", "/srv/data", "storage/images/a.jpg", "/srv/data/storage"),
        ("/srv/data", "/srv/data", "images/a.jpg", "/srv/data/images"),
        ("/srv/data/x y/s", "/srv/data", "x%20y/s/images/a.jpg", "/srv/data/x y"),
    ],
)
def test_images_in_a_folder_are_served_as_local_files(
    storage: str, root: str, url: str, folder: str
) -> None:
    addresses = ImageAddresses(Path(storage).as_uri(), Path(root))
    assert addresses.url("images/a.jpg") == f"/data/local-files/?d={url}"
    assert addresses.folder("images/a.jpg") == Path(folder)


def test_names_with_hyphens_percent_and_spaces_map_one_to_one() -> None:
    addresses = ImageAddresses("file:///srv/s", Path("/srv"))
    keys = ["a-b.jpg", "a_b.jpg", "a b.jpg", "a%20b.jpg", "a+b.jpg", "a#b.jpg", "day/b.jpg"]
    assert len({addresses.url(key) for key in keys}) == len(keys)


def test_images_in_a_bucket_keep_their_address() -> None:
    addresses = ImageAddresses("s3://bucket/prefix/", None)
    assert addresses.url("images/a.jpg") == "s3://bucket/prefix/images/a.jpg"
    assert addresses.folder("images/a.jpg") is None


@pytest.mark.parametrize(
    ("storage", "root", "told"),
    [
        ("file:///srv/data", None, "local_files_root is not set"),
        ("file:///srv/database", "/srv/data", "is not under it"),
        ("memory://", "/srv", "s3://"),
    ],
)
def test_storage_that_label_studio_cannot_show_is_a_config_error(
    storage: str, root: str | None, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        ImageAddresses(storage, None if root is None else Path(root))


def test_folders_are_registered_once() -> None:
    studio = FakeStudio()
    project = ensure_project(studio, "Cornerloop", SMALL_MAP)
    addresses = ImageAddresses("file:///srv/data", Path("/srv/data"))
    for _ in range(2):
        ensure_readable(studio, project, addresses, ["images/a.jpg", "inbox/e/b.jpg"])
    assert studio.folders[project] == ["/srv/data/images", "/srv/data/inbox"]
