"""Second looks at annotations, LLL-10: what the incumbent doubts goes back and is answered once."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import cloud.assembly
from annotation.project import ImageAddresses
from annotation.review.asking import AskingDesk
from annotation.task_fields import NOTE, UNSURE
from cloud.annotators.doubted_labels import DoubtAnswer, DoubtedLabels, Doubts
from lifelong.config import load_config
from lifelong.errors import ConfigError
from lifelong.links.journal import Journal
from lifelong.model_bundle import ModelBundle
from lifelong.records.keys import image_key
from lifelong.records.label_map import label_map_of
from lifelong.records.pixels import image_from_bytes, jpeg_from_image, png_from_mask
from lifelong.records.samples import AnnotationTask, PreAnnotation
from lifelong.records.wire import from_json
from tests.builders import SMALL_MAP, a_pre_annotation
from tests.desks import FakeDesk, Setting
from tests.fakes_label_studio import FakeStudio

ROAD, CAR, PERSON = 0, 1, 2
COLOURS = np.array([[200, 20, 20], [20, 200, 20], [20, 20, 200]], dtype=np.uint8)


def a_street(number: int) -> NDArray[np.uint8]:
    """(48, 64): road, a car and a person, somewhere else in every street."""
    mask = np.full((48, 64), ROAD, dtype=np.uint8)
    mask[4 : 4 + 16, 4 + number : 20 + number] = CAR
    mask[26:40, 30 + number : 40 + number] = PERSON
    return mask


def who_sees_colours(names: Sequence[str] = SMALL_MAP.names) -> ModelBundle:
    """A model to which red is road, green is car, and blue is a person."""
    from tests.tiny_bundle import tiny_bundle

    weights = 3.0 * np.eye(3, dtype=np.float32)[:, :, None, None]
    label_map = label_map_of(zip(names, SMALL_MAP.colours, strict=True))
    return tiny_bundle(
        label_map, height=48, width=64, weights=(weights, np.zeros(3, dtype=np.float32))
    )


class Place:
    """A finished round at a fake Label Studio, with the incumbent between it and the loop."""

    def __init__(self, tmp_path: Path, count: int = 4, share: float = 0.5) -> None:
        self.setting = Setting(FakeDesk(tmp_path), tmp_path)
        self.storage = self.setting.storage
        self.share = share
        self.incumbent: ModelBundle | None = who_sees_colours()
        self.truths = [a_street(number) for number in range(count)]
        self.drafts: list[PreAnnotation] = []
        for number, truth in enumerate(self.truths):
            image = jpeg_from_image(COLOURS[truth])
            draft = a_pre_annotation(number)
            assert draft.image_key == image_key(draft.sample_id)
            self.storage.put(draft.image_key, image)
            self.storage.put(draft.mask_key, png_from_mask(truth))
            self.drafts.append(draft)
        self.annotators = self.restarted()
        self.tasks: list[AnnotationTask] = self.annotators.push(self.drafts)

    def restarted(self) -> DoubtedLabels:
        setting = self.setting
        self.annotators = DoubtedLabels(
            setting.exchange,
            AskingDesk(
                setting.reviewer("cornerloop"),
                ImageAddresses(self.storage.url, setting.section.local_files_root),
            ),
            storage=self.storage,
            journal=Journal(setting.journal_folder, "cloud"),
            share=self.share,
            names=SMALL_MAP.names,
            incumbent=lambda: self.incumbent,
        )
        return self.annotators

    def say(self, number: int, mask: NDArray[np.uint8]) -> int:
        return self.setting.truth(mask, self.tasks[number].task_id)

    def counted(self) -> list[str]:
        """Samples that the loop is told of."""
        return [str(one.sample_id) for one in self.annotators.pull(self.tasks).annotations]

    def ids(self, *numbers: int) -> list[str]:
        return [str(self.drafts[number].sample_id) for number in numbers]

    def data(self, number: int) -> dict[str, object]:
        task_id = self.tasks[number].task_id
        found = self.setting.desk.studio.full_tasks(self.tasks[number].project_id, [task_id])
        return dict(next(iter(found)).data)


def renamed(mask: NDArray[np.uint8], before: int, after: int) -> NDArray[np.uint8]:
    return np.where(mask == before, after, mask).astype(np.uint8)


def test_lll_10_a_doubted_region_goes_back_outlined_and_the_correction_counts(
    tmp_path: Path,
) -> None:
    place = Place(tmp_path)
    wrong = renamed(place.truths[1], CAR, PERSON)
    for number in (0, 2, 3):
        place.say(number, place.truths[number])
    assert place.counted() == place.ids(0, 2, 3), "nobody is asked before all have finished"
    first = place.say(1, wrong)
    assert sorted(place.counted()) == sorted(place.ids(0, 2, 3))
    asked = from_json(Doubts, place.storage.get("doubted/1.json"), "")
    assert [str(doubt.sample_id) for doubt in asked.doubts] == place.ids(1)
    assert asked.version_id == who_sees_colours().version_id
    region = asked.doubts[0].regions[0]
    assert (region.class_id, region.taken_for, region.box) == (PERSON, CAR, (5, 4, 20, 19))
    assert asked.doubts[0].annotation_id == first
    data = place.data(1)
    assert data[NOTE] == (
        "Please look again: person at (12, 11) looks like car. Submit it as it is if it is right."
    )
    key = f"doubted/1/{place.ids(1)[0]}.jpg"
    assert key in str(data[UNSURE])
    drawn = image_from_bytes(place.storage.get(key), key).astype(int)
    assert np.abs(drawn - COLOURS[place.truths[1]]).max() > 100, "something is outlined"
    # Asked again it is neither sent back twice nor forgotten, also by a new process.
    for _ in range(2):
        assert sorted(place.counted()) == sorted(place.ids(0, 2, 3))
        place.restarted()
    place.say(1, place.truths[1])
    assert sorted(place.counted()) == sorted(place.ids(0, 1, 2, 3))
    answer_key = f"doubted/1/{place.ids(1)[0]}.json"
    answer = from_json(DoubtAnswer, place.storage.get(answer_key), "")
    assert answer.changed == (1.0,)
    assert len(place.setting.events("annotation.doubted")) == 1
    assert len(place.setting.events("annotation.corrected")) == 1


def test_lll_10_who_submits_it_unchanged_is_believed(tmp_path: Path) -> None:
    place = Place(tmp_path, count=2)
    place.say(0, place.truths[0])
    odd = renamed(place.truths[1], CAR, PERSON)
    place.say(1, odd)
    assert place.counted() == place.ids(0)
    place.say(1, odd)
    assert sorted(place.counted()) == sorted(place.ids(0, 1))
    answer_key = f"doubted/1/{place.ids(1)[0]}.json"
    assert from_json(DoubtAnswer, place.storage.get(answer_key), "").changed == (0.0,)
    assert len(place.setting.events("annotation.confirmed")) == 1
    assert len(place.counted()) == 2
    assert len(place.setting.events("annotation.confirmed")) == 1, "once"


def test_lll_10_the_most_suspicious_go_back_within_the_share(tmp_path: Path) -> None:
    place = Place(tmp_path, count=4, share=0.25)
    place.say(0, renamed(place.truths[0], PERSON, ROAD))  # 140 pixels
    place.say(1, renamed(place.truths[1], CAR, PERSON))  # 256 pixels
    place.say(2, place.truths[2])
    place.say(3, place.truths[3])
    assert sorted(place.counted()) == sorted(place.ids(0, 2, 3))


@pytest.mark.parametrize("case", ["no model", "no share", "other classes", "not at home", "broken"])
def test_lll_10_nobody_is_asked_without_a_judge(case: str, tmp_path: Path) -> None:
    place = Place(tmp_path, count=2, share=0.0 if case == "no share" else 0.5)
    masks = [renamed(place.truths[0], CAR, PERSON), place.truths[1]]
    if case == "no model":
        place.incumbent = None
    elif case == "other classes":
        place.incumbent = who_sees_colours(("road", "van", "person"))
    elif case == "not at home":
        masks[0] = renamed(masks[0], ROAD, CAR)
    for number, mask in enumerate(masks):
        place.say(number, mask)
    if case == "other classes":
        people = place.setting.exchange
        usual = people.pull

        def pull(tasks: Sequence[AnnotationTask]) -> object:
            pulled = usual(tasks)
            told = [replace(a, label_map_digest=SMALL_MAP.digest) for a in pulled.annotations]
            return replace(pulled, annotations=tuple(told))

        people.pull = pull  # type: ignore[method-assign,assignment]
    if case == "broken":
        place.storage.put(place.drafts[0].image_key, b"no picture")
    assert sorted(place.counted()) == sorted(place.ids(0, 1))
    assert from_json(Doubts, place.storage.get("doubted/1.json"), "").doubts == ()


def test_lll_10_a_skip_answers_too_and_what_is_gone_is_not_asked_for(tmp_path: Path) -> None:
    place = Place(tmp_path, count=2)
    place.say(0, place.truths[0])
    place.say(1, renamed(place.truths[1], CAR, PERSON))
    assert place.counted() == place.ids(0)
    place.setting.desk.studio.skip_task(place.tasks[1].task_id)
    pulled = place.annotators.pull(place.tasks)
    assert [str(one.sample_id) for one in pulled.skips] == place.ids(1)
    assert place.annotators.pull([]).annotations == ()


def test_the_builder_paints_what_the_model_sees() -> None:
    """The test's own model: a wrong one would make all of the above pass for nothing."""
    from lifelong.segmenter import OnnxSegmenter

    truth = a_street(3)
    assert np.array_equal(OnnxSegmenter(who_sees_colours()).segment(COLOURS[truth]).mask, truth)


def test_lll_10_the_configuration_decides_who_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud.assembly, "open_label_studio", lambda config: FakeStudio())

    def opened(lines: str) -> cloud.assembly.Cloud:
        path = tmp_path / "config.yaml"
        path.write_text(f"storage: files\nlabel_studio: {{local_files_root: .}}\n{lines}")
        return cloud.assembly.open_cloud(load_config(path))

    people = Setting(FakeDesk(tmp_path), tmp_path).exchange
    assert cloud.assembly.with_second_looks(opened(""), people) is people
    asked = cloud.assembly.with_second_looks(opened("labels: {ask_again_share: 0.1}"), people)
    assert isinstance(asked, DoubtedLabels)
    with pytest.raises(ConfigError, match="needs Label Studio"):
        cloud.assembly.with_second_looks(
            opened("labels: {ask_again_share: 0.1}\nannotation_folder: people"), people
        )
