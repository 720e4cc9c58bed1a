"""What light and weather make of a drawn street: the same geometry, photographed in clear sun,
at dusk, in fog, in rain and at night."""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from cloud.demo.scene_canvas import GLOW_COLOURS, Camera, Layers
from lifelong.records.label_map import CITYSCAPES

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
    image = _floats(cv2.transform(_surface(layers, light, rng), _colour_matrix(light)))
    if condition in ("night", "dusk"):
        image *= _lamp_light(layers, light)
    else:
        image *= _rgb(light.gain)
    _into_the_haze(image, layers, light)
    _paint_sky(image, layers, light, rng)
    if condition == "rain":
        image = _wet(image, layers)
    if light.glow > 0.0:
        _shine(image, layers, light)
    if condition == "rain":
        _rain(image, rng)
    image = _blurred(image, light.blur_px)
    image += (light.noise * _cut(_tiles()[0], layers.mask.shape, rng))[..., None]
    return np.asarray(cv2.convertScaleAbs(np.maximum(image, 0.0, out=image)), dtype=np.uint8)


def _floats(values: object) -> Floats:
    """Names the type of what OpenCV returns; nothing is copied."""
    return np.asarray(values, dtype=np.float32)


def _blurred(image: Floats, sigma_px: float) -> Floats:
    return _floats(cv2.GaussianBlur(image, (0, 0), sigma_px))


def _resized(image: Floats, width: int, height: int, how: int = cv2.INTER_LINEAR) -> Floats:
    return _floats(cv2.resize(image, (width, height), interpolation=how))


def _rgb(colour: tuple[float, float, float]) -> Floats:
    return np.array(colour, dtype=np.float32)


def _colour_matrix(light: _Light) -> Floats:
    """Fades colours to grey, or makes them stronger."""
    grey = np.full((3, 3), (1.0 - light.colourful) / 3.0, dtype=np.float32)
    return grey + light.colourful * np.eye(3, dtype=np.float32)


@cache
def _tiles() -> tuple[Floats, Floats, Floats]:
    """Three tiles that repeat without a seam: fine grain, mottling, clouds; mean 0, spread 1."""
    rng = np.random.default_rng(0)
    tiles = []
    for sizes in ((0.0,), (1.2, 3.0, 7.0), (9.0, 20.0, 44.0)):
        total = np.zeros((_TILE_PX, _TILE_PX), dtype=np.float32)
        for size in sizes:
            layer = rng.standard_normal((_TILE_PX, _TILE_PX), dtype=np.float32)
            if size > 0.0:
                wrapped = np.tile(layer, (3, 3))
                middle = slice(_TILE_PX, 2 * _TILE_PX)
                layer = _blurred(wrapped, size)[middle, middle]
            total += layer / layer.std()
        tiles.append(total / total.std())
    return tiles[0], tiles[1], tiles[2]


def _cut(tile: Floats, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """A window of a tile at a random place; the tile goes on beyond its edges."""
    y, x = (int(start) for start in rng.integers(_TILE_PX, size=2))
    rows = np.arange(y, y + shape[0]) % _TILE_PX
    window: Floats = tile[rows].take(np.arange(x, x + shape[1]) % _TILE_PX, axis=1)
    return window


def _surface(layers: Layers, light: _Light, rng: np.random.Generator) -> Floats:
    """(H, W, 3) colours in shadow, with the grain of asphalt, leaves and plaster; on the ground
    the grain lies in perspective."""
    mottle = np.zeros(256, dtype=np.float32)
    for name, strength in _MOTTLE.items():
        mottle[CITYSCAPES.id_of(name)] = strength
    height, width = layers.mask.shape
    _, tile, _ = _tiles()
    top = min(height - 1, max(1, int(layers.camera.horizon_px) + 2))
    upright = _cut(tile, (top, width), rng)
    texture = np.vstack([upright, _ground_texture(layers.camera, tile, top, height, width)])
    factor = mottle.take(layers.mask) * np.minimum(np.maximum(texture, -1.8), 1.8) + 1.0
    factor *= 1.0 - np.float32(light.shadow) * layers.shadow
    surface: Floats = layers.colour * factor[..., None]
    return surface


def _ground_texture(camera: Camera, tile: Floats, top: int, height: int, width: int) -> Floats:
    rows = np.arange(top, height, dtype=np.float32) + 0.5 - camera.horizon_px
    depth = camera.focal_px * camera.height_m / np.maximum(rows, 1.0)
    across = (np.arange(width, dtype=np.float32) - camera.centre_px) / camera.focal_px
    x = (depth[:, None] * across[None, :] * 40.0).astype(np.int32) % _TILE_PX
    z = (depth * 40.0).astype(np.int32) % _TILE_PX
    # Far away a pixel covers many grains, which then average out.
    fade = np.clip(rows / 60.0, 0.15, 1.0).astype(np.float32)[:, None]
    texture: Floats = tile.ravel().take(z[:, None] * _TILE_PX + x) * fade
    return texture


def _paint_sky(image: Floats, layers: Layers, light: _Light, rng: np.random.Generator) -> None:
    """A gradient from zenith to horizon with clouds, where nothing else is."""
    height, width = layers.mask.shape
    top = min(height, int(layers.camera.horizon_px) + 4)  # no sky below the horizon
    rows = np.arange(top, dtype=np.float32) / layers.camera.horizon_px
    up = np.clip(1.0 - rows, 0.0, 1.0) ** 0.8
    zenith, horizon = _rgb(light.zenith), _rgb(light.horizon)
    gradient = (horizon + up[:, None] * (zenith - horizon)).astype(np.float32)[:, None, :]
    cover = np.clip(_cut(_tiles()[2], (top, width), rng) * 0.7 - 0.15, 0.0, 1.0)
    cover = (cover * np.float32(light.cloudiness))[..., None]
    sky = gradient + cover * (_rgb(light.cloud) - gradient)
    np.copyto(image[:top], sky, where=(layers.instance[:top] == 0)[..., None])


def _into_the_haze(image: Floats, layers: Layers, light: _Light) -> None:
    """Far things fade to the colour of the horizon."""
    through = _floats(cv2.exp(layers.depth * np.float32(-1.0 / light.haze_m)))
    image -= _rgb(light.horizon)
    image *= through[..., None]
    image += _rgb(light.horizon)


def _lamp_light(layers: Layers, light: _Light) -> Floats:
    """What is left of daylight, or our own headlights and the street lamps where they are
    stronger: a factor (H, W, 3) of the colour."""
    camera, (height, width) = layers.camera, layers.mask.shape
    rows, columns = max(1, height // 2), max(1, width // 2)  # light has no sharp edges
    across = (2 * np.arange(columns, dtype=np.float32) - camera.centre_px) / (0.42 * width)
    down = (2 * np.arange(rows, dtype=np.float32) - camera.horizon_px + 0.04 * height) / (
        0.25 * height
    )
    depth = _resized(layers.depth, columns, rows, cv2.INTER_NEAREST)
    beam = _floats(cv2.exp(depth * np.float32(-1 / 24.0))) * np.exp(-(across**2))
    beam *= np.clip(down, 0.0, 1.0)[:, None]
    pools: Floats = np.zeros((rows, columns), dtype=np.float32)
    for x, z in layers.lamps:
        px, py = (int(value) // 2 for value in camera.project([x, 0.0, z]))
        radius = max(1, round(1.8 * camera.scale_at(z)))
        cv2.ellipse(pools, (px, py), (radius, max(1, radius // 4)), 0, 0, 360, 1.0, -1)
    pools = _resized(pools, columns // 2 + 1, rows // 2 + 1, cv2.INTER_AREA)
    pools = _resized(_blurred(pools, 4.0), columns, rows)
    lamps = beam[..., None] * (0.95 * _rgb((0.95, 0.95, 0.85)))
    lamps += pools[..., None] * (0.42 * _rgb((1.0, 0.82, 0.5)))
    lamps = np.maximum(_rgb(light.gain), _rgb(light.gain) + np.float32(light.glow) * lamps)
    return _resized(lamps, width, height)


def _shine(image: Floats, layers: Layers, light: _Light) -> None:
    """Lamps and lit windows, and the halo around them."""
    height, width = layers.mask.shape
    lamps = GLOW_COLOURS.astype(np.float32).take(layers.glow, axis=0)
    small = _resized(lamps, max(1, width // 4), max(1, height // 4), cv2.INTER_AREA)
    halo = _blurred(small, 2.0) + np.float32(0.9) * _blurred(small, 8.0)
    image += _resized(np.float32(0.8 * light.glow) * halo, width, height)
    lit, strength = layers.glow > 0, np.float32(light.glow)
    image[lit] = image[lit] * (1 - strength) + strength * lamps[lit]


def _wet(image: Floats, layers: Layers) -> Floats:
    """The street mirrors what stands above it, smeared downwards."""
    height = image.shape[0]
    top = min(height - 1, int(layers.camera.horizon_px) + 1)
    rows = np.clip(2 * top - np.arange(top, height), 0, height - 1)
    mirror = _floats(cv2.blur(image[rows], (3, 25)))
    mirror -= image[top:]
    street = (CITYSCAPES.id_of("road"), CITYSCAPES.id_of("sidewalk"))
    wet = (layers.mask[top:] == street[0]) | (layers.mask[top:] == street[1])
    mirror *= (np.float32(0.45) * wet)[..., None]
    image[top:] += mirror
    return image


def _rain(image: Floats, rng: np.random.Generator) -> None:
    """Bright streaks, all slanted the same way."""
    height, width = image.shape[:2]
    drops = np.zeros((height, width), dtype=np.uint8)
    slant = float(rng.uniform(-0.25, 0.25))
    starts = rng.uniform((0, -20), (width, height), size=(260, 2))
    lengths = rng.uniform(0.03, 0.09, size=260) * height
    ends = starts + np.stack([slant * lengths, lengths], axis=1)
    lines = np.stack([starts, ends], axis=1).astype(np.int32)
    cv2.polylines(drops, list(lines), False, 255, 1)
    veil = _floats(cv2.GaussianBlur(drops, (0, 0), 0.7))
    image += veil[..., None] * np.float32(70.0 / 255.0)
