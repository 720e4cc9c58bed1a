"""K8S-08: what is here is loaded without a question; the hub is asked only for the rest."""

import socket

import pytest
from huggingface_hub import constants

from cloud.preannotation import hub
from lifelong.errors import ModelLoadError


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "getproxies", dict)
    monkeypatch.delenv("HF_ENDPOINT", raising=False)


class Loads:
    """Fails as transformers does as long as it may not use the network."""

    def __init__(self, cause=OSError("not in the cache")):
        self.offline, self._cause = [], cause

    def __call__(self):
        self.offline.append(constants.HF_HUB_OFFLINE)
        if constants.HF_HUB_OFFLINE:
            raise ModelLoadError("org/model") from self._cause
        return "loaded"


@pytest.fixture
def server(monkeypatch):
    """Somebody who listens where HF_ENDPOINT says."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{listening.getsockname()[1]}/hub")
        yield listening


def test_k8s_08_what_is_here_is_loaded_without_a_question(monkeypatch):
    monkeypatch.setattr(hub, "hub_answers", lambda: pytest.fail("asked"))

    assert hub.from_here_or_hub(lambda: constants.HF_HUB_OFFLINE) is True
    assert not constants.HF_HUB_OFFLINE


def test_k8s_08_what_is_not_here_comes_from_a_hub_that_answers(server):
    load = Loads()

    assert hub.from_here_or_hub(load) == "loaded"
    assert load.offline == [True, False]


def test_k8s_08_where_nobody_answers_the_first_error_is_the_last(server):
    server.close()
    load = Loads()

    with pytest.raises(ModelLoadError, match="org/model"):
        hub.from_here_or_hub(load)
    assert load.offline == [True]
    assert not constants.HF_HUB_OFFLINE


def test_a_wrong_file_is_no_question_for_the_hub(monkeypatch):
    monkeypatch.setattr(hub, "hub_answers", lambda: pytest.fail("asked"))

    with pytest.raises(ModelLoadError):
        hub.from_here_or_hub(Loads(cause=ValueError("weights of another network")))


def test_hf_hub_offline_is_the_last_word(monkeypatch):
    """Whoever forbids the network gets one try, and no question."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "hub_answers", lambda: pytest.fail("asked"))
    load = Loads()

    with pytest.raises(ModelLoadError):
        hub.from_here_or_hub(load)
    assert load.offline == [True]
    assert constants.HF_HUB_OFFLINE


def test_behind_a_proxy_only_the_proxy_knows(monkeypatch):
    monkeypatch.setattr(hub, "getproxies", lambda: {"https": "http://proxy.invalid:3128"})
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("asked"))

    assert hub.hub_answers()
