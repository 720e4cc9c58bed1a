"""Clicks on many pictures with the shipped model; prints resident memory after each, MiB."""

import hashlib
import random
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np

from annotation.assist.segmenter import Wish
from cloud.assist_service.assembly import make_segmenter
from lifelong.config import Config
from lifelong.records.prompts import Point, Prompt


class NoisePicture:
    """A small picture that is made when it is looked at."""

    def __init__(self, number):
        self.number, self.name = number, f"noise {number}"
        self.digest = hashlib.sha256(self.name.encode()).hexdigest()

    def pixels(self):
        size = (60 + self.number % 40, 80, 3)
        return np.random.default_rng(self.number).integers(0, 255, size, dtype=np.uint8)


def resident_mib():
    """Of this process, from Linux."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def main(images, folder):
    """One click on most pictures, six at once on every tenth; 8 MiB hold 50 embeddings."""
    section = {"device": "cpu", "precision": "float32", "memory_mib": 8, "disk_mib": 32}
    service = make_segmenter(
        Config.model_validate({"journal_path": f"{folder}/journal", "assist": section})
    )

    def click(picture, seed):
        rng = random.Random(seed)
        point = Point(rng.random() * 80, rng.random() * 60)
        wish = Wish(prompt=Prompt(points=(point,)), candidates=rng.choice((1, 3)))
        service.segment(picture, wish)

    for number in range(images):
        picture = NoisePicture(number)
        threads = [
            threading.Thread(target=click, args=(picture, seed))
            for seed in range(1 if number % 10 else 6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(f"{resident_mib():.1f}")
    service.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(int(sys.argv[1]), folder)
