"""Pictures of coloured shapes with exact masks, and a model for clicks that can tell them apart.

The shipped SAM has seen drawn streets only and answers shapes badly; this model knows nothing but
colours, in no time, and is as real as its port asks: what it says follows from the pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cloud.assist.drawn_hints import padded_hint
from cloud.assist.interactive_model import Decoded, Embedded, go_on
from lifelong.errors import PromptError
from lifelong.records.prompts import Prompt

COLOURS = np.array(
    [(200, 40, 40), (40, 90, 200), (230, 200, 40), (40, 160, 70), (240, 240, 240), (30, 30, 30)]
)
KINDS = ("disc", "square", "triangle")
_SIDE, _CELL = 256, 4


@dataclass(frozen=True, slots=True)
class Shapes:
    """A picture with copies of one shape among others of other colours."""

    image: NDArray[np.uint8]  # (H, W, 3)
    wanted: list[NDArray[np.bool_]]  # (H, W) each; all of one shape and colour
    others: list[NDArray[np.bool_]]


def shape_mask(
    kind: str, x: float, y: float, radius: float, turn: float, size: tuple[int, int]
) -> NDArray[np.bool_]:
    """One shape in a picture of (height, width) pixels."""
    mask = np.zeros(size, np.uint8)
    if kind == "disc":
        cv2.circle(mask, (round(x), round(y)), round(radius), 1, -1)
    else:
        corners = 4 if kind == "square" else 3
        angles = turn + np.arange(corners) * 2 * np.pi / corners
        points = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)
        cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], 1)
    return mask.astype(bool)


def draw_shapes(
    seed: int, *, size: tuple[int, int] = (320, 400), copies: int = 7, others: int = 7
) -> Shapes:
    """Copies vary in size, place, angle and a little in colour; nothing touches, all is noisy."""
    rng = np.random.default_rng([seed, 77])
    colours, kinds = rng.permutation(COLOURS), rng.permutation(KINDS)
    image = np.full((*size, 3), rng.integers(100, 160, 3), np.float64)
    masks: list[NDArray[np.bool_]] = []
    places: list[tuple[float, float, float]] = []
    for number in range(copies + others):
        which = 0 if number < copies else 1 + number % 2
        while True:
            r = rng.uniform(14, 26)
            x, y = rng.uniform(r + 2, size[1] - r - 2), rng.uniform(r + 2, size[0] - r - 2)
            if all(np.hypot(x - a, y - b) > r + c + 4 for a, b, c in places):
                break
        places.append((x, y, r))
        masks.append(shape_mask(str(kinds[which]), x, y, r, rng.uniform(0, 6), size))
        image[masks[-1]] = colours[which] + rng.integers(-12, 13, 3)
    noisy = np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
    return Shapes(noisy, masks[:copies], masks[copies:])


class ColourModel:
    """An `InteractiveModel`: an answer is what has the clicked colour and hangs together there."""

    name, digest, takes_masks = "colours", "c0" * 32, False

    def __init__(self) -> None:
        self.embedded = self.decoded = 0

    def embed(self, image: NDArray[np.uint8], *, pause: Callable[[], None] = go_on) -> Embedded:
        self.embedded += 1
        scale = _SIDE / max(image.shape[:2])
        width, height = round(image.shape[1] * scale), round(image.shape[0] * scale)
        pixels = np.zeros((_SIDE, _SIDE, 3), np.float32)
        smooth = cv2.medianBlur(image, 5)
        pixels[:height, :width] = cv2.resize(smooth, (width, height), interpolation=cv2.INTER_AREA)
        cells = pixels.reshape(_SIDE // _CELL, _CELL, _SIDE // _CELL, _CELL, 3).mean(axis=(1, 3))
        arrays = {"pixels": pixels[None], "cells": cells.transpose(2, 0, 1)[None].copy()}
        return Embedded(image.shape[0], image.shape[1], arrays)

    def decode(
        self, embedded: Embedded, prompt: Prompt, *, previous: NDArray[np.float32] | None,
        several: bool,
    ) -> Decoded:  # fmt: skip
        """Three answers: strict about the colour, generous, and everything; a box cuts them."""
        self.decoded += 1
        if not prompt.points and not prompt.boxes:
            raise PromptError("nothing to go by")
        pixels = embedded.arrays["pixels"][0].astype(np.float32)
        scale = _SIDE / max(embedded.height, embedded.width)
        (x, y), *_ = [
            *((p.x, p.y) for p in prompt.points if p.is_positive),
            *(((b.x0 + b.x1) / 2, (b.y0 + b.y1) / 2) for b in prompt.boxes),
        ]
        row, column = (min(_SIDE - 1, int(value * scale)) for value in (y, x))
        apart = np.abs(pixels - pixels[row, column]).max(axis=2)
        reach = np.ones((_SIDE, _SIDE), np.bool_)
        for box in prompt.boxes:
            inside = np.zeros_like(reach)
            sides = [int(value * scale) for value in (box.y0, box.y1 + 1, box.x0, box.x1 + 1)]
            inside[sides[0] : sides[1], sides[2] : sides[3]] = True
            reach &= inside
        masks = []
        for most in (25.0, 60.0, 300.0)[: 3 if several else 1]:
            _, pieces = cv2.connectedComponents(((apart < most) & reach).astype(np.uint8))
            here = (pieces == pieces[row, column]) & (pieces > 0)
            masks.append(np.where(here, 8.0, -8.0))
        return Decoded(
            np.array(masks, np.float32), np.array([0.95, 0.8, 0.4][: len(masks)], np.float32)
        )

    def enlarge(self, low_res: NDArray[np.float32], embedded: Embedded) -> NDArray[np.float32]:
        scale = _SIDE / max(embedded.height, embedded.width)
        height, width = round(embedded.height * scale), round(embedded.width * scale)
        size = (embedded.width, embedded.height)
        parts = [np.ascontiguousarray(one[:height, :width]) for one in low_res]
        return np.stack([cv2.resize(part, size, interpolation=cv2.INTER_LINEAR) for part in parts])

    def hint(self, drawn: NDArray[np.bool_], embedded: Embedded) -> NDArray[np.float32]:
        return padded_hint(drawn, _SIDE)
