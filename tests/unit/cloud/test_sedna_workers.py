"""Sedna's train and eval workers: environment in, one bundle out, one report, safe to repeat."""

import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cloud import sedna_eval
from cloud.assembly import Cloud, open_cloud
from cloud.first_model import Picture, begin_with_pictures
from cloud.job.attempts import MOST
from cloud.job.worker_files import LONGEST_LINE, index_lines, write_output
from cloud.learning.learner import Learner
from cloud.sedna_eval import eval_worker
from cloud.sedna_train import train_worker
from lifelong.config import Config, GateSection, RoundsSection, TrainingSection
from lifelong.errors import SednaError, StorageUnavailableError
from lifelong.links.journal import read_events
from lifelong.links.sedna import LcReporter, ReportedModel, WorkerEnvironment, WorkerKind
from lifelong.model_bundle import ModelBundle, read_bundle
from lifelong.records.ids import RoundNumber, VersionId, sample_id_of, sha256_hex
from lifelong.records.keys import image_key
from lifelong.records.pixels import jpeg_from_image, png_from_mask
from lifelong.records.rounds import Round, RoundState
from lifelong.records.samples import Sample
from tests.builders import a_hard_example, a_sample

TRAINING = TrainingSection(steps=2, batch_size=2, height=32, width=48, threads=1)


class Recorder:
    """Keeps reports instead of sending them."""

    def __init__(self) -> None:
        self.reports: list[object] = []

    def completed(self, model: ReportedModel | None) -> None:
        self.reports.append(model)

    def failed(self) -> None:
        self.reports.append("failed")


def a_picture(seed: int) -> Picture:
    """Sky over road, with the horizon and the colours varying."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((32, 48), dtype=np.uint8)
    mask[: int(rng.integers(10, 20))] = 10
    image = np.where(mask[..., None] == 10, [120, 160, 220], [90, 90, 90])
    noisy = np.clip(image + rng.integers(-20, 20, (32, 48, 3)), 0, 255).astype(np.uint8)
    return Picture(jpeg_from_image(noisy), mask)


def add_sample(cloud: Cloud, seed: int, task: str) -> Sample:
    picture = a_picture(seed)
    sample_id, mask = sample_id_of(picture.image), png_from_mask(picture.mask)
    cloud.storage.put(image_key(sample_id), picture.image)
    cloud.storage.put(f"masks/{sample_id}/1.png", mask)
    sample = a_sample(
        sample_id=sample_id,
        image_sha256=sha256_hex(picture.image),
        mask_key=f"masks/{sample_id}/1.png",
        mask_sha256=sha256_hex(mask),
        learning_task=task,
        class_pixels={0: 1, 10: 1},
    )
    cloud.kb.add([sample], why="test")
    return sample


FIRST = RoundNumber(1)


def settings(folder: Path) -> Config:
    return Config(
        storage=str(folder / "storage"),
        holdouts=folder / "holdouts",
        journal_path=folder / "journal",
        training=TRAINING,
        rounds=RoundsSection(lease_seconds=2),
        gate=GateSection(max_forgetting=1.0, max_class_drop=1.0),
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A first model that knows `day`, and a round in TRAINING with samples of `fog`."""
    folder = tmp_path_factory.mktemp("prepared")
    for task in ("day", "fog"):
        for part in ("images", "train_ids"):
            (folder / "holdouts" / task / "eval" / part).mkdir(parents=True)
        for seed in range(3):
            picture = a_picture(900 + seed)
            place = folder / "holdouts" / task / "eval"
            (place / "images" / f"{seed}.jpg").write_bytes(picture.image)
            (place / "train_ids" / f"{seed}.png").write_bytes(png_from_mask(picture.mask))
    opened = open_cloud(settings(folder))
    pictures = [a_picture(seed) for seed in range(6)]
    begin_with_pictures(opened, pictures, "day", on_progress=lambda *_: None)
    for seed in range(100, 104):
        add_sample(opened, seed, "fog")
    current = opened.releases.current()
    assert current is not None
    opened.rounds.save(
        Round(
            number=FIRST,
            state=RoundState.TRAINING,
            examples=(a_hard_example(0),),
            incumbent=current.version_id,
        )
    )
    return folder


@pytest.fixture(scope="module")
def trained(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after a train worker has done its work."""
    folder = tmp_path_factory.mktemp("trained") / "copy"
    shutil.copytree(prepared, folder)
    run_train(open_cloud(settings(folder)), folder)
    return folder


@pytest.fixture
def cloud(prepared: Path, tmp_path: Path) -> Cloud:
    """A copy of `prepared` in `tmp_path`."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    return open_cloud(settings(tmp_path))


@pytest.fixture
def with_candidate(trained: Path, tmp_path: Path) -> Cloud:
    """A copy of `trained` in `tmp_path`: `host/out/train/1/index.pkl` is the candidate."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return open_cloud(settings(tmp_path))


def told(cloud: Cloud, name: str) -> list[dict[str, object]]:
    """The journal's events of one kind."""
    return [e for e in read_events(cloud.config.journal_path) if e["event"] == name]


def end_round(cloud: Cloud, state: RoundState) -> None:
    cloud.rounds.save(replace(cloud.rounds.get(FIRST), state=state))


def candidate_of(cloud: Cloud) -> VersionId:
    cloud.kb.refresh()
    version = cloud.kb.candidate_of(FIRST)
    assert version is not None
    return version.version_id


def the_file(folder: Path, stage: str = "train") -> Path:
    return folder / f"host/out/{stage}/1/index.pkl"


def environment(tmp_path: Path, stage: str) -> WorkerEnvironment:
    root = tmp_path / "host"
    return WorkerEnvironment(
        namespace="ns",
        job_name="j1",
        worker_name=f"{stage}-worker-abcde",
        lc_server="http://127.0.0.1:9",
        output_url=f"{root}/out/{stage}/1",
        dataset_url=f"{root}/out/data/{stage}/1/data.txt",
        original_dataset_url=f"{root}/data/index.txt",
        model_urls=(f"{root}/out/train/1/index.pkl",) if stage == "eval" else (),
        data_path_prefix=str(root),
    )


def run_train(cloud: Cloud, tmp_path: Path) -> Recorder:
    recorder = Recorder()
    train_worker(
        environment(tmp_path, "train"), cloud.config, cloud.storage, tmp_path / "work", recorder
    )
    return recorder


def run_eval(cloud: Cloud, tmp_path: Path) -> Recorder:
    recorder = Recorder()
    eval_worker(environment(tmp_path, "eval"), cloud.config, cloud.storage, recorder)
    return recorder


def test_a_round_is_trained_judged_and_recorded_and_repeating_changes_nothing(
    cloud: Cloud, tmp_path: Path
) -> None:
    first = run_train(cloud, tmp_path)
    (model,) = first.reports
    assert isinstance(model, ReportedModel)
    output = Path(model.url)
    bundle = read_bundle(output.read_bytes(), str(output))
    cloud.kb.refresh()
    version = cloud.kb.candidate_of(RoundNumber(1))
    assert version is not None
    assert version.version_id == bundle.version_id
    assert len(version.trained_on) == 4
    assert set(cloud.kb.tasks_learned_by(version.version_id)) == {"day", "fog"}
    assert run_train(cloud, tmp_path).reports == first.reports, "the same round, the same candidate"
    verdict = run_eval(cloud, tmp_path)
    cloud.kb.refresh()
    examination = cloud.kb.examinations[version.version_id]
    assert set(examination.candidate.tasks) == {"day", "fog"}
    assert run_eval(cloud, tmp_path).reports == verdict.reports
    assert len(cloud.kb.versions) == 2


def test_lll07_a_refused_candidate_is_completed_without_a_model(
    cloud: Cloud, tmp_path: Path
) -> None:
    """LLL-07: that is how Sedna is told to keep what is deployed."""
    strict = cloud.config.model_copy(update={"gate": GateSection(min_gain=0.99)})
    run_train(cloud, tmp_path)
    recorder = Recorder()
    eval_worker(environment(tmp_path, "eval"), strict, cloud.storage, recorder)
    assert recorder.reports == [None]
    assert not (tmp_path / "host/out/eval/1/index.pkl").exists()
    cloud.kb.refresh()
    (examination,) = cloud.kb.examinations.values()
    assert any("no gain" in reason for reason in examination.decision.reasons)


def test_a_training_failure_is_recorded_and_reported(cloud: Cloud, tmp_path: Path) -> None:
    current = cloud.releases.current()
    assert current is not None
    cloud.storage.delete(f"models/{current.version_id}.safetensors")
    assert run_train(cloud, tmp_path).reports == ["failed"]
    cloud.kb.refresh()
    assert "weights are not in storage" in cloud.kb.failures[RoundNumber(1)].reason


# -- occasions that are none ----------------------------------------------------------------------


@pytest.mark.parametrize("state", [RoundState.ANNOTATING, RoundState.RELEASED, RoundState.FAILED])
def test_k8s_04_a_pod_for_no_round_reports_failed_with_words(
    cloud: Cloud, tmp_path: Path, state: RoundState
) -> None:
    """Sedna offers all lines again after a restart: no crash loop, and nothing is trained twice."""
    end_round(cloud, state)
    assert run_train(cloud, tmp_path).reports == ["failed"]
    (event,) = told(cloud, "training.not_due")
    assert f"round 1 is {state}" in str(event["reason"])
    cloud.kb.refresh()
    assert len(cloud.kb.versions) == 1
    assert not cloud.kb.failures


def test_k8s_04_a_pod_before_the_first_round_reports_failed(cloud: Cloud, tmp_path: Path) -> None:
    cloud.storage.delete("rounds/000001.json")
    assert run_train(cloud, tmp_path).reports == ["failed"]
    assert "no round yet" in str(told(cloud, "training.not_due")[0]["reason"])


def test_k8s_04_a_round_that_waits_for_its_verdict_reports_its_candidate_again(
    with_candidate: Cloud, tmp_path: Path
) -> None:
    """A second Train/Ready, or a lost report: the same model, and no training."""
    end_round(with_candidate, RoundState.GATING)
    the_file(tmp_path).unlink()
    (model,) = run_train(with_candidate, tmp_path).reports
    assert isinstance(model, ReportedModel)
    bundle = read_bundle(Path(model.url).read_bytes(), "again")
    assert bundle.version_id == candidate_of(with_candidate)
    assert model.samples == 4
    assert len(told(with_candidate, "candidate.trained")) == 1


def test_k8s_04_a_failed_round_is_not_trained_by_the_next_pod_of_the_same_round(
    cloud: Cloud, tmp_path: Path
) -> None:
    current = cloud.releases.current()
    assert current is not None
    weights = cloud.storage.get(f"models/{current.version_id}.safetensors")
    cloud.storage.delete(f"models/{current.version_id}.safetensors")
    assert run_train(cloud, tmp_path).reports == ["failed"]
    cloud.kb.refresh()
    assert "weights are not in storage" in cloud.kb.failures[FIRST].reason
    cloud.storage.put(f"models/{current.version_id}.safetensors", weights)
    assert run_train(cloud, tmp_path).reports == ["failed"], "the service ends this round"
    # Its samples are the next round's: Sedna's index of that round does not hold them any more.
    end_round(cloud, RoundState.FAILED)
    fresh = add_sample(cloud, 200, "fog")
    cloud.rounds.save(Round(number=RoundNumber(2), state=RoundState.TRAINING))
    lines = Path(environment(tmp_path, "train").dataset_url)
    lines.parent.mkdir(parents=True)
    lines.write_text(f"images/{fresh.sample_id}.jpg masks/{fresh.sample_id}.png\n# old\nx y\n")
    (model,) = run_train(cloud, tmp_path).reports
    assert isinstance(model, ReportedModel)
    cloud.kb.refresh()
    version = cloud.kb.candidate_of(RoundNumber(2))
    assert version is not None
    assert len(version.trained_on) == model.samples == 5
    (offered,) = told(cloud, "training.offered")
    assert (offered["lines"], offered["unknown"]) == (2, 1), "a stranger's line trains nothing"


def test_k8s_04_the_same_round_twice_is_the_same_file_byte_for_byte(
    with_candidate: Cloud, tmp_path: Path
) -> None:
    """Also when OUTPUT_URL is the folder of CLOUD_KB_INDEX, as after a restart of Sedna."""
    once = the_file(tmp_path).read_bytes()
    where = environment(tmp_path, "train")
    again = replace(where, previous_index=f"{where.output_url}/index.pkl", has_trained_before=True)
    for content in (once, b"a longer model of an earlier round 1" * 10_000, b"", once[:100]):
        the_file(tmp_path).write_bytes(content)
        recorder = Recorder()
        train_worker(
            again, with_candidate.config, with_candidate.storage, tmp_path / "work", recorder
        )
        assert the_file(tmp_path).read_bytes() == once
    run_eval(with_candidate, tmp_path)
    judged = the_file(tmp_path, "eval").read_bytes()
    run_eval(with_candidate, tmp_path)
    assert the_file(tmp_path, "eval").read_bytes() == judged == once
    assert [path.name for path in the_file(tmp_path).parent.iterdir()] == ["index.pkl"]


def test_k8s_04_two_train_pods_at_once_train_once_and_report_the_same(
    cloud: Cloud, tmp_path: Path
) -> None:
    """A stale pod cache of Sedna starts two; the second waits for the first one's candidate."""
    recorders = [Recorder(), Recorder()]
    pods = [
        threading.Thread(
            target=train_worker,
            args=(
                environment(tmp_path, "train"), cloud.config, cloud.storage, tmp_path / "work", r,
            ),
        )
        for r in recorders
    ]  # fmt: skip
    for pod in pods:
        pod.start()
    for pod in pods:
        pod.join()
    assert recorders[0].reports == recorders[1].reports
    assert isinstance(recorders[0].reports[0], ReportedModel)
    assert len(told(cloud, "candidate.trained")) == 1
    cloud.kb.refresh()
    assert len(cloud.kb.versions) == 2


def test_k8s_04_a_training_that_dies_again_and_again_counts_as_failed(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pod killed for memory leaves no error, and kubelet starts it for ever."""

    def dies(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Learner, "train", dies)
    for _ in range(MOST):
        with pytest.raises(MemoryError):
            run_train(cloud, tmp_path)
    assert run_train(cloud, tmp_path).reports == ["failed"]
    cloud.kb.refresh()
    assert "memory limit" in cloud.kb.failures[FIRST].reason


def test_k8s_04_a_folder_that_cannot_be_written_is_told_before_training(
    cloud: Cloud, tmp_path: Path
) -> None:
    (tmp_path / "host").write_text("a file where the folder should be")
    assert run_train(cloud, tmp_path).reports == ["failed"]
    cloud.kb.refresh()
    assert "run as root" in cloud.kb.failures[FIRST].reason
    assert not told(cloud, "candidate.trained")


def test_k8s_04_an_unreachable_controller_costs_no_training(cloud: Cloud, tmp_path: Path) -> None:
    """The worker ends with an error, is started again in place, and reports what it finds."""
    where = environment(tmp_path, "train")
    reporter = LcReporter(where, WorkerKind.TRAIN, not_before_s=0, linger_s=0, sleep=lambda _: None)
    with pytest.raises(SednaError, match=r"not reached.*the work is kept"):
        train_worker(where, cloud.config, cloud.storage, tmp_path / "work", reporter)
    (model,) = run_train(cloud, tmp_path).reports
    assert isinstance(model, ReportedModel)
    assert len(told(cloud, "candidate.trained")) == 1


# -- what is judged -------------------------------------------------------------------------------


def spoilt(whole: bytes, how: str) -> bytes | None:
    return {
        "missing": None,
        "empty": b"",
        "truncated": whole[:-10],
        "header alone": whole[:50],
        "a pickle": bytes.fromhex("80049528000000000000008c08"),
        "damaged": whole[:-1] + bytes([whole[-1] ^ 1]),
    }[how]


BROKEN = ["missing", "empty", "truncated", "header alone", "a pickle", "damaged"]


@pytest.mark.parametrize("how", BROKEN)
def test_k8s_04_a_broken_copy_is_no_reason_to_throw_a_training_away(
    with_candidate: Cloud, tmp_path: Path, how: str
) -> None:
    """The candidate lies in storage, too: it is judged, and the journal says what was wrong."""
    whole = the_file(tmp_path).read_bytes()
    the_file(tmp_path).unlink()
    if (content := spoilt(whole, how)) is not None:
        the_file(tmp_path).write_bytes(content)
    (model,) = run_eval(with_candidate, tmp_path).reports
    assert isinstance(model, ReportedModel)
    assert Path(model.url).read_bytes() == whole
    (event,) = told(with_candidate, "evaluation.other_model")
    assert event["judged"] == candidate_of(with_candidate)
    assert str(the_file(tmp_path)) in str(event["reason"])


@pytest.mark.parametrize("how", BROKEN)
def test_k8s_04_without_a_whole_candidate_the_evaluation_fails_and_the_round_ends(
    with_candidate: Cloud, tmp_path: Path, how: str
) -> None:
    version = candidate_of(with_candidate)
    whole = the_file(tmp_path).read_bytes()
    the_file(tmp_path).unlink()
    if (content := spoilt(whole, how)) is not None:
        the_file(tmp_path).write_bytes(content)
    with_candidate.storage.put(f"models/{version}.bundle", whole[:-10])
    assert run_eval(with_candidate, tmp_path).reports == ["failed"]
    with_candidate.kb.refresh()
    decision = with_candidate.kb.examinations[version].decision
    assert not decision.accepted
    assert "truncated" in decision.reasons[0]
    assert not the_file(tmp_path, "eval").exists()


@pytest.mark.parametrize("how", BROKEN)
def test_k8s_04_a_broken_file_that_no_round_waits_for_is_a_failure(
    with_candidate: Cloud, tmp_path: Path, how: str
) -> None:
    end_round(with_candidate, RoundState.FAILED)
    whole = the_file(tmp_path).read_bytes()
    the_file(tmp_path).unlink()
    if (content := spoilt(whole, how)) is not None:
        the_file(tmp_path).write_bytes(content)
    assert run_eval(with_candidate, tmp_path).reports == ["failed"]
    assert str(the_file(tmp_path)) in str(told(with_candidate, "evaluation.failed")[0]["reason"])


def test_k8s_04_an_evaluation_without_lines_or_models_judges_the_candidate(
    with_candidate: Cloud, tmp_path: Path
) -> None:
    """After a restart Sedna evaluates round 0 with an empty set."""
    where = replace(environment(tmp_path, "eval"), dataset_url="", model_urls=())
    recorder = Recorder()
    eval_worker(where, with_candidate.config, with_candidate.storage, recorder)
    (model,) = recorder.reports
    assert isinstance(model, ReportedModel)
    assert set(model.current_metric) == {"day", "fog"}
    assert set(model.metrics) == {"mIoU"}
    assert model.classes
    assert model.samples == 4


def first_model(cloud: Cloud) -> ModelBundle:
    bundle = cloud.releases.incumbent()
    assert bundle is not None
    return bundle


def test_k8s_04_an_old_index_is_not_judged_while_a_candidate_waits(
    with_candidate: Cloud, tmp_path: Path
) -> None:
    """After a lost report Sedna evaluates the previous round's model silently."""
    the_file(tmp_path).write_bytes(first_model(with_candidate).to_bytes())
    (model,) = run_eval(with_candidate, tmp_path).reports
    assert isinstance(model, ReportedModel)
    version = read_bundle(Path(model.url).read_bytes(), "judged").version_id
    assert version == candidate_of(with_candidate)
    (event,) = told(with_candidate, "evaluation.other_model")
    assert event["given"] == first_model(with_candidate).version_id


def test_k8s_04_what_is_released_is_answered_again_and_what_it_replaced_is_vetoed(
    with_candidate: Cloud, tmp_path: Path
) -> None:
    old = first_model(with_candidate)
    candidate = candidate_of(with_candidate)
    (model,) = run_eval(with_candidate, tmp_path).reports
    with_candidate.releases.publish(candidate, FIRST, "accepted")
    end_round(with_candidate, RoundState.RELEASED)
    assert run_eval(with_candidate, tmp_path).reports == [model], "the recorded verdict, again"
    the_file(tmp_path).write_bytes(old.to_bytes())
    assert run_eval(with_candidate, tmp_path).reports == [None], "never back to the old one"
    reasons = told(with_candidate, "gate.refused")[-1]["reasons"]
    assert "not what is released" in str(reasons)
    with_candidate.releases.roll_back(old.version_id, "anna")
    assert isinstance(run_eval(with_candidate, tmp_path).reports[0], ReportedModel)
    the_file(tmp_path).write_bytes(with_candidate.releases.bundle(candidate).to_bytes())
    assert run_eval(with_candidate, tmp_path).reports == [None], "an operator took it back"


def test_k8s_04_an_examination_that_dies_again_and_again_is_a_refusal(
    with_candidate: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(sedna_eval, "examine", dies)
    for _ in range(MOST):
        with pytest.raises(MemoryError):
            run_eval(with_candidate, tmp_path)
    assert run_eval(with_candidate, tmp_path).reports == ["failed"]
    with_candidate.kb.refresh()
    (examination,) = with_candidate.kb.examinations.values()
    assert "began 5 times" in examination.decision.reasons[0]


def test_storage_that_is_away_is_waited_for(
    with_candidate: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise StorageUnavailableError("no route")

    monkeypatch.setattr(with_candidate.storage, "keys", away)
    for run in (run_train, run_eval):
        with pytest.raises(StorageUnavailableError):
            run(with_candidate, tmp_path)


# -- files ----------------------------------------------------------------------------------------


def test_the_tail_of_an_older_longer_file_is_not_read(
    with_candidate: Cloud, tmp_path: Path
) -> None:
    """Sedna's copy does not truncate: the new bundle lies over the old one."""
    whole = the_file(tmp_path).read_bytes()
    the_file(tmp_path).write_bytes(whole + b"the tail of something longer")
    (model,) = run_eval(with_candidate, tmp_path).reports
    assert isinstance(model, ReportedModel)
    assert Path(model.url).read_bytes() == whole
    assert not told(with_candidate, "evaluation.other_model")


def test_k8s_04_index_lines_are_samples_once(tmp_path: Path) -> None:
    """Blank lines, comments, repeated lines, and lines at which Sedna stops reading."""
    index = tmp_path / "data.txt"
    long = "images/" + "a" * LONGEST_LINE + ".jpg"
    index.write_bytes(
        b"\n# comment\nimages/a.jpg masks/a.png\r\n\nimages/b.jpg masks/b.png\n"
        b"images/a.jpg masks/a.png\n  # indented\n" + long.encode() + b"\nimages/\xff.jpg"
    )
    assert index_lines(str(index)) == [
        "images/a.jpg masks/a.png",
        "images/b.jpg masks/b.png",
        "images/\ufffd.jpg",
    ]
    index.write_bytes(b"")
    assert index_lines(str(index)) == []
    with pytest.raises(SednaError, match="No such file"):
        index_lines(str(tmp_path / "none.txt"))


def test_an_output_appears_whole_under_its_name(tmp_path: Path) -> None:
    place = tmp_path / "out/train/1"
    assert write_output(str(place), b"one") == f"{place}/index.pkl"
    inode = (place / "index.pkl").stat().st_ino
    write_output(str(place), b"one")
    assert (place / "index.pkl").stat().st_ino == inode, "the same bytes change nothing"
    write_output(str(place), b"two")
    assert (place / "index.pkl").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in place.iterdir()] == ["index.pkl"]


# -- being asked to end ---------------------------------------------------------------------------

PROGRAM = """
import time
from cloud.workers import _end_when_asked
from lifelong.links import sedna
sedna._post = lambda *_: None
where = sedna.WorkerEnvironment(
    namespace="n", job_name="j", worker_name="w", lc_server="", output_url="", dataset_url="",
    original_dataset_url="",
)
def sleep(seconds):
    print(int(seconds), flush=True)
    time.sleep(seconds)
reporter = sedna.LcReporter(
    where, sedna.WorkerKind.EVAL, not_before_s={before}, linger_s=600, sleep=sleep
)
_end_when_asked(reporter)
reporter.completed(None)
"""


@pytest.mark.parametrize(("before", "slept", "code"), [(0, 600, 0), (300, 300, 143)])
def test_k8s_04_sigterm_ends_a_lingering_worker_with_0_and_an_unheard_one_with_143(
    before: int, slept: int, code: int
) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(before=before)], stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    assert slept - 60 < int(worker.stdout.readline()) <= slept  # less what has passed since
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(240) == code
    worker.stdout.close()
