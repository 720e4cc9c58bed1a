"""UX-07, UX-08, SEC-03: pictures of samples that records know, in the label map's colours."""

import io
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from annotation.labeling_config import labeling_config
from annotation.review.picture import review_picture
from cloud.demo.report import _legend
from cloud.monitor.difference_maps import changes
from cloud.monitor.look import Look
from cloud.monitor.sample_pictures import KINDS, SamplePictures
from cloud.monitor.sample_records import samples_of
from cloud.web.figures import class_legend
from lifelong.errors import StorageUnavailableError
from lifelong.links.storage import Storage, open_storage
from lifelong.overlays import overlay
from lifelong.records.colours import css_colour, distinct_colours
from lifelong.records.keys import bundle_key
from lifelong.records.label_map import LabelMap
from lifelong.records.pixels import image_from_bytes, png_from_mask
from lifelong.records.rounds import Round
from lifelong.segmenter import OnnxSegmenter
from tests.builders import SMALL_MAP, a_jpeg, a_mask, an_image
from tests.large_loop import live_long, sample_of
from tests.tiny_bundle import tiny_bundle
from tests.web_parts import a_client, a_watch, some_parts

NUMBER, INDEX = 3, 2
SAMPLE = sample_of(NUMBER, INDEX)
BUNDLE = tiny_bundle()


class Room:
    """A loop of three rounds whose last one has a candidate that really answers."""

    def __init__(self, folder: Path) -> None:
        self.storage = open_storage("memory://")
        live_long(self.storage, rounds=3, samples=6, edges=1, pictures=1, is_open=False)
        self.storage.put(bundle_key(BUNDLE.version_id), BUNDLE.to_bytes())
        look = a_watch(self.storage, folder).refresh()
        last = replace(look.rounds[-1], candidate=BUNDLE.version_id)
        self.look: Look = replace(look, rounds=(*look.rounds[:-1], last), _facts={})

    @property
    def round(self) -> Round:
        return self.look.rounds[-1]

    def client(self, storage: Storage | None = None) -> TestClient:
        return a_client(some_parts(storage or self.storage, self.look))

    def address(self, kind: str) -> str:
        return f"/pictures/{kind}/{NUMBER}/{SAMPLE}"


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def pixels(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))


def answered(client: TestClient, room: Room) -> TestClient:
    """The candidate has answered; it is waited for, up to ten seconds."""
    live = f"/live/rounds/{NUMBER}/samples/{SAMPLE}"
    for _ in range(1000):
        if client.get(live).headers.get("Cornerloop-Live") == "last":
            return client
        time.sleep(0.01)
    raise AssertionError("the candidate did not answer")


def test_ux_08_every_kind_is_drawn_and_after_is_what_the_candidate_answers(room: Room) -> None:
    client = answered(room.client(), room)
    for kind in KINDS.values():
        answer = client.get(room.address(kind.name))
        assert answer.status_code == 200, kind
        assert answer.headers["content-type"] == ("image/png" if kind.is_map else "image/jpeg")
        assert pixels(answer.content).shape == (48, 64, 3)
    shown = pixels(client.get(room.address("after")).content).astype(int)
    image = image_from_bytes(a_jpeg(INDEX), "frame")
    expected = overlay(image, OnnxSegmenter(BUNDLE, threads=1).segment(image).mask, SMALL_MAP)
    assert np.abs(shown - expected).mean() < 6, "but for what JPEG does"


def test_ux_08_the_map_of_peoples_work_is_the_map_of_draft_and_correction(room: Room) -> None:
    told = pixels(room.client().get(room.address("people")).content)
    image = image_from_bytes(a_jpeg(INDEX), "frame")
    expected = changes(a_mask(INDEX + 2), a_mask(INDEX + 2)).paint(image)
    assert np.array_equal(told, expected)


def test_ux_08_a_page_asks_for_the_candidates_answer_and_shows_it_when_it_is_there(
    room: Room,
) -> None:
    client = room.client()
    address = f"/rounds/{NUMBER}/samples/{SAMPLE}"
    assert "being computed" in client.get(address).text
    told = answered(client, room).get(address).text
    assert "being computed" not in told
    assert f'src="/pictures/after/{NUMBER}/{SAMPLE}?width=960"' in told
    assert "an error that vanished" in told
    assert "data-live" not in told


def test_ux_08_thumbnails_come_in_few_sizes_and_are_never_enlarged(room: Room) -> None:
    room.storage.put(f"images/{SAMPLE}.jpg", _large_jpeg())
    for kind, seed in (("edge_masks", 1), ("drafts/3", 2)):
        mask = a_mask(seed, height=600, width=800)
        room.storage.put(f"{kind}/{SAMPLE}.png", png_from_mask(mask))
    client = room.client()
    for width, size in ((240, (180, 240)), (480, (360, 480)), (960, (600, 800))):
        for kind in ("frame", "draft"):
            answer = client.get(f"{room.address(kind)}?width={width}")
            assert pixels(answer.content).shape[:2] == size
    assert client.get(f"{room.address('frame')}?width=241").status_code == 422


def test_ux_08_the_heat_of_a_round_leaves_out_what_is_gone(room: Room) -> None:
    address = f"/pictures/heat/{NUMBER}"
    assert address in room.client().get(f"/rounds/{NUMBER}").text
    answer = room.client().get(address)
    assert (answer.status_code, pixels(answer.content).shape) == (200, (360, 480, 3))
    tag = answer.headers["etag"]
    assert room.client().get(address, headers={"If-None-Match": tag}).status_code == 304
    for index in range(6):
        room.storage.delete(f"drafts/3/{sample_of(NUMBER, index)}.png")
    gone = room.client().get(address)
    assert (gone.status_code, "no longer in storage" in gone.text) == (404, True)
    assert room.client().get("/pictures/heat/99").status_code == 404


def test_a_browser_that_has_a_picture_is_told_so_without_a_look_into_storage(room: Room) -> None:
    first = room.client().get(room.address("draft"))
    assert first.headers["cache-control"] == "private, no-cache"
    tag = first.headers["etag"]
    nothing = open_storage("memory://")
    again = room.client(nothing).get(room.address("draft"), headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    other = room.client().get(f"{room.address('draft')}?width=240", headers={"If-None-Match": tag})
    assert other.status_code == 200


def test_a_forgotten_picture_is_gone_at_once_also_for_who_has_it(room: Room) -> None:
    tag = room.client().get(room.address("frame")).headers["etag"]
    left = tuple(e for e in room.round.examples if e.sample_id != SAMPLE)
    room.look = replace(room.look, rounds=(replace(room.round, examples=left),), _facts={})
    answer = room.client().get(room.address("frame"), headers={"If-None-Match": tag})
    assert answer.status_code == 404


def test_what_is_no_longer_in_storage_is_a_picture_that_says_so(room: Room) -> None:
    room.storage.delete(f"images/{SAMPLE}.jpg")
    answer = room.client().get(room.address("frame"))
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("image/svg+xml")
    assert answer.headers["cache-control"] == "no-store"
    assert "no longer in storage" in answer.text


def test_a_damaged_mask_and_a_store_that_is_away_are_told_apart(room: Room) -> None:
    room.storage.put(f"drafts/3/{SAMPLE}.png", b"<svg>")
    broken = room.client().get(room.address("draft"))
    assert (broken.status_code, "&lt;svg" in broken.text or "readable" in broken.text) == (
        422,
        True,
    )

    class Away(Storage):
        def get(self, key: str, *, sha256: str | None = None) -> bytes:
            raise StorageUnavailableError("the store does not answer")

    away = Away(room.storage._store, "memory://")
    answer = room.client(away).get(room.address("frame"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


@pytest.mark.parametrize(
    "path",
    [
        f"frame/{NUMBER}/{sample_of(2, 1)}",  # of another round
        f"frame/99/{SAMPLE}",
        f"frame/{NUMBER}/..%2f..%2fkeys%2fring",
        f"frame/{NUMBER}/%2e%2e%2f{SAMPLE}",
        f"frame/{NUMBER}/{SAMPLE}%00",
        f"frame/{NUMBER}/{SAMPLE.upper()}x",
        f"..%2fkeys/{NUMBER}/{SAMPLE}",
        f"models/{NUMBER}/{SAMPLE}",
    ],
)
def test_sec_03_keys_come_from_records_and_never_from_addresses(room: Room, path: str) -> None:
    seen: list[str] = []

    class Watched(Storage):
        def get(self, key: str, *, sha256: str | None = None) -> bytes:
            seen.append(key)
            return super().get(key, sha256=sha256)

    client = room.client(Watched(room.storage._store, "memory://"))
    assert client.get(f"/pictures/{path}").status_code == 404
    assert seen == []


def test_ux_07_all_places_take_a_class_colour_from_the_one_label_map() -> None:
    """Label Studio, legends, overlays of pages, reviews and reports: 255 classes, no two alike."""
    colours = distinct_colours(255)
    many = LabelMap(tuple(f"class {i}" for i in range(255)), colours)
    assert len(set(colours)) == 255
    xml = labeling_config(many)
    legend = class_legend(many)
    for name, colour, line in zip(many.names, colours, legend, strict=False):
        assert f'value="{name}" background="{css_colour(colour)}"' in xml
        assert (line.name, line.colour) == (name, css_colour(colour))
    assert legend[-1].is_hatched
    assert not legend[-1].colour

    class Told:
        label_map = many

    assert _legend(Told()) == [(one.name, one.colour) for one in legend[:-1]]  # type: ignore[arg-type]

    mask = np.arange(256, dtype=np.uint8).reshape(16, 16)
    black = np.zeros((16, 16, 3), dtype=np.uint8)
    painted = overlay(black, mask, many)
    sheet = pixels(review_picture(black, mask, mask, many))
    assert np.array_equal(sheet[18 : 18 + 16, 16:32], painted)
    expected = np.array([colours[i] for i in range(255)]) * 0.6
    assert np.abs(painted.reshape(-1, 3)[:255] - expected).max() <= 1.5
    assert not painted[15, 15].any() or len(set(painted[15, 15].tolist())) == 1, "no colour"


def test_ux_07_pages_paint_with_the_same_function(room: Room) -> None:
    pictures = SamplePictures(room.storage, SMALL_MAP, lambda: room.look)
    sample = next(one for one in samples_of(room.round) if one.sample_id == SAMPLE)
    told = pixels(pictures.draw(sample, "draft", None)).astype(int)
    image = image_from_bytes(a_jpeg(INDEX), "frame")
    assert np.abs(told - overlay(image, a_mask(INDEX + 2), SMALL_MAP)).mean() < 6


def _large_jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(an_image(1, height=600, width=800)).save(buffer, format="JPEG")
    return buffer.getvalue()
