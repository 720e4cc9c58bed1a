"""INT-08: one computation per picture and model, however many ask, from memory, disk or encoder."""

import threading

import numpy as np
import pytest

from cloud.assist.embedding_files import EmbeddingFiles, EmbeddingKey
from cloud.assist.embeddings import EmbeddingMemory, Embeddings
from cloud.assist.interactive_model import Embedded
from cloud.assist.turns import Level, Turns
from lifelong.errors import ModelBusyError, PictureAccessError
from tests.unit.cloud.assist.engine_stubs import PATIENCE_S, StubModel, StubPicture, together


def kept(turns, *, memory=1 << 20, files=None):
    return Embeddings(EmbeddingMemory(limit_bytes=memory), files, turns)


def ask(embeddings, book, picture, model, level=Level.CLICK, work=None):
    work = work or book.begin("click", picture.name)
    return embeddings.of(picture, model, level=level, work=work)


def test_int_08_the_second_question_never_calls_the_encoder(turns, book):
    model, picture = StubModel(), StubPicture(3)
    embeddings = kept(turns)

    first = ask(embeddings, book, picture, model)

    assert ask(embeddings, book, picture, model) is first
    assert ask(embeddings, book, StubPicture(3), model) is first  # the same file elsewhere
    assert model.embedded == [3]
    assert picture.looked_at == 1


def test_int_08_another_model_has_embeddings_of_its_own(turns, book):
    one, other = StubModel(digest="1" * 64), StubModel(digest="2" * 64)
    embeddings, picture = kept(turns), StubPicture(3)

    ask(embeddings, book, picture, one)
    ask(embeddings, book, picture, other)

    assert one.embedded == other.embedded == [3]


def test_int_08_after_a_restart_the_disk_answers_without_the_picture(turns, book, tmp_path):
    model = StubModel()
    before = kept(turns, files=EmbeddingFiles(tmp_path, limit_bytes=1 << 20))
    ask(before, book, StubPicture(3), model)
    turns.close()  # what follows an answer is done then

    again = Turns(workers=1)
    after = kept(again, files=EmbeddingFiles(tmp_path, limit_bytes=1 << 20))
    gone = StubPicture(3, error=PictureAccessError("the server is away"))
    found = ask(after, book, gone, model)
    again.close()

    assert model.embedded == [3]
    assert gone.looked_at == 0
    np.testing.assert_array_equal(found.arrays["image"], np.full((1, 4), 3, np.float32))


def test_int_08_a_damaged_file_is_computed_anew_and_replaced(turns, book, tmp_path):
    model = StubModel()
    files = EmbeddingFiles(tmp_path, limit_bytes=1 << 20)
    ask(kept(turns, files=files), book, StubPicture(3), model)
    turns.close()
    (place,) = tmp_path.rglob("*.safetensors")
    place.write_bytes(place.read_bytes()[:-3])

    again = Turns(workers=1)
    ask(kept(again, files=files), book, StubPicture(3), model)
    again.close()

    assert model.embedded == [3, 3]
    assert files.read(EmbeddingKey(StubPicture(3).digest, model.digest)) is not None


def test_int_08_memory_is_bounded_by_bytes_and_forgets_the_oldest():
    memory = EmbeddingMemory(limit_bytes=100)
    keys = [EmbeddingKey(f"{number:064x}", "b" * 64) for number in range(5)]

    def put(number, floats):
        memory.put(keys[number], Embedded(1, 1, {"image": np.zeros(floats, np.float32)}))

    put(0, 10)
    put(1, 10)
    assert memory.get(keys[0]) is not None  # so that 1 is the oldest
    put(2, 10)
    assert [memory.get(k) is not None for k in keys] == [True, False, True, False, False]
    assert memory.nbytes == 80
    put(3, 26)  # alone over the limit
    assert memory.get(keys[3]) is None
    assert memory.nbytes == 80
    put(2, 15)  # again, larger
    assert memory.nbytes == 100
    put(4, 25)
    assert [memory.get(k) is not None for k in keys] == [False, False, False, False, True]


def test_int_08_eight_who_ask_at_once_share_one_computation(turns, book):
    model = StubModel()
    model.go.clear()
    embeddings, pictures = kept(turns), [StubPicture(7) for _ in range(8)]

    def let_go():
        model.begun.wait(PATIENCE_S)
        model.go.set()

    releases = threading.Thread(target=let_go)
    releases.start()

    found = together(8, lambda number: ask(embeddings, book, pictures[number], model))
    releases.join()

    assert model.embedded == [7]
    assert sum(picture.looked_at for picture in pictures) == 1
    assert all(each is found[0] for each in found)


def test_int_08_when_it_fails_each_is_told_and_the_next_try_computes_anew(turns, book):
    model = StubModel()
    embeddings = kept(turns)
    picture = StubPicture(7, error=PictureAccessError("404, is the address right?"))

    found = together(4, lambda _: ask(embeddings, book, picture, model))

    assert all(isinstance(each, PictureAccessError) for each in found)
    assert all("404" in str(each) for each in found)
    assert len({id(each) for each in found}) == 4  # tracebacks of their own
    picture.error = None
    assert ask(embeddings, book, picture, model).height == 6
    assert model.embedded == [7]


def test_int_27_one_who_is_taken_back_does_not_stop_the_others(turns, book):
    model, picture = StubModel(), StubPicture(7)
    model.go.clear()
    embeddings = kept(turns)
    impatient = book.begin("click", picture.name)
    others = []
    patient = threading.Thread(target=lambda: others.append(ask(embeddings, book, picture, model)))
    patient.start()
    assert model.begun.wait(PATIENCE_S)
    gone = []

    def leave():
        with pytest.raises(ModelBusyError, match="cancelled"):
            ask(embeddings, book, picture, model, work=impatient)
        gone.append(True)

    leaver = threading.Thread(target=leave)
    leaver.start()
    assert book.cancel(impatient.work_id)
    leaver.join(PATIENCE_S)
    model.go.set()
    patient.join(PATIENCE_S)

    assert gone == [True]
    assert len(others) == 1
    assert model.embedded == [7]


def test_int_27_what_nobody_waits_for_any_longer_is_given_up_between_layers(turns, book):
    model, picture = StubModel(), StubPicture(7)
    model.go.clear()
    embeddings = kept(turns)
    work = book.begin("click", picture.name)
    asking = threading.Thread(target=lambda: together(1, lambda _: ask(
        embeddings, book, picture, model, work=work)))  # fmt: skip
    asking.start()
    assert model.begun.wait(PATIENCE_S)

    assert book.cancel(work.work_id)
    asking.join(PATIENCE_S)

    # The worker is free again though the encoder was never let go.
    other = StubModel(digest="6" * 64)
    assert ask(embeddings, book, StubPicture(9), other).height == 6
    model.go.set()
    assert ask(embeddings, book, picture, model).width == 8
    assert model.embedded == [7, 7]
