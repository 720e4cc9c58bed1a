"""Labelling config and project check (ANN-01)."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from annotation.draft_regions import DraftShapes, regions_from_mask
from annotation.labeling_config import (
    ERASER,
    OUR_TOOLS,
    classes_of,
    labeling_config,
    prompting_tools,
    tools_for,
)
from annotation.project import ImageAddresses, ensure_project, ensure_readable
from annotation.regions import mask_from_regions
from annotation.tasks import task_json
from lifelong.errors import ConfigError, ProjectMismatchError
from lifelong.records.label_map import CITYSCAPES, label_map_of
from tests.builders import SMALL_MAP, a_mask, a_pre_annotation
from tests.fakes_label_studio import FakeStudio


def test_ann_01_every_tool_has_every_class_in_its_own_colour() -> None:
    view = ElementTree.fromstring(labeling_config(CITYSCAPES))
    for tag in ("BrushLabels", "PolygonLabels", "RectangleLabels", "KeyPointLabels"):
        labels = view.findall(f"{tag}/Label")
        if tag in ("RectangleLabels", "KeyPointLabels"):  # INT-25: they can take away, too
            assert labels.pop().get("value") == ERASER
        assert [label.get("value") for label in labels] == list(CITYSCAPES.names)
        assert len({label.get("background") for label in labels}) == 19
    assert view.findall("Image")[0].get("value") == "$image"
    assert view.find("TextArea").get("toName") == "image"  # type: ignore[union-attr]


def test_ann_01_only_prompting_tools_are_smart() -> None:
    view = ElementTree.fromstring(labeling_config(SMALL_MAP))
    smart = {
        element.get("name"): element.get("smartOnly")
        for element in view
        if element.tag.endswith("Labels")
    }
    assert smart == {
        "brush": None,
        "polygon": None,
        "prompt_box": "true",
        "prompt_point": "true",
    }


def test_names_with_signs_survive_the_xml() -> None:
    odd = label_map_of([("a & b <c>", (1, 2, 3)), ('"quoted" ä', (4, 5, 6))])
    tools_for(labeling_config(odd), odd, "odd")


def test_our_own_config_fits_and_foreign_additions_do_not_matter() -> None:
    config = labeling_config(SMALL_MAP).replace("</View>", '<Header value="hello"/></View>')
    tools_for(config, SMALL_MAP, "title")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('value="car"', 'value="boat"', "has no class 'car'; brush has unknown classes 'boat'"),
        ("Labels", "Rubbish", "neither <BrushLabels> nor <PolygonLabels>"),
        ('value="$', 'value="', "no <Image"),
        ('toName="image"', 'toName="other"', "is for 'other'"),
        ("<View>", "<View", "not XML"),
    ],
)
def test_every_difference_is_told_in_words(old: str, new: str, told: str) -> None:
    config = labeling_config(SMALL_MAP).replace(old, new)
    with pytest.raises(ProjectMismatchError) as caught:
        tools_for(config, SMALL_MAP, "Night shift")
    assert told in str(caught.value)
    assert "Night shift" in str(caught.value)


def test_ann_01_a_project_is_made_once_and_an_empty_one_is_taken_over() -> None:
    studio = FakeStudio()
    first = ensure_project(studio, "Cornerloop", SMALL_MAP)
    assert ensure_project(studio, "Cornerloop", SMALL_MAP) == first
    empty = studio.create_project("By hand", "<View></View>", "")
    assert ensure_project(studio, "By hand", SMALL_MAP).project_id == empty
    tools_for(studio.projects[empty].label_config, SMALL_MAP, "By hand")


def test_two_projects_of_one_title_are_refused() -> None:
    studio = FakeStudio()
    for _ in range(2):
        studio.create_project("Twice", labeling_config(SMALL_MAP), "")
    with pytest.raises(ProjectMismatchError, match="ids 1, 2"):
        ensure_project(studio, "Twice", SMALL_MAP)


SEED_CONFIGS = {
    "000": """<View><Image name="image" value="$image" zoom="true"/>
      <KeyPointLabels name="KeyPointLabels" toName="image"></KeyPointLabels>
      <RectangleLabels name="RectangleLabels" toName="image"><Label value="car"/></RectangleLabels>
      <PolygonLabels name="PolygonLabels" toName="image" opacity="0.9">
        <Label value="road"/><Label value="car"/><Label value="person"/></PolygonLabels>
      <BrushLabels name="BrushLabels" toName="image">
        <Label value="road"/><Label value="car"/><Label value="person"/></BrushLabels></View>""",
    "001": """<View><Image name="image" value="$image" zoom="true"/>
      <BrushLabels name="brush" toName="image">
        <Label value="road" hint="brush" alias="1_brush"/>
        <Label value="car" hint="brush" alias="2_brush"/>
        <Label value="person" hint="brush" alias="3_brush"/></BrushLabels>
      <KeypointLabels name="tag2" toName="image">
        <Label value="(+1)" alias="1"/><Label value="(-1)" alias="-1"/></KeypointLabels>
      <RectangleLabels name="tag4" toName="image"><Label value="[1]" alias="1"/></RectangleLabels>
      </View>""",
    "003": """<View><Header value="Select label and click the image to start"/>
      <Image name="image" value="$image" zoom="true" zoomControl="true" rotateControl="false"/>
      <PolygonLabels name="labels" toName="image" Opacity="0.5" strokeWidth="3">
        <Label value="road" background="#ADC6FF"/><Label value="car" background="#F759AB"/>
        <Label value="person" background="#ADC6FF"/></PolygonLabels></View>""",
    "004": """<View><Image name="image" value="$image"/><Style>.a { color: red; }</Style>
      <View className="prompt"><TextArea name="prompt" toName="image" editable="true"/></View>
      <RectangleLabels name="label" toName="image"><Label value="car"/></RectangleLabels>
      <BrushLabels name="label2" toName="image"><Label value="road"/><Label value="car"/>
        <Label value="person"/></BrushLabels></View>""",
}
# Shapes of seed 000 and 002 are the same tags.


@pytest.mark.parametrize(
    ("seed", "brush", "polygon"),
    [
        ("000", "BrushLabels", "PolygonLabels"),
        ("001", "brush", None),
        ("003", None, "labels"),
        ("004", "label2", None),
    ],
)
def test_ann_01_ux_02_a_seeds_project_is_taken_as_it_is(
    seed: str, brush: str | None, polygon: str | None
) -> None:
    tools = tools_for(SEED_CONFIGS[seed], SMALL_MAP, "Seed")
    assert (tools.image, tools.data_field) == ("image", "image")
    assert (tools.brush, tools.polygon) == (brush, polygon)
    assert sorted(tools.classes.values()) == sorted(SMALL_MAP.names)
    mask = a_mask(5)
    regions = regions_from_mask(mask, SMALL_MAP, shapes=DraftShapes(), tools=tools)
    assert {region["from_name"] for region in regions} <= {brush, polygon}
    classes = classes_of(SEED_CONFIGS[seed], SMALL_MAP)
    painted = mask_from_regions(regions, SMALL_MAP, size=None, where="seed", classes=classes)
    assert np.array_equal(painted, mask)


def test_ann_01_a_label_is_said_by_its_alias_where_it_has_one() -> None:
    tools = tools_for(SEED_CONFIGS["001"], SMALL_MAP, "Seed")
    assert tools.label_of("car") == "2_brush"
    assert OUR_TOOLS.label_of("car") == "car"


def test_ann_01_fields_that_a_foreign_config_shows_are_in_every_task() -> None:
    config = SEED_CONFIGS["003"].replace("</View>", '<Text name="t" value="$caption"/></View>')
    tools = tools_for(config, SMALL_MAP, "Seed")
    body = task_json(
        a_pre_annotation(1),
        a_mask(1),
        image_url="/x.jpg",
        label_map=SMALL_MAP,
        shapes=DraftShapes(),
        tools=tools,
    )
    assert body["data"] | {} == {  # type: ignore[operator]
        "caption": "",
        "image": "/x.jpg",
        "cornerloop_sample": a_pre_annotation(1).sample_id,
        "cornerloop_round": 1,
        "cornerloop_note": "",
        "cornerloop_prompt": "",
        "cornerloop_unsure": "/x.jpg",
    }


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
    project = ensure_project(studio, "Cornerloop", SMALL_MAP).project_id
    addresses = ImageAddresses("file:///srv/data", Path("/srv/data"))
    for _ in range(2):
        ensure_readable(studio, project, addresses, ["images/a.jpg", "inbox/e/b.jpg"])
    assert studio.folders[project] == ["/srv/data/images", "/srv/data/inbox"]


def test_ann_01_tools_that_only_prompt_are_known_by_name_whatever_they_are_called() -> None:
    by_hand = """<View><Image name="i" value="$i"/>
      <RectangleLabels name="frame" toName="i" smart="true" smartonly="true"/>
      <RectangleLabels name="boxes" toName="i" smart="true"/></View>"""
    assert prompting_tools(by_hand) == {"frame"}
    assert prompting_tools(labeling_config(SMALL_MAP)) == {"prompt_box", "prompt_point"}
    assert prompting_tools("<View") == frozenset()
