"""KB-05, KB-06: allocation by data in the service, proposals, rulings, and the command line."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cloud.assembly import Cloud, make_conditions, open_cloud
from cloud.cli import app
from cloud.conditions.grouping import Conditions
from cloud.conditions.likeness import alike, compared
from cloud.conditions.rulings import (
    count_proposed,
    dismiss_condition,
    merge_tasks,
    name_condition,
    name_of,
    standing,
)
from cloud.reports import rounds_overview
from lifelong.config import Config
from lifelong.errors import ConditionError, LifelongError
from lifelong.model_bundle import make_bundle
from lifelong.records.conditions import Condition, ConditionRuling, TaskMerge
from lifelong.records.ids import RoundNumber, VersionId
from lifelong.records.keys import bundle_key, example_record_key, image_key
from lifelong.records.novelty import Familiarity
from lifelong.records.pixels import jpeg_from_image
from lifelong.records.samples import HardExample
from lifelong.records.wire import to_json
from lifelong.sections.conditions import ConditionsSection
from tests.builders import NOON, a_hard_example, a_sample, an_image
from tests.tiny_bundle import tiny_bundle

K = 8
DAY, DUSK = np.zeros(K + 1), np.eye(K + 1)[0] * 9.0
FAR = {name: np.eye(K + 1)[place] * 40.0 for place, name in enumerate(("fog", "night"), 1)}


def familiarity(*tasks: str) -> Familiarity:
    return Familiarity(
        prototypes={
            task: tuple(centre.tolist()) for task, centre in zip(tasks, (DAY, DUSK), strict=False)
        },
        distance_quantiles={"0.50": 3.0, "0.95": 4.2},
    )


def an_opened(folder: Path, *tasks: str, **changes) -> Cloud:
    """A cloud whose released model knows these tasks; `conditions` settings may be changed."""
    config = Config(
        storage=str(folder / "storage"),
        journal_path=folder / "journal",
        conditions=ConditionsSection(**changes),
    )
    cloud = open_cloud(config)
    release(cloud, 1, familiarity(*tasks))
    return cloud


def release(cloud: Cloud, number: int, known: Familiarity) -> VersionId:
    plain = tiny_bundle(seed=number)
    bundle = make_bundle(replace(plain.manifest, familiarity=known), plain.onnx)
    cloud.storage.put(bundle_key(bundle.version_id), bundle.to_bytes())
    cloud.releases.publish(bundle.version_id, RoundNumber(number), "test")
    return bundle.version_id


def around(centre: np.ndarray, count: int, seed: int) -> np.ndarray:
    return centre + np.random.default_rng(seed).normal(size=(count, K + 1))


def arrived(
    cloud: Cloud, rows: np.ndarray, first: int, *, dark: bool = False, **changes
) -> list[HardExample]:
    """Admitted examples with these embeddings by the released model."""
    current = cloud.releases.current()
    assert current is not None
    examples = []
    for seed, row in enumerate(rows, first):
        example = a_hard_example(
            seed,
            version_id=current.version_id,
            embedding=tuple(row.tolist()),
            **({"attributes": {"site": "north"}} | changes),
        )
        example = replace(example, image_key=image_key(example.sample_id))
        image = an_image(seed)
        cloud.storage.put(example.image_key, jpeg_from_image(image // 8 if dark else image))
        cloud.storage.put(example_record_key(example.sample_id), to_json(example))
        examples.append(example)
    return examples


def events(cloud: Cloud, name: str) -> list[dict]:
    files = [path for path in Path(cloud.config.journal_path).rglob("*") if path.is_file()]
    lines = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    return [line for line in lines if line.get("event") == name]


def a_proposed(cloud: Cloud, count: int = 12) -> tuple[Conditions, Condition, list[HardExample]]:
    conditions = make_conditions(cloud)
    fog = arrived(cloud, around(FAR["fog"], count, 1), 100)
    (condition,) = conditions.look(fog)
    return conditions, condition, fog


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return an_opened(tmp_path, "day", "dusk")


# -- KB-05: allocation ---------------------------------------------------------------------------


def test_kb_05_pictures_without_a_condition_go_where_the_data_say(cloud: Cloud) -> None:
    day, dusk = (arrived(cloud, around(c, 6, n), 10 * n) for n, c in enumerate((DAY, DUSK)))
    conditions = make_conditions(cloud)
    assert {conditions.task_of(example) for example in day} == {"day"}
    assert {conditions.task_of(example) for example in dusk} == {"dusk"}


def test_kb_05_file_names_decide_nothing(cloud: Cloud) -> None:
    """Sedna's way: `if "night" in path`."""
    (example,) = arrived(
        cloud, DAY[None], 0, edge_id="night-cam", attributes={"frame": "night/dusk/0001"}
    )
    assert make_conditions(cloud).task_of(example) == "day"


def test_an_operators_condition_wins_and_the_journal_tells_when_data_are_sure_of_another(
    cloud: Cloud,
) -> None:
    (wrong,) = arrived(cloud, DUSK[None], 0, attributes={"condition": "Day"})
    (new,) = arrived(cloud, FAR["fog"][None], 1, attributes={"condition": "Heavy Rain"})
    conditions = make_conditions(cloud)
    for _ in range(2):
        assert conditions.task_of(wrong) == "day"
        assert conditions.task_of(new) == "heavy-rain"
    (told,) = events(cloud, "condition.disagrees")
    assert (told["attribute"], told["data"], told["sample_id"]) == ("day", "dusk", wrong.sample_id)


def test_kb_05_without_prototypes_without_a_model_or_switched_off_it_is_general(
    tmp_path: Path,
) -> None:
    silent = an_opened(tmp_path / "silent")
    (example,) = arrived(silent, DAY[None], 0)
    assert make_conditions(silent).task_of(example) == "general"
    off = an_opened(tmp_path / "off", "day", by_data=False)
    (example,) = arrived(off, DAY[None], 0)
    assert make_conditions(off).task_of(example) == "general"
    assert make_conditions(off).look([example]) == []
    empty = open_cloud(Config(storage="memory://", journal_path=tmp_path / "j"))
    assert make_conditions(empty).task_of(a_hard_example(0, attributes={})) == "general"
    assert make_conditions(empty).look([example]) == []


def test_a_picture_that_cannot_be_looked_at_again_is_general_and_stops_nothing(
    cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    """The bundle of this test has no output `embedding`, as a damaged picture has no answer."""
    (old,) = arrived(cloud, DAY[None], 0, attributes={})
    assert make_conditions(cloud).task_of(replace(old, version_id=VersionId("0" * 16))) == "general"
    assert old.sample_id in caplog.text


# -- KB-06: proposing ----------------------------------------------------------------------------


def test_kb_06_two_unseen_conditions_in_a_mixed_stream_are_two_proposals(cloud: Cloud) -> None:
    known = [*around(DAY, 60, 0), *around(DUSK, 30, 1)]
    rows = [*known, *around(FAR["fog"], 14, 2), *around(FAR["night"], 9, 3)]
    examples = arrived(cloud, np.array(rows), 0)
    shuffled = [examples[place] for place in np.random.default_rng(0).permutation(len(examples))]
    found = make_conditions(cloud).look(shuffled)
    truths = [
        set(examples[place].sample_id for place in r) for r in (range(90, 104), range(104, 113))
    ]
    assert [set(condition.pictures) for condition in found] == truths
    assert count_proposed(cloud.kb) == 2
    overview = rounds_overview([], cloud.kb, cloud.releases.history())
    assert overview["conditions_proposed"] == 2


def test_too_few_alike_are_no_condition_and_the_next_ones_complete_it(cloud: Cloud) -> None:
    rows = around(FAR["fog"], 12, 1)
    conditions = make_conditions(cloud)
    assert conditions.look(arrived(cloud, rows[:7], 0)) == []
    everything = [*arrived(cloud, rows[:7], 0), *arrived(cloud, rows[7:], 7)]
    (condition,) = conditions.look(everything)
    assert len(condition.pictures) == 12


def test_a_restarted_service_and_a_second_look_propose_nothing_twice(cloud: Cloud) -> None:
    conditions, condition, fog = a_proposed(cloud)
    more = arrived(cloud, around(FAR["fog"], 10, 5), 200)
    for looker in (conditions, make_conditions(cloud)):
        assert looker.look([*fog, *more]) == []
        assert len(looker.pictures_of(condition.condition_id)) == 22
    assert list(cloud.kb.of(Condition)) == [condition.condition_id]


def test_a_picture_that_is_gone_is_part_of_no_proposal(cloud: Cloud) -> None:
    fog = arrived(cloud, around(FAR["fog"], 10, 1), 0)
    conditions = make_conditions(cloud)
    assert conditions.look(fog[:6]) == []
    (condition,) = conditions.look(fog[2:])
    assert set(condition.pictures) == {example.sample_id for example in fog[2:]}


def test_pictures_an_operator_named_are_never_proposed(cloud: Cloud) -> None:
    named = arrived(cloud, around(FAR["fog"], 20, 1), 0, attributes={"condition": "fog"})
    assert make_conditions(cloud).look(named) == []


def test_a_dismissed_condition_is_not_proposed_again_and_can_be_named_after_all(
    cloud: Cloud,
) -> None:
    conditions, condition, fog = a_proposed(cloud)
    dismiss_condition(cloud.kb, condition.condition_id, "anna", lambda: NOON)
    again = arrived(cloud, around(FAR["fog"], 12, 6), 300)
    assert conditions.look([*fog, *again]) == []
    assert conditions.task_of(again[0]) == "general"
    assert standing(cloud.kb, condition, ()).state == "dismissed"
    name_condition(cloud.kb, condition.condition_id, "fog", (), "anna", lambda: NOON)
    assert conditions.task_of(again[0]) == "fog"


def test_the_name_and_the_words_come_from_what_the_pictures_look_like(cloud: Cloud) -> None:
    samples = [a_sample(seed, learning_task="day") for seed in range(12)]
    for seed, sample in enumerate(samples):
        cloud.storage.put(sample.image_key, jpeg_from_image(an_image(seed)))
    cloud.kb.add(samples, why="test")
    dark = arrived(cloud, around(-FAR["night"], 9, 1), 50, dark=True)
    (condition,) = make_conditions(cloud).look(dark)
    assert condition.name.endswith("-darker")
    assert "captured between 12 and 13 h UTC; site north; from edge-1" in condition.about


def test_kb_06_by_rule_conditions_get_their_name_at_once(tmp_path: Path) -> None:
    cloud = an_opened(tmp_path, "day", decided_by="rule")
    conditions, condition, fog = a_proposed(cloud)
    assert name_of(cloud.kb, condition.condition_id) == condition.name
    assert {conditions.task_of(example) for example in fog} == {condition.name}
    assert count_proposed(cloud.kb) == 0


# -- merging -------------------------------------------------------------------------------------


def learned(cloud: Cloud, task: str, rows: np.ndarray, first: int) -> None:
    """Samples of a task whose embeddings are kept under the released version."""
    current = cloud.releases.current()
    assert current is not None
    for seed, row in enumerate(rows, first):
        sample = a_sample(seed, learning_task=task)
        cloud.kb.add([sample], why="test")
        body = {"schema": 1, "embedding": np.asarray(row).tolist()}
        key = f"embeddings/{sample.sample_id}/{current.version_id}.json"
        cloud.storage.put(key, json.dumps(body).encode())


def test_kb_06_what_the_data_cannot_tell_apart_is_found_with_its_numbers(cloud: Cloud) -> None:
    for task, centre, first in (
        ("fog", FAR["fog"], 0),
        ("mist", FAR["fog"], 100),
        ("day", DAY, 200),
    ):
        learned(cloud, task, around(centre, 20, first), first)
    embeddings = make_conditions(cloud).embeddings()
    assert embeddings is not None
    ((one, other, found),) = alike(cloud.kb, embeddings)
    assert (one, other) == ("fog", "mist")
    assert found.p_value > 0.05 and found.pictures == (20, 20)
    apart = compared(cloud.kb, embeddings, "day", "mist")
    assert apart is not None
    assert apart.p_value == 0.005 and apart.right == 1.0 and not apart.cannot_be_told_apart


def test_kb_06_by_rule_tasks_that_cannot_be_told_apart_are_merged_once(tmp_path: Path) -> None:
    cloud = an_opened(tmp_path, "day", decided_by="rule")
    for task, first in (("fog", 0), ("mist", 100), ("general", 200)):
        learned(cloud, task, around(FAR["fog"], 20, first), first)
    conditions = make_conditions(cloud)
    for _ in range(2):
        conditions.look([])
    (merge,) = cloud.kb.of(TaskMerge).values()
    assert (merge.tasks, merge.into, merge.by) == (("mist",), "fog", "rule")
    assert merge.figures["p_value"] > 0.05
    tasks = [sample.learning_task for sample in cloud.kb.samples.values()]
    assert (tasks.count("fog"), tasks.count("general")) == (40, 20)


def test_a_merge_of_what_is_not_there_of_general_or_of_one_task_is_refused(cloud: Cloud) -> None:
    learned(cloud, "fog", around(DAY, 1, 0), 0)
    learned(cloud, "general", around(DAY, 1, 1), 1)
    for tasks, into, told in (
        (["fog", "snow"], "fog", "no learning task 'snow'; there are"),
        (["fog", "general"], "fog", "can be no part of a merge"),
        (["fog"], "general", "can be no part of a merge"),
        (["fog"], "Fog", "one task already"),
    ):
        with pytest.raises(ConditionError, match=told):
            merge_tasks(cloud.kb, tasks, into, known=["day"], by="anna", now=lambda: NOON)
    assert not cloud.kb.of(TaskMerge)


def test_rulings_that_make_no_sense_are_refused(cloud: Cloud) -> None:
    _, condition, _ = a_proposed(cloud)
    key = condition.condition_id
    with pytest.raises(ConditionError, match="not the name of a learning task"):
        name_condition(cloud.kb, key, "../", (), "anna", lambda: NOON)
    with pytest.raises(ConditionError, match="unknown"):
        dismiss_condition(cloud.kb, "c-0", "anna", lambda: NOON)
    with pytest.raises(ConditionError, match="has no name yet"):
        merge_tasks(cloud.kb, [key], "fog", known=(), by="anna", now=lambda: NOON)
    name_condition(cloud.kb, key, "fog", (), "anna", lambda: NOON)
    with pytest.raises(ConditionError, match="called 'fog' already"):
        name_condition(cloud.kb, key, "mist", (), "anna", lambda: NOON)
    merge_tasks(cloud.kb, [key], "mist", known=(), by="anna", now=lambda: NOON)
    assert name_of(cloud.kb, key) == "mist"
    assert len(cloud.kb.of(ConditionRuling)) == 1


# -- the command line ----------------------------------------------------------------------------


def run(cloud: Cloud, folder: Path, *words: str) -> Any:
    path = folder / "config.yaml"
    path.write_text(f"storage: {cloud.config.storage}\njournal_path: {cloud.config.journal_path}\n")
    result = CliRunner().invoke(app, ["conditions", *words, "--config", str(path), "--json"])
    if result.exception and isinstance(result.exception, LifelongError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_kb_06_an_operator_lists_shows_names_compares_and_merges(
    cloud: Cloud, tmp_path: Path
) -> None:
    _, condition, fog = a_proposed(cloud)
    arrived(cloud, around(DAY, 3, 9), 400)
    listed = run(cloud, tmp_path, "list")
    assert listed["known_tasks"] == ["day", "dusk"]
    assert listed["pictures"] == {"day": 3, condition.condition_id: len(fog)}
    assert [row["state"] for row in listed["conditions"]] == ["proposed"]

    sheet = tmp_path / "sheet.png"
    shown = run(cloud, tmp_path, "show", condition.condition_id[:5], "--sheet", str(sheet))
    assert len(shown["pictures"]) == len(fog)
    with Image.open(sheet) as image:
        assert image.format == "PNG" and image.width > 4 * 200 and image.height > 3 * 150

    ruling = run(cloud, tmp_path, "name", condition.name, "Sea Fog")
    assert (ruling["name"], len(ruling["pictures"])) == ("sea-fog", len(fog))
    merged = run(cloud, tmp_path, "merge", "sea-fog", "dusk", "--into", "Murky")
    assert (merged["tasks"], merged["into"]) == (["sea-fog", "dusk"], "murky")
    shown = run(cloud, tmp_path, "show", condition.condition_id, "--sheet", str(sheet))
    assert (shown["state"], shown["task"]) == ("merged", "murky")
    assert run(cloud, tmp_path, "list")["known_tasks"] == ["day", "murky"]
    assert run(cloud, tmp_path, "compare") == []
    with pytest.raises(ConditionError, match="0 fit; there are c-"):
        run(cloud, tmp_path, "dismiss", "c-nothing")
