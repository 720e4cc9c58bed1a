"""INT-17, OPS-02, OPS-03: models load in the background, once each, and say how it stands."""

import pytest

from annotation.assist.segmenter import Readiness
from cloud.assist.model_room import ModelRoom
from lifelong.errors import ConfigError, ModelLoadError, ModelNotReadyError
from tests.unit.cloud.assist.engine_stubs import (
    PATIENCE_S,
    StubLoader,
    StubModel,
    section,
    together,
)

MISSING = ModelLoadError("sam_vit_b: no weights; `cornerloop models pull sam_vit_b` brings them")


def room(loader, *others, default="big", patience=PATIENCE_S, clock=lambda: 1000.0):
    return ModelRoom(
        section(default),
        {name: section(model) for name, model in others},
        loader,
        patience_seconds=patience,
        clock=clock,
    )


def by_name(made):
    return {state.name: state for state in made.states()}


def test_int_17_states_answer_while_a_slow_model_loads():
    """INT-17: whoever asks what is going on never waits."""
    loader = StubLoader(StubModel("big", digest="0123456789abcdef"), StubModel("small"))
    loader.go.clear()
    made = room(loader, ("small", "small"), patience=0.0)

    made.start()

    big, small = made.states()
    assert (big.name, big.readiness, big.version) == ("big", Readiness.LOADING, "")
    assert big.is_default
    assert not small.is_default
    assert small.readiness is Readiness.LOADING
    with pytest.raises(ModelNotReadyError, match=r"big: still loading, for 0 s now; try again"):
        made.get()

    loader.go.set()
    assert made.get(until_loaded=True) is loader.models["big"]
    assert made.get("small", until_loaded=True) is loader.models["small"]
    assert {state.readiness for state in made.states()} == {Readiness.READY}
    assert made.states()[0].version == "big-01234567"


def test_int_17_who_asks_waits_a_while_and_gets_the_model():
    loader = StubLoader(StubModel("big"))
    made = room(loader)

    found = together(8, lambda _: made.get())

    assert all(each is loader.models["big"] for each in found)
    assert loader.loads == ["big"]


def test_int_08_several_names_of_one_model_share_one_copy():
    loader = StubLoader(StubModel("big"), StubModel("small"))
    made = room(loader, ("clicks", "big"), ("fast", "small"), ("quick", "small"))

    assert made.get("clicks") is made.get() is made.get("big")
    assert made.get("fast") is made.get("quick")
    assert sorted(loader.loads) == ["big", "small"]
    assert made.names() == ("big", "clicks", "fast", "quick")
    assert list(by_name(made)) == ["big", "clicks", "fast", "quick"]


def test_ops_02_one_model_that_fails_leaves_the_others_ready():
    """OPS-02, OPS-03: failed, in words with the fix."""
    loader = StubLoader(StubModel("small"))
    loader.errors["big"] = MISSING
    made = room(loader, ("small", "small"))
    made.start()

    assert made.get("small") is loader.models["small"]
    state = by_name(made)["big"]
    assert state.readiness is Readiness.FAILED
    assert "cornerloop models pull sam_vit_b" in state.words
    with pytest.raises(ModelLoadError, match="models pull sam_vit_b"):
        made.get()


def test_ops_02_a_failed_model_is_tried_again_once_its_file_has_changed():
    loader = StubLoader(StubModel("big"))
    loader.errors["big"] = MISSING
    made = room(loader)
    for _ in range(3):
        with pytest.raises(ModelLoadError):
            made.get()
    assert loader.loads == ["big"]

    del loader.errors["big"]
    with pytest.raises(ModelLoadError):
        made.get()
    loader.stamps["big"] = ("the file", 375_042_383)

    assert made.get() is loader.models["big"]
    assert loader.loads == ["big", "big"]
    assert made.states()[0].readiness is Readiness.READY


def test_ops_03_what_nobody_foresaw_is_told_too_and_the_others_are_loaded(caplog):
    loader = StubLoader(StubModel("small"))
    loader.errors["big"] = MemoryError("cannot allocate")
    made = room(loader, ("small", "small"))
    made.start()

    assert made.get("small") is loader.models["small"]
    with pytest.raises(ModelLoadError, match=r"big: could not be loaded .MemoryError: cannot"):
        made.get()


def test_ops_03_each_who_is_told_gets_an_error_of_their_own():
    loader = StubLoader()
    loader.errors["big"] = MISSING
    made = room(loader)

    found = together(4, lambda _: made.get())

    assert len({id(error) for error in found}) == 4
    assert {str(error) for error in found} == {str(MISSING)}


def test_ops_02_degraded_where_something_beside_the_models_is_missing():
    loader = StubLoader(StubModel("big"))
    made = room(loader)
    made.get()

    (state,) = made.states("embeddings are not kept on disk: no space left")

    assert state.readiness is Readiness.DEGRADED
    assert "no space left" in state.words


def test_ops_03_an_unknown_name_says_which_there_are():
    made = room(StubLoader(StubModel("big")), ("clicks", "big"))

    with pytest.raises(ConfigError, match=r"no model 'hq' .* expected one of big, clicks"):
        made.get("hq")
