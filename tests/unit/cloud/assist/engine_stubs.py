"""Models, pictures and loaders that count what is asked of them, and can be held up."""

import hashlib
import threading
from typing import Any

import numpy as np

from cloud.assist.drawn_hints import padded_hint
from cloud.assist.embedding_files import EmbeddingFiles
from cloud.assist.embeddings import EmbeddingMemory, Embeddings
from cloud.assist.interactive_model import Decoded, Embedded, go_on
from cloud.assist.model_room import ModelRoom
from cloud.assist.segmenters import Segmenters
from cloud.assist.turns import Turns
from cloud.assist.work_book import WorkBook
from lifelong.sections.assist import AssistModelSection

PATIENCE_S = 30.0  # for what has to happen; a test that works never waits so long


class StubPicture:
    """A picture whose every pixel says its number, 0 .. 255."""

    def __init__(self, number, size=(6, 8), error=None):
        self.number, self.size, self.error = number, size, error
        self.digest = hashlib.sha256(f"{number} {size}".encode()).hexdigest()
        self.name = f"picture {number}"
        self.looked_at = 0

    def pixels(self):
        self.looked_at += 1
        if self.error is not None:
            raise self.error
        return np.full((*self.size, 3), self.number, np.uint8)


class StubModel:
    """Embeds a picture as its number; its masks spell the number and the last point."""

    def __init__(self, name="stub", digest="5" * 64, takes_masks=False, floats=4):
        self.name, self.digest, self.takes_masks = name, digest, takes_masks
        self.embedded = []  # numbers, in order
        self.decoded = []  # (prompt, previous, several)
        self.begun = threading.Event()
        self.go = threading.Event()  # encoders wait for it
        self.go.set()
        self._floats = floats

    def embed(self, image, *, pause=go_on):
        number = int(image[0, 0, 0])
        self.embedded.append(number)
        self.begun.set()
        while not self.go.wait(0.002):
            pause()
        pause()
        array = np.full((1, self._floats), number, np.float32)
        return Embedded(image.shape[0], image.shape[1], {"image": array})

    def decode(self, embedded, prompt, *, previous=None, several):
        self.decoded.append((prompt, previous, several))
        number = int(embedded.arrays["image"][0, 0])
        x = prompt.points[-1].x if prompt.points else prompt.boxes[-1].x0
        count = 3 if several else 1
        # Bits of the number in the first row, of x in the second.
        low_res = np.full((count, 2, 8), -1, np.float32)
        for bit in range(8):
            low_res[:, 0, bit] = 1 if number >> bit & 1 else -1
            low_res[:, 1, bit] = 1 if int(x) >> bit & 1 else -1
        return Decoded(low_res, np.array([0.5, 0.9, 0.7][:count], np.float32))

    def enlarge(self, low_res, embedded):
        large = np.full((len(low_res), embedded.height, embedded.width), -1, np.float32)
        large[:, :2, :8] = low_res
        return large

    def hint(self, drawn, embedded):
        return padded_hint(drawn, 8)


def spelt(mask):
    """(number of the picture, x of the click) that a stub's mask spells."""
    return tuple(sum(1 << bit for bit in range(8) if mask[row, bit]) for row in range(2))


class StubLoader:
    """Gives models that were put in; loading can be held up, and fail."""

    def __init__(self, *models):
        self.models = {model.name: model for model in models}
        self.loads = []
        self.errors = {}
        self.stamps = {}
        self.go = threading.Event()
        self.go.set()

    def name_of(self, section):
        return section.model

    def identity_of(self, section):
        return section.model

    def stamp_of(self, section):
        return self.stamps.get(section.model)

    def load(self, section):
        self.loads.append(section.model)
        assert self.go.wait(PATIENCE_S)
        if section.model in self.errors:
            raise self.errors[section.model]
        return self.models[section.model]


def section(name):
    return AssistModelSection(type="sam", model=name)


def segmenters(*models, folder=None, memory=1 << 20, disk=1 << 20, workers=1, waiting=64, **more):
    """A service of stubs; the first model is the default one."""
    turns = Turns(workers=workers)
    files = None if folder is None else EmbeddingFiles(folder, limit_bytes=disk)
    embeddings = Embeddings(EmbeddingMemory(limit_bytes=memory), files, turns)
    first, *others = [section(model.name) for model in models]
    room = ModelRoom(
        first,
        {each.model: each for each in others},
        more.pop("loader", None) or StubLoader(*models),
        patience_seconds=more.pop("patience_seconds", PATIENCE_S),
    )
    return Segmenters(room, embeddings, turns, WorkBook(), workers=workers, waiting=waiting, **more)


def together(count, call):
    """What `call(number)` gives or raises in `count` threads that begin at once."""
    start = threading.Barrier(count)
    results: list[Any] = [None] * count

    def run(number):
        start.wait()
        try:
            results[number] = call(number)
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
