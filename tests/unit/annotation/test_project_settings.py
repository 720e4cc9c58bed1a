"""A project told by API, ANN-01: settings, bucket, model and webhook, once, and repaired."""

from dataclasses import replace

import pytest

from annotation.labeling_config import INSTRUCTION
from annotation.project_settings import (
    BACKEND_TITLE,
    SETTINGS,
    Backend,
    bucket_of,
    ensure_backend,
    ensure_bucket,
    ensure_settings,
)
from annotation.webhooks import ACTIONS, HINT_PATH, SECRET_HEADER, Webhook, ensure_webhook
from tests.fakes_label_studio import FakeStudio

KEYS = {
    "S3_ENDPOINT_URL": "http://127.0.0.1:9000/",
    "ACCESS_KEY_ID": "who",
    "SECRET_ACCESS_KEY": "hidden-secret",
}


@pytest.fixture
def studio() -> FakeStudio:
    made = FakeStudio()
    made.create_project("Test", "<View/>", "")
    return made


def test_ann_01_settings_are_made_kept_and_repaired(studio: FakeStudio) -> None:
    ensure_settings(studio, 1)
    assert studio.told[1] == dict(SETTINGS) | {"expert_instruction": INSTRUCTION}
    studio.told[1] |= {"show_skip_button": False, "expert_instruction": "<p>our own words</p>"}
    ensure_settings(studio, 1)
    assert studio.told[1]["show_skip_button"] is True
    assert studio.told[1]["expert_instruction"] == "<p>our own words</p>"
    changed: list[object] = []
    studio.change_settings = lambda *given: changed.append(given)  # type: ignore[method-assign]
    ensure_settings(studio, 1)
    assert changed == []


def test_ann_01_a_bucket_is_told_once_and_repaired_and_its_secret_is_never_shown(
    studio: FakeStudio,
) -> None:
    wanted = bucket_of("s3://pictures/site/a", KEYS)
    assert wanted is not None
    assert (wanted.bucket, wanted.prefix) == ("pictures", "site/a")
    assert wanted.endpoint == "http://127.0.0.1:9000"
    assert "hidden-secret" not in repr(wanted)
    ensure_bucket(studio, 1, wanted, keys_sent=False)
    ensure_bucket(studio, 1, wanted, keys_sent=True)
    (there,) = studio.buckets(1)
    assert (there.key_id, there.secret, there.presign, there.syncs) == (
        "who",
        "hidden-secret",
        False,
        False,
    )
    studio.save_bucket(1, replace(there, presign=True, endpoint="http://elsewhere"))
    ensure_bucket(studio, 1, wanted, keys_sent=True)
    assert studio.buckets(1) == [there]
    changed_keys = replace(wanted, secret="newer")
    ensure_bucket(studio, 1, changed_keys, keys_sent=False)
    assert [one.secret for one in studio.buckets(1)] == ["newer"]


def test_a_folder_has_no_bucket() -> None:
    assert bucket_of("file:///srv/storage", KEYS) is None


def test_ann_01_a_model_is_connected_once_and_repaired(studio: FakeStudio) -> None:
    url = "http://127.0.0.1:9090"
    assert ensure_backend(studio, 1, url) == ""
    assert ensure_backend(studio, 1, f"{url}/") == ""
    wanted = Backend(backend_id=1, url=url, title=BACKEND_TITLE, is_interactive=True)
    assert studio.backends(1) == [wanted]
    studio.save_backend(1, replace(wanted, is_interactive=False, title="renamed"))
    assert ensure_backend(studio, 1, url) == ""
    assert studio.backends(1) == [wanted]
    assert ensure_backend(studio, 1, "http://127.0.0.1:9191") == ""
    assert [one.url for one in studio.backends(1)] == ["http://127.0.0.1:9191"]


def test_ann_01_a_model_that_is_down_is_told_in_words(studio: FakeStudio) -> None:
    studio.dead_models.add("http://127.0.0.1:9")
    told = ensure_backend(studio, 1, "http://127.0.0.1:9")
    assert "http://127.0.0.1:9 is not connected" in told
    assert studio.backends(1) == []


def test_ann_01_a_webhook_is_registered_once_repaired_and_removed(studio: FakeStudio) -> None:
    url = "http://127.0.0.1:8000"
    other = Webhook(
        webhook_id=None,
        url="http://somebody.example/else",
        headers={},
        actions=frozenset(),
        is_active=True,
        for_all_actions=True,
        with_payload=True,
    )
    studio.save_webhook(1, other)
    ensure_webhook(studio, 1, url=f"{url}/", secret="s1")
    ensure_webhook(studio, 1, url=url, secret="s1")
    _, ours = studio.webhooks(1)
    assert ours.url == url + HINT_PATH
    assert ours.headers == {SECRET_HEADER: "s1"}
    assert ours.actions == ACTIONS
    assert not ours.with_payload
    assert "s1" not in repr(ours)
    studio.save_webhook(1, replace(ours, is_active=False, actions=frozenset()))
    studio.save_webhook(1, replace(ours, webhook_id=None, url=f"http://old:1{HINT_PATH}"))
    ensure_webhook(studio, 1, url=url, secret="s2")
    assert studio.webhooks(1)[1:] == [replace(ours, headers={SECRET_HEADER: "s2"})]
    ensure_webhook(studio, 1, url="", secret="")
    assert [hook.url for hook in studio.webhooks(1)] == [other.url], "others' are left alone"


def test_sec_01_a_models_password_is_told_apart_from_its_address(studio: FakeStudio) -> None:
    """SEC-01: everybody may read the address there; the password is sent once, and again when
    this process has not sent it."""
    address = "http://cornerloop:a%40b@127.0.0.1:9090/assist/"
    assert ensure_backend(studio, 1, address) == ""
    (backend,) = studio.backends(1)
    assert (backend.url, backend.user) == ("http://127.0.0.1:9090/assist", "cornerloop")
    assert backend.password == "a@b" and "a@b" not in repr(backend)
    studio.save_backend(1, replace(backend, password=""))
    assert ensure_backend(studio, 1, address, password_sent=True) == ""
    assert studio.backends(1)[0].password == ""
    assert ensure_backend(studio, 1, address) == ""
    assert studio.backends(1)[0].password == "a@b"
