"""What users complain of elsewhere, and the words that they get here, with the fix (OPS-03).

One row a complaint: pictures that do not load (D10), models and labels that do not answer (D14),
and what is missing: weights, token, path.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from annotation.assist.access import ProjectAccess, Studio
from annotation.assist.pictures import Pictures
from annotation.label_studio import LabelStudio
from cloud.assembly import token_of, webhook_secret
from cloud.assist.model_room import ModelRoom
from cloud.assist_service.models import AssistLoader
from cloud.assist_service.serving import assist_config
from cloud.sedna_eval import evaluate_folder
from lifelong.config import Config, load_config, load_label_map
from lifelong.errors import ImageError, LifelongError
from lifelong.links.storage import open_storage
from lifelong.records.pixels import image_from_bytes
from lifelong.sections.assist import AssistSection
from tests.unit.annotation.assist.servers import serving

NOBODY = "http://127.0.0.1:9"  # the port of discarding, where nothing listens


def configured(folder: Path, text: str) -> Config:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path)


def looked_at(
    address: str, *, token: str = "", root: Path | None = None, url: str = NOBODY
) -> object:
    """The pixels of a task's picture."""
    studio = Studio(url=url, token=token, token_env="MY_PAT", local_files_root=root)
    pictures = Pictures(studio, AssistSection())
    access = ProjectAccess(hostname="", access_token="")
    return pictures.picture(address, task_id=3, project=access).pixels()


def loaded(folder: Path, model: str) -> object:
    """The smart tool's model by a configuration."""
    config = configured(folder, f"assist: {{model: {model}}}")
    room = ModelRoom(
        config.assist.model, config.assist.models, AssistLoader(config), patience_seconds=60
    )
    room.start()
    return room.get("", until_loaded=True)


def refused_by_studio(_: Path) -> object:
    with serving() as server:
        server.answers["/api/current-user/whoami"] = lambda handler: handler.send(
            401, b'{"detail": "legacy token authentication has been disabled"}',
            Content_Type="application/json",
        )  # fmt: skip
        studio = LabelStudio(server.url, "0" * 40, 2.0, token_env="MY_PAT")
        try:
            return studio.whoami()
        finally:
            studio.close()


def on_a_private_host(_: Path) -> object:
    with serving() as server:
        return looked_at(f"{server.url}/gone.jpg")


def gone_from_studio(_: Path) -> object:
    with serving() as server:
        return looked_at("/data/upload/1/gone.jpg", token="t" * 40, url=server.url)


def hooked(_: Path) -> object:
    config = Config.model_validate({"label_studio": {"webhook_url": "http://here"}})
    return webhook_secret(config.label_studio)


def seed_words(*words: str) -> object:
    return assist_config(Config(), words)


# What the user does; words of the fix that must be in the answer.
COMPLAINTS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    # paths and settings
    "config file missing": (
        lambda d: load_config(d / "no.yaml"), ("no.yaml", "name an existing file")),
    "key misspelt": (
        lambda d: configured(d, "rounds: {min_exampels: 3}"), ("did you mean 'min_examples'",)),
    "not YAML": (lambda d: configured(d, "storage: ["), ("config.yaml", "not YAML", "line 1")),
    "label map missing": (
        lambda d: load_label_map(configured(d, "label_map: classes.json")),
        ("classes.json", "label_map must name an existing file")),
    "storage of no kind": (
        lambda _: open_storage("ftp://host/x"), ("ftp://host/x", "use a folder", "s3://")),
    "bundle missing": (
        lambda d: evaluate_folder(d / "no.bundle", d), ("no.bundle", "name a bundle")),
    # tokens (D9, D10)
    "token not set": (lambda _: token_of("MY_PAT"), ("MY_PAT", "set it to a Label Studio token")),
    "secret of hints not set": (hooked, ("CORNERLOOP_WEBHOOK_SECRET", "set it to")),
    "legacy token refused": (refused_by_studio, ("401", "MY_PAT")),
    "address without scheme": (
        lambda _: LabelStudio("studio:8080", "t", 1.0), ("label_studio.url", "http://")),
    "Label Studio is off": (
        lambda _: LabelStudio(NOBODY, "t" * 40, 2.0).whoami(),
        (NOBODY, "is it up, and is label_studio.url its address?")),
    # pictures (D10)
    "upload without a token": (
        lambda _: looked_at("/data/upload/1/a.jpg"), ("Account & Settings", "MY_PAT")),
    "upload, Label Studio is off": (
        lambda _: looked_at("/data/upload/1/a.jpg", token="t"), ("label_studio.url", "is it up")),
    "picture's server is off": (
        lambda _: looked_at(f"{NOBODY}/a.jpg"), (NOBODY, "is it up, and right in the task?")),
    "picture on a private host": (on_a_private_host, ("add 127.0.0.1 to assist.private_hosts",)),
    "picture is gone": (gone_from_studio, ("gone.jpg", "404")),
    "local file missing": (
        lambda d: looked_at("/data/local-files/?d=a.jpg", root=d), ("No such file", "MY_PAT")),
    "local file outside": (
        lambda d: looked_at("/data/local-files/?d=../../etc/passwd", root=d),
        ("climbs out", "correct the task")),
    "a bare file name": (lambda _: looked_at("a.jpg"), ("use one of", "/data/local-files/?d=")),
    # models (D14)
    "weights not pulled": (
        lambda d: loaded(d, "{type: sam, model: vit_b}"), ("cornerloop models pull",)),
    "weights file missing": (
        lambda d: loaded(d, "{type: onnx, checkpoint: nowhere}"), ("nowhere", "models export")),
    "word of the seeds misspelt": (
        lambda _: seed_words("modelname=sam"), ("modelname", "expected model_name")),
    "model of another family": (
        lambda _: seed_words("sam_config=vit_x"), ("expected sam_config=vit_h",)),
    "word without a value": (lambda _: seed_words("model_name"), ("expected KEY=VALUE",)),
}  # fmt: skip


@pytest.mark.parametrize("complaint", COMPLAINTS)
def test_ops_03_the_words_name_the_fix(
    complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MY_PAT", "CORNERLOOP_WEBHOOK_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CORNERLOOP_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "MY_PAT" not in os.environ
    act, words = COMPLAINTS[complaint]
    with pytest.raises(LifelongError) as told:
        act(tmp_path)
    for word in words:
        assert word in str(told.value)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "the file is empty"),
        (b"\0\0\0\x18ftypheic" + bytes(400), "none of JPEG, PNG, .*save it as one of them"),
    ],
)
def test_ops_03_a_file_that_is_no_picture_is_told_without_addresses_of_memory(
    data: bytes, told: str
) -> None:
    with pytest.raises(ImageError, match=rf"phone\.jpg: not a readable image \({told}\)") as caught:
        image_from_bytes(data, "phone.jpg")
    assert "BytesIO" not in str(caught.value)
