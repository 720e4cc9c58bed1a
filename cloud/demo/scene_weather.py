"""What light and weather make of a drawn street: the same geometry, photographed in clear sun,
at dusk, in fog, in rain and at night."""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from cloud.demo.scene_canvas import GLOW_COLOURS, Camera, Layers
from lifelong.records.label_map import CITYSCAPES

CONDITIONS = ("clear", "dusk", "fog", "rain", "night")

Floats = NDArray[np.float32]
_TILE_PX = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class _Light:
    """How a condition lights the street; colours are factors or 0 .. 255."""

    gain: tuple[float, float, float]  # of red, green, blue
    zenith: tuple[float, float, float]
    horizon: tuple[float, float, float]  # of the sky; far things fade to it
    cloud: tuple[float, float, float]
    cloudiness: float  # 0 .. 1
    shadow: float  # how dark a shadow is, 0 .. 1
    haze_m: float  # distance at which two thirds are lost to haze
    glow: float  # how strongly lamps shine
    colourful: float  # 1 = as it is, 0 = grey
    noise: float  # of the sensor, in grey levels
    blur_px: float


_LIGHTS = {
    "clear": _Light(
        gain=(1.04, 1.0, 0.95), zenith=(82, 142, 214), horizon=(190, 214, 236),
        cloud=(250, 250, 250), cloudiness=0.6, shadow=0.52, haze_m=420, glow=0.0,
        colourful=1.08, noise=2.5, blur_px=0.55,
    ),
    "dusk": _Light(
        gain=(0.66, 0.44, 0.40), zenith=(58, 52, 104), horizon=(250, 150, 84),
        cloud=(214, 112, 108), cloudiness=0.8, shadow=0.35, haze_m=260, glow=0.75,
        colourful=0.85, noise=5.0, blur_px=0.6,
    ),
    "fog": _Light(
        gain=(0.84, 0.86, 0.88), zenith=(196, 200, 204), horizon=(206, 209, 212),
        cloud=(200, 204, 208), cloudiness=0.2, shadow=0.08, haze_m=17, glow=0.15,
        colourful=0.55, noise=3.5, blur_px=0.9,
    ),
    "rain": _Light(
        gain=(0.50, 0.54, 0.60), zenith=(86, 94, 106), horizon=(134, 142, 150),
        cloud=(70, 76, 86), cloudiness=1.0, shadow=0.08, haze_m=75, glow=0.4,
        colourful=0.55, noise=5.0, blur_px=0.9,
    ),
    "night": _Light(
        gain=(0.085, 0.10, 0.165), zenith=(6, 8, 20), horizon=(24, 24, 42),
        cloud=(20, 22, 34), cloudiness=0.6, shadow=0.0, haze_m=220, glow=1.0,
        colourful=0.7, noise=7.5, blur_px=0.8,
    ),
}  # fmt: skip

# How strongly a surface is mottled, by class id; what is not named is smooth.
_MOTTLE = {"road": 0.10, "sidewalk": 0.12, "terrain": 0.26, "vegetation": 0.42, "building": 0.07,
           "wall": 0.20, "fence": 0.10}  # fmt: skip


def photograph(layers: Layers, condition: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The street as a camera would see it.

    Returns:
        (H, W, 3), uint8, RGB.
    """
    light = _LIGHTS[condition]
    image = _surface(layers, rng)
    image *= (1.0 - light.shadow * layers.shadow)[..., None]
    grey = image.mean(axis=2, keepdims=True)
    image = grey + light.colourful * (image - grey)
    if condition in ("night", "dusk"):
        image *= np.maximum(np.float32(light.gain), _lamp_light(layers, light))
    else:
        image *= np.float32(light.gain)
    image = _in_the_haze(image, _sky(layers, light, rng), layers, light)
    if condition == "rain":
        image = _wet(image, layers)
    if light.glow > 0.0:
        image = _shine(image, layers, light)
    if condition == "rain":
        image = _streaks(image, rng)
    image = cv2.GaussianBlur(image, (0, 0), light.blur_px)
    image += light.noise * _grain(layers.mask.shape, rng)[..., None]
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


@cache
def _tiles() -> tuple[Floats, Floats, Floats]:
    """Three tiles that repeat without a seam: fine grain, mottling, clouds; mean 0, spread 1."""
    rng = np.random.default_rng(0)
    tiles = []
    for sizes in ((0.0,), (1.2, 3.0, 7.0), (9.0, 20.0, 44.0)):
        total = np.zeros((_TILE_PX, _TILE_PX), dtype=np.float32)
        for size in sizes:
            layer = rng.standard_normal((_TILE_PX, _TILE_PX)).astype(np.float32)
            if size > 0.0:
                wrapped = np.tile(layer, (3, 3))
                middle = slice(_TILE_PX, 2 * _TILE_PX)
                layer = cv2.GaussianBlur(wrapped, (0, 0), size)[middle, middle]
            total += layer / layer.std()
        tiles.append(total / total.std())
    return tiles[0], tiles[1], tiles[2]


def _cut(tile: Floats, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """A window of a tile at a random place."""
    y, x = rng.integers(_TILE_PX, size=2)
    rows = (np.arange(shape[0]) + y) % _TILE_PX
    columns = (np.arange(shape[1]) + x) % _TILE_PX
    return np.asarray(tile[rows[:, None], columns[None, :]])


def _grain(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    return _cut(_tiles()[0], (shape[0], shape[1]), rng)


def _surface(layers: Layers, rng: np.random.Generator) -> Floats:
    """Colours with the grain of asphalt, leaves and plaster; on the ground it lies in perspective."""
    mottle = np.zeros(256, dtype=np.float32)
    for name, strength in _MOTTLE.items():
        mottle[CITYSCAPES.id_of(name)] = strength
    height, width = layers.mask.shape
    _, tile, _ = _tiles()
    texture = _cut(tile, (height, width), rng)
    top = min(height - 1, max(0, int(layers.camera.horizon_px) + 2))
    texture[top:] = _ground_texture(layers.camera, tile, top, height, width)
    factor = 1.0 + mottle[layers.mask] * np.clip(texture, -1.8, 1.8)
    return layers.colour.astype(np.float32) * factor[..., None].astype(np.float32)


def _ground_texture(camera: Camera, tile: Floats, top: int, height: int, width: int) -> Floats:
    rows = np.arange(top, height, dtype=np.float32) + 0.5 - camera.horizon_px
    depth = camera.focal_px * camera.height_m / np.maximum(rows, 1.0)
    across = (np.arange(width, dtype=np.float32) - camera.centre_px) / camera.focal_px
    x = (depth[:, None] * across[None, :] * 40.0).astype(np.int32) % _TILE_PX
    z = (depth * 40.0).astype(np.int32) % _TILE_PX
    # Far away a pixel covers many grains, which then average out.
    fade = np.clip(rows / 60.0, 0.15, 1.0)[:, None]
    return np.asarray(tile[z[:, None], x] * fade)


def _sky(layers: Layers, light: _Light, rng: np.random.Generator) -> Floats:
    """(H, W, 3) gradient from zenith to horizon, with clouds."""
    height, width = layers.mask.shape
    up = np.clip(1.0 - np.arange(height, dtype=np.float32) / layers.camera.horizon_px, 0.0, 1.0)
    zenith, horizon = np.float32(light.zenith), np.float32(light.horizon)
    sky = (horizon + (up**0.8)[:, None] * (zenith - horizon))[:, None, :]
    cover = np.clip(_cut(_tiles()[2], (height, width), rng) * 0.7 - 0.15, 0.0, 1.0)
    cover = (cover * light.cloudiness)[..., None]
    return np.asarray(sky * (1.0 - cover) + cover * np.float32(light.cloud), dtype=np.float32)


def _in_the_haze(image: Floats, sky: Floats, layers: Layers, light: _Light) -> Floats:
    through = np.exp(-layers.depth / np.float32(light.haze_m))
    through[layers.instance == 0] = 0.0
    far = np.where((layers.instance == 0)[..., None], sky, np.float32(light.horizon))
    return np.asarray(image * through[..., None] + far * (1.0 - through[..., None]))


def _lamp_light(layers: Layers, light: _Light) -> Floats:
    """What our own headlights and the street lamps add, as a factor (H, W, 3) of the colour."""
    camera, (height, width) = layers.camera, layers.mask.shape
    across = (np.arange(width, dtype=np.float32) - camera.centre_px) / (0.42 * width)
    rows = np.arange(height, dtype=np.float32) - camera.horizon_px
    down = np.clip((rows + 0.04 * height) / (0.25 * height), 0.0, 1.0)
    beam = down[:, None] * np.exp(-(across**2))[None, :] * np.exp(-layers.depth / 24.0)
    pools = np.zeros((height, width), dtype=np.float32)
    for x, z in layers.lamps:
        px, py = (int(value) for value in camera.project([x, 0.0, z]))
        radius = max(2, round(3.6 * camera.scale_at(z)))
        cv2.ellipse(pools, (px, py), (radius, max(1, radius // 4)), 0, 0, 360, 1.0, -1)
    pools = cv2.GaussianBlur(cv2.resize(pools, (width // 4, height // 4)), (0, 0), 4.0)
    pools = cv2.resize(pools, (width, height))
    warm, white = np.float32((1.0, 0.82, 0.5)), np.float32((0.95, 0.95, 0.85))
    total = 0.95 * beam[..., None] * white + 0.42 * pools[..., None] * warm
    return np.asarray(np.float32(light.gain) + light.glow * total, dtype=np.float32)


def _shine(image: Floats, layers: Layers, light: _Light) -> Floats:
    """Lamps and lit windows, and the halo around them."""
    height, width = layers.mask.shape
    lamps = GLOW_COLOURS[layers.glow].astype(np.float32)
    small = cv2.resize(lamps, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    halo = cv2.GaussianBlur(small, (0, 0), 2.0) + 0.9 * cv2.GaussianBlur(small, (0, 0), 8.0)
    image = image + 0.8 * light.glow * cv2.resize(halo, (width, height))
    lit = (layers.glow > 0)[..., None] * np.float32(light.glow)
    return np.asarray(image * (1.0 - lit) + lit * lamps)


def _wet(image: Floats, layers: Layers) -> Floats:
    """The street mirrors what stands above it, smeared downwards."""
    height = image.shape[0]
    horizon = int(layers.camera.horizon_px)
    rows = np.clip(2 * horizon - np.arange(height), 0, height - 1)
    mirror = cv2.blur(image[rows], (3, 25))
    wet = np.isin(layers.mask, [CITYSCAPES.id_of("road"), CITYSCAPES.id_of("sidewalk")])
    share = 0.45 * wet[..., None].astype(np.float32)
    return np.asarray(image * (1.0 - share) + share * mirror)


def _streaks(image: Floats, rng: np.random.Generator) -> Floats:
    height, width = image.shape[:2]
    drops = np.zeros((height, width), dtype=np.uint8)
    slant = float(rng.uniform(-0.25, 0.25))
    starts = rng.uniform((0, -20), (width, height), size=(260, 2))
    lengths = rng.uniform(0.03, 0.09, size=260) * height
    ends = starts + np.stack([slant * lengths, lengths], axis=1)
    lines = np.stack([starts, ends], axis=1).astype(np.int32)
    cv2.polylines(drops, list(lines), False, 255, 1)
    veil = cv2.GaussianBlur(drops, (0, 0), 0.7).astype(np.float32)[..., None] / 255.0
    return np.asarray(image + veil * 70.0)
