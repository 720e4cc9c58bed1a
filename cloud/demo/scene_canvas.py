"""Where a drawn street lives: a pinhole camera, and a canvas whose labels cannot drift from its
colours, because every shape is painted into both with one and the same polygon."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lifelong.records.label_map import CITYSCAPES

Colour = tuple[int, int, int]  # red, green, blue, each 0 .. 255

FAR_M = 400.0  # depth of the sky

# What a lamp looks like when it is on; the canvas keeps only its number, since by day it is off.
NO_GLOW, WINDOW, COOL_WINDOW, HEADLIGHT, TAIL_LIGHT, GREEN, AMBER, RED, STREET_LAMP = range(9)
GLOW_COLOURS = np.array(
    [
        (0, 0, 0),
        (255, 196, 110),
        (190, 215, 255),
        (255, 250, 225),
        (255, 40, 30),
        (60, 255, 140),
        (255, 180, 40),
        (255, 50, 40),
        (255, 226, 160),
    ],
    dtype=np.uint8,
)


@dataclass(frozen=True, slots=True)
class Camera:
    """A level pinhole camera above a flat street.

    World: metres, X to the right, Y up from the ground, Z ahead. Picture: pixels, x, y.
    """

    focal_px: float
    horizon_px: float  # row of the vanishing point
    centre_px: float  # column of the vanishing point
    height_m: float

    def project(self, points: object) -> NDArray[np.int32]:
        """(..., 3) world points to (..., 2) whole pixels; Z must be positive."""
        world = np.asarray(points, dtype=np.float64)
        scale = self.focal_px / world[..., 2:]
        middle = (self.centre_px, self.horizon_px + 0.0)
        pixels = np.rint(scale * (world[..., :2] * (1, -1) + (0, self.height_m)) + middle)
        np.minimum(np.maximum(pixels, -8000.0, out=pixels), 8000.0, out=pixels)
        return pixels.astype(np.int32)

    def scale_at(self, depth_m: float) -> float:
        """Pixels in a metre at that depth."""
        return self.focal_px / depth_m


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """A street before weather and light; all arrays are (H, W) unless said otherwise."""

    colour: NDArray[np.uint8]  # (H, W, 3) RGB without shadows
    glow: NDArray[np.uint8]  # number of the lamp at that pixel, 0 = none
    mask: NDArray[np.uint8]  # class ids
    instance: NDArray[np.int32]  # one number for each drawn thing, 0 = sky
    depth: NDArray[np.float32]  # metres
    shadow: NDArray[np.float32]  # 0 lit .. 1 in full shadow, on the ground only
    camera: Camera
    lamps: tuple[tuple[float, float], ...]  # (X, Z) of street lamps


class Canvas:
    """Colour, lamp and instance of every pixel, drawn from far to near."""

    def __init__(self, height: int, width: int, camera: Camera) -> None:
        self.camera = camera
        self.paint = np.zeros((height, width, 4), dtype=np.uint8)  # RGB and the lamp's number
        self.instance = np.zeros((height, width), dtype=np.int32)
        self.shade = np.zeros((height, width), dtype=np.uint8)  # shadows on the ground
        self.lamps: list[tuple[float, float]] = []
        self._classes = [CITYSCAPES.id_of("sky")]
        self._depths = [FAR_M]  # of things that stand upright; 0 = lies on the ground
        self._planes = [0.0]  # |X| of things that run along the street, else 0

    def begin(self, name: str, *, depth_m: float = 0.0, plane_m: float = 0.0) -> None:
        """What is drawn from now on is one new thing of class `name`."""
        self._classes.append(CITYSCAPES.id_of(name))
        self._depths.append(depth_m)
        self._planes.append(abs(plane_m))

    def fill(self, pixels: NDArray[np.int32], colour: Colour, glow: int = NO_GLOW) -> None:
        """One polygon (N, 2), or several that do not overlap (M, N, 2)."""
        shapes = [pixels] if pixels.ndim == 2 else list(pixels)
        cv2.fillPoly(self.paint, shapes, (*colour, glow))
        cv2.fillPoly(self.instance, shapes, len(self._classes) - 1)

    def face(self, points: object, colour: Colour, glow: int = NO_GLOW) -> None:
        """The same for world points: (N, 3) or (M, N, 3)."""
        self.fill(self.camera.project(points), colour, glow)

    def disc(self, x: float, y: float, radius: float, colour: Colour, glow: int = NO_GLOW) -> None:
        """A filled circle in pixels, never smaller than one pixel."""
        centre, size = (round(x), round(y)), max(0, round(radius))
        cv2.circle(self.paint, centre, size, (*colour, glow), -1)
        cv2.circle(self.instance, centre, size, len(self._classes) - 1, -1)

    def stroke(self, pixels: object, width_px: float, colour: Colour) -> None:
        """A line through (N, 2) pixels."""
        line = [np.rint(np.asarray(pixels, dtype=np.float64)).astype(np.int32)]
        thick = max(1, round(width_px))
        cv2.polylines(self.paint, line, False, (*colour, NO_GLOW), thick)
        cv2.polylines(self.instance, line, False, len(self._classes) - 1, thick)

    def cast_shadow(self, points: object) -> None:
        """A shadow on the ground: world points (N, 3) with Y = 0."""
        cv2.fillPoly(self.shade, [self.camera.project(points)], 255)

    def layers(self) -> Layers:
        """Everything drawn so far as arrays."""
        height, width = self.instance.shape
        camera = self.camera
        mask = np.array(self._classes, dtype=np.uint8).take(self.instance)
        depth = np.array(self._depths, dtype=np.float32).take(self.instance)
        plane = np.array(self._planes, dtype=np.float32)
        rows = np.arange(height, dtype=np.float32)[:, None] - camera.horizon_px
        ground = np.minimum(camera.focal_px * camera.height_m / np.maximum(rows, 0.5), FAR_M)
        columns = np.abs(np.arange(width, dtype=np.float32) - camera.centre_px)
        along = camera.focal_px / np.maximum(columns, 1.0) * plane.take(self.instance)
        lies = (depth + along) == 0.0
        np.copyto(depth, np.minimum(along, FAR_M), where=along > 0.0)
        np.copyto(depth, ground.astype(np.float32), where=lies)
        soft = cv2.GaussianBlur(self.shade, (0, 0), 1.5).astype(np.float32) / 255.0
        return Layers(
            colour=np.asarray(cv2.cvtColor(self.paint, cv2.COLOR_RGBA2RGB), dtype=np.uint8),
            glow=np.asarray(cv2.extractChannel(self.paint, 3), dtype=np.uint8),
            mask=mask,
            instance=self.instance,
            depth=depth,
            shadow=soft * lies,
            camera=camera,
            lamps=tuple(self.lamps),
        )
