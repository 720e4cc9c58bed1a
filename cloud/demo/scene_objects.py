"""What moves or stands in a drawn street: cars, trucks, buses, people, riders, trees, poles."""

import numpy as np
from numpy.typing import NDArray

from cloud.demo.scene_canvas import (
    AMBER,
    GREEN,
    HEADLIGHT,
    NO_GLOW,
    RED,
    STREET_LAMP,
    TAIL_LIGHT,
    WINDOW,
    Canvas,
    Colour,
)

_GLASS: Colour = (52, 66, 80)
_TYRE: Colour = (26, 26, 28)
_METAL: Colour = (112, 116, 120)
_CAR_COLOURS: tuple[Colour, ...] = (
    (190, 30, 36), (38, 70, 150), (225, 226, 228), (40, 42, 46), (150, 154, 160),
    (24, 104, 84), (214, 160, 36), (120, 24, 60), (90, 140, 190), (84, 72, 60),
)  # fmt: skip
_CLOTHES: tuple[Colour, ...] = (
    (176, 40, 48), (36, 62, 120), (230, 220, 200), (34, 34, 38), (214, 150, 40),
    (60, 120, 80), (130, 60, 130), (110, 120, 130), (220, 110, 60),
)  # fmt: skip
_SKIN: tuple[Colour, ...] = ((236, 196, 160), (198, 150, 112), (140, 96, 66), (92, 60, 44))

Rng = np.random.Generator
# Side profiles from the end that faces the camera: metres along Z, metres up; and which of the
# faces between two points are glass.
_PROFILES: dict[str, tuple[tuple[tuple[float, float], ...], tuple[int, ...]]] = {
    "sedan": (
        ((0, 0.3), (0, 0.9), (0.7, 1.0), (1.2, 1.42), (2.6, 1.45), (3.2, 1.0), (4.2, 0.86),
         (4.4, 0.3)),
        (2, 4),
    ),
    "hatchback": (
        ((0, 0.3), (0, 0.95), (0.35, 1.46), (2.3, 1.5), (3.0, 1.0), (3.8, 0.88), (4.0, 0.3)),
        (1, 3),
    ),
    "van": (
        ((0, 0.35), (0, 1.1), (0.2, 1.92), (3.4, 1.95), (4.2, 1.15), (4.8, 1.0), (4.9, 0.35)),
        (1, 3),
    ),
}  # fmt: skip


def tinted(colour: Colour, factor: float) -> Colour:
    """The colour made darker (< 1) or lighter (> 1)."""
    red, green, blue = colour
    return min(255, int(red * factor)), min(255, int(green * factor)), min(255, int(blue * factor))


def pick(rng: Rng, colours: tuple[Colour, ...]) -> Colour:
    """One of the colours, a little lighter or darker."""
    return tinted(colours[int(rng.integers(len(colours)))], float(rng.uniform(0.85, 1.12)))


def _rectangle(x0: float, x1: float, y0: float, y1: float, z: float) -> list[list[float]]:
    return [[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]]


def _along(x: float, z0: float, z1: float, y0: float, y1: float) -> list[list[float]]:
    return [[x, y0, z0], [x, y0, z1], [x, y1, z1], [x, y1, z0]]


def _wheel(x: float, z: float, radius: float) -> NDArray[np.float64]:
    turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    return np.stack(
        [np.full(12, x), radius + radius * np.sin(turn), z + radius * np.cos(turn)], axis=1
    )


def car(canvas: Canvas, rng: Rng, *, x: float, z: float, oncoming: bool, lights: bool) -> None:
    """A car whose middle is at `x` and whose nearer end is at depth `z`."""
    points, glass = _PROFILES[str(rng.choice(["sedan", "hatchback", "van"], p=[0.45, 0.4, 0.15]))]
    profile = np.array(points, dtype=np.float64)
    if oncoming:
        profile = profile[::-1] * [-1, 1] + [profile[:, 0].max(), 0]
        glass = tuple(len(points) - 2 - face for face in glass)
    paint, half = pick(rng, _CAR_COLOURS), 0.88
    x0, x1 = x - half, x + half
    canvas.begin("car", depth_m=z)
    for wheel_x in (x0, x1 - 0.25):
        canvas.face(_rectangle(wheel_x, wheel_x + 0.25, 0.0, 0.45, z + 0.3), _TYRE)
    _extrude(canvas, profile, glass, x0=x0, x1=x1, z=z, paint=paint)
    side = x0 if x > 0 else x1
    if abs(x) > half:
        _car_side(canvas, profile, side=side, z=z, paint=paint)
    lamp = (245, 245, 235) if oncoming else (170, 24, 24)
    glow = (HEADLIGHT if oncoming else TAIL_LIGHT) if lights else NO_GLOW
    for lamp_x in (x0 + 0.06, x1 - 0.40):
        canvas.face(_rectangle(lamp_x, lamp_x + 0.34, 0.66, 0.82, z), lamp, glow)
    canvas.face(_rectangle(x - 0.26, x + 0.26, 0.45, 0.58, z), (232, 232, 220))
    canvas.face(_rectangle(x0 + 0.05, x1 - 0.05, 0.28, 0.4, z), tinted(paint, 0.45))


def _extrude(
    canvas: Canvas, profile: NDArray[np.float64], glass: tuple[int, ...], *,
    x0: float, x1: float, z: float, paint: Colour,
) -> None:  # fmt: skip
    """The faces across the car, far ones first; a face that looks up is lighter."""
    for face in range(len(profile) - 2, -1, -1):
        (za, ya), (zb, yb) = profile[face], profile[face + 1]
        up = abs(zb - za) / (np.hypot(zb - za, yb - ya) + 1e-9)
        colour = tinted(_GLASS, 0.8 + 0.5 * up) if face in glass else tinted(paint, 0.7 + 0.5 * up)
        quad = [[x0, ya, z + za], [x1, ya, z + za], [x1, yb, z + zb], [x0, yb, z + zb]]
        canvas.face(quad, colour)


def _car_side(
    canvas: Canvas, profile: NDArray[np.float64], *, side: float, z: float, paint: Colour
) -> None:
    length, top = float(profile[:, 0].max()), float(profile[:, 1].max())
    outline = np.stack([np.full(len(profile), side), profile[:, 1], z + profile[:, 0]], axis=1)
    canvas.face(outline, tinted(paint, 0.82))
    waist = 1.0 if top < 1.7 else 1.15
    upper = profile[profile[:, 1] > waist]
    za, zb = float(upper[:, 0].min()), float(upper[:, 0].max())
    for start, stop in ((za + 0.05, (za + zb) / 2 - 0.06), ((za + zb) / 2 + 0.06, zb - 0.05)):
        canvas.face(_along(side, z + start, z + stop, waist, top - 0.1), _GLASS)
    for axle in (0.19 * length, 0.81 * length):
        canvas.face(_wheel(side, z + axle, 0.33), _TYRE)
        canvas.face(_wheel(side, z + axle, 0.33) * [1, 0.5, 1] + [0, 0.165, 0], (150, 150, 152))


def big_vehicle(canvas: Canvas, rng: Rng, kind: str, *, x: float, z: float, lights: bool) -> None:
    """A truck, a bus or a tram (class train), nearer end at depth `z`."""
    half, length, low, high = {
        "truck": (1.15, 6.5, 0.7, 3.4),
        "bus": (1.25, 11.0, 0.35, 3.1),
        "train": (1.25, 22.0, 0.3, 3.5),
    }[kind]
    paint = pick(rng, _CAR_COLOURS)
    x0, x1, side = x - half, x + half, (x - half if x > 0 else x + half)
    canvas.begin(kind, depth_m=z)
    if kind == "truck":
        canvas.face(_along(side, z, z + length + 2, 0.35, 1.0), (44, 44, 48))
        canvas.face(_rectangle(x0 + 0.1, x1 - 0.1, 0.35, 1.0, z), (44, 44, 48))
    for axle in (1.4, length - 1.6):
        canvas.face(_wheel(side, z + axle, 0.48), _TYRE)
    if abs(x) > half:
        canvas.face(_along(side, z, z + length, low, high), tinted(paint, 0.82))
    canvas.face(_rectangle(x0, x1, low, high, z), paint)
    if kind == "truck":
        canvas.face(_along(side, z + length, z + length + 1.8, 0.5, 2.7), tinted(paint, 0.6))
        canvas.face(
            _rectangle(x0 + 0.12, x1 - 0.12, low + 0.15, high - 0.15, z), tinted(paint, 1.12)
        )
        canvas.face(_rectangle(x - 0.03, x + 0.03, low + 0.15, high - 0.15, z), tinted(paint, 0.6))
    else:
        count = int(length // 1.6)
        starts = z + 0.3 + np.arange(count) * (length - 0.4) / count
        panes = [_along(side, s, s + 1.25, 1.35, 2.5) for s in starts]
        if abs(x) > half:
            canvas.face(panes, _GLASS, WINDOW if lights else NO_GLOW)
            canvas.face(_along(side, z, z + length, low, low + 0.25), tinted(paint, 0.5))
        canvas.face(_rectangle(x0 + 0.15, x1 - 0.15, 1.4, 2.55, z), _GLASS, WINDOW)
        canvas.face(_rectangle(x - 0.6, x + 0.6, 2.7, 2.95, z), (240, 180, 60), AMBER)
    for lamp_x in (x0 + 0.08, x1 - 0.36):
        canvas.face(_rectangle(lamp_x, lamp_x + 0.28, 0.85, 1.05, z), (180, 26, 26), TAIL_LIGHT)


def person(canvas: Canvas, rng: Rng, *, x: float, z: float, y: float = 0.0) -> None:
    """Somebody walking or standing."""
    tall = float(rng.uniform(1.55, 1.9))
    (px, py), s = canvas.camera.project([x, y, z]), canvas.camera.scale_at(z) * tall / 1.75
    top, trousers = pick(rng, _CLOTHES), tinted(pick(rng, _CLOTHES), 0.6)
    skin, step = pick(rng, _SKIN), float(rng.uniform(0.05, 0.3)) * s
    canvas.begin("person", depth_m=z)
    hip, shoulder = py - 0.85 * s, py - 1.45 * s
    for foot in (-step, step):
        canvas.stroke([[px, hip], [px + foot, py]], 0.17 * s, trousers)
        canvas.disc(px + foot, py - 0.03 * s, 0.07 * s, (30, 26, 24))
    for hand in (-0.27 * s - step / 3, 0.27 * s + step / 3):
        canvas.stroke([[px, shoulder + 0.08 * s], [px + hand, hip]], 0.12 * s, tinted(top, 0.85))
    torso = [[px - 0.2 * s, shoulder], [px + 0.2 * s, shoulder], [px + 0.17 * s, hip + 0.05 * s],
             [px - 0.17 * s, hip + 0.05 * s]]  # fmt: skip
    canvas.fill(np.rint(torso).astype(np.int32), top)
    canvas.disc(px, shoulder - 0.17 * s, 0.125 * s, skin)
    canvas.disc(px, shoulder - 0.21 * s, 0.115 * s, tinted(skin, 0.35))
    canvas.disc(px, shoulder - 0.13 * s, 0.09 * s, skin)


def bicycle(canvas: Canvas, rng: Rng, *, x: float, z: float, ridden: bool) -> None:
    """A bicycle seen from the side or at an angle, with its rider or alone."""
    (px, py), s = canvas.camera.project([x, 0.0, z]), canvas.camera.scale_at(z)
    turn = float(rng.uniform(0.55, 1.0)) * (1 if rng.random() < 0.5 else -1)
    paint = pick(rng, _CAR_COLOURS)
    hub, back, front = py - 0.34 * s, px - 0.52 * turn * s, px + 0.52 * turn * s
    saddle, bars = (px - 0.22 * turn * s, py - 0.92 * s), (front - 0.08 * turn * s, py - 1.0 * s)
    canvas.begin("bicycle", depth_m=z)
    for wheel in (back, front):
        canvas.disc(wheel, hub, 0.34 * s, _TYRE)
        canvas.disc(wheel, hub, 0.25 * s, (138, 142, 146))
    frame = [[back, hub], [px, hub], list(saddle), [back, hub], list(saddle), list(bars)]
    canvas.stroke(frame, 0.07 * s, paint)
    canvas.stroke([[px, hub], list(bars), [front, hub]], 0.07 * s, paint)
    if ridden:
        _rider(canvas, rng, z=z, seat=saddle, hands=bars, feet=(px, hub + 0.1 * s), s=s)


def motorcycle(canvas: Canvas, rng: Rng, *, x: float, z: float, ridden: bool) -> None:
    """A motorcycle at an angle, with its rider or parked."""
    (px, py), s = canvas.camera.project([x, 0.0, z]), canvas.camera.scale_at(z)
    turn = float(rng.uniform(0.6, 1.0)) * (1 if rng.random() < 0.5 else -1)
    paint = pick(rng, _CAR_COLOURS)
    back, front = px - 0.68 * turn * s, px + 0.68 * turn * s
    canvas.begin("motorcycle", depth_m=z)
    for wheel in (back, front):
        canvas.disc(wheel, py - 0.32 * s, 0.32 * s, _TYRE)
        canvas.disc(wheel, py - 0.32 * s, 0.16 * s, _METAL)
    body = [[back, py - 0.75 * s], [px, py - 0.7 * s], [front - 0.2 * turn * s, py - 0.95 * s],
            [front, py - 0.5 * s], [px, py - 0.25 * s], [back, py - 0.4 * s]]  # fmt: skip
    canvas.fill(np.rint(body).astype(np.int32), paint)
    canvas.disc(front - 0.1 * turn * s, py - 0.85 * s, 0.1 * s, (245, 240, 220), HEADLIGHT)
    if ridden:
        seat, hands = (px - 0.25 * turn * s, py - 0.8 * s), (front - 0.25 * turn * s, py - 1.05 * s)
        _rider(canvas, rng, z=z, seat=seat, hands=hands, feet=(px, py - 0.3 * s), s=s)


def _rider(
    canvas: Canvas, rng: Rng, *, z: float, seat: tuple[float, float],
    hands: tuple[float, float], feet: tuple[float, float], s: float,
) -> None:  # fmt: skip
    top, trousers = pick(rng, _CLOTHES), tinted(pick(rng, _CLOTHES), 0.6)
    canvas.begin("rider", depth_m=z)
    lean = 0.35 * (hands[0] - seat[0])
    neck = (seat[0] + lean, seat[1] - 0.55 * s)
    knee = ((seat[0] + hands[0]) / 2, (seat[1] + feet[1]) / 2 - 0.08 * s)
    canvas.stroke([list(seat), list(knee), list(feet)], 0.16 * s, trousers)
    canvas.stroke([list(seat), list(neck)], 0.32 * s, top)
    canvas.stroke([[neck[0], neck[1] + 0.1 * s], list(hands)], 0.11 * s, tinted(top, 0.8))
    head = (neck[0] + 0.1 * lean, neck[1] - 0.22 * s)
    canvas.disc(*head, 0.13 * s, pick(rng, _SKIN))
    canvas.disc(head[0], head[1] - 0.05 * s, 0.12 * s, pick(rng, _CAR_COLOURS))


def tree(canvas: Canvas, rng: Rng, *, x: float, z: float, size: float = 1.0) -> None:
    """A tree: trunk and a crown of leaves, all of class vegetation."""
    camera, s = canvas.camera, canvas.camera.scale_at(z) * size
    px, py = camera.project([x, 0.0, z])
    trunk, radius = float(rng.uniform(2.0, 3.0)), float(rng.uniform(1.4, 2.4))
    green = (int(rng.integers(48, 104)), int(rng.integers(96, 140)), int(rng.integers(32, 62)))
    canvas.begin("vegetation", depth_m=z)
    bark = [[px - 0.16 * s, py], [px + 0.16 * s, py], [px + 0.1 * s, py - (trunk + 0.5) * s],
            [px - 0.1 * s, py - (trunk + 0.5) * s]]  # fmt: skip
    canvas.fill(np.rint(bark).astype(np.int32), (92, 68, 48))
    middle = py - (trunk + radius * 0.85) * s
    turn = np.linspace(0, 2 * np.pi, 18, endpoint=False)
    reach = radius * s * rng.uniform(0.8, 1.1, size=18)
    crown = np.stack([px + reach * np.cos(turn), middle + reach * np.sin(turn)], axis=1)
    canvas.fill(np.rint(crown).astype(np.int32), green)
    count = 9 if z < 30 else 5
    angles, outs, sizes = rng.random((3, count)) * [[2 * np.pi], [0.6], [0.14]]
    for angle, out, big in zip(angles, outs + 0.08, sizes + 0.16, strict=True):
        light = float(1.0 - 0.32 * np.sin(angle) * out)  # lighter towards the sky
        reach_x, reach_y = np.cos(angle) * out * radius * s, np.sin(angle) * out * radius * s
        canvas.disc(px + reach_x, middle + reach_y, big * radius * s, tinted(green, light))


def street_lamp(canvas: Canvas, *, x: float, z: float) -> None:
    """A lamp post with an arm over the road."""
    inward, top = (-1.8 if x > 0 else 1.8), 6.2
    project, s = canvas.camera.project, canvas.camera.scale_at(z)
    canvas.begin("pole", depth_m=z)
    canvas.stroke(project([[x, 0, z], [x, top, z], [x + inward, top + 0.3, z]]), 0.16 * s, _METAL)
    head = _rectangle(x + inward - 0.4, x + inward + 0.4, top + 0.12, top + 0.4, z)
    canvas.face(head, (214, 214, 200), STREET_LAMP)
    canvas.lamps.append((x + inward, z))


def traffic_light(canvas: Canvas, rng: Rng, *, x: float, z: float) -> None:
    """A post with a three-lamp head."""
    project, s = canvas.camera.project, canvas.camera.scale_at(z)
    canvas.begin("pole", depth_m=z)
    canvas.stroke(project([[x, 0, z], [x, 3.2, z]]), 0.15 * s, (70, 74, 78))
    canvas.begin("traffic light", depth_m=z)
    canvas.face(_rectangle(x - 0.24, x + 0.24, 2.5, 3.7, z), (26, 30, 30))
    on = int(rng.integers(3))
    lamps = (
        (3.48, (220, 40, 36), RED),
        (3.1, (230, 170, 40), AMBER),
        (2.72, (50, 210, 110), GREEN),
    )
    for number, (y, colour, glow) in enumerate(lamps):
        px, py = project([x, y, z])
        lit = number == on
        canvas.disc(px, py, 0.15 * s, colour if lit else tinted(colour, 0.3), glow if lit else 0)


def traffic_sign(canvas: Canvas, rng: Rng, *, x: float, z: float) -> None:
    """A post with a round, triangular or rectangular sign."""
    project, s = canvas.camera.project, canvas.camera.scale_at(z)
    canvas.begin("pole", depth_m=z)
    canvas.stroke(project([[x, 0, z], [x, 2.6, z]]), 0.1 * s, _METAL)
    canvas.begin("traffic sign", depth_m=z)
    px, py = (float(value) for value in project([x, 2.6, z]))
    shape, red = int(rng.integers(3)), (204, 24, 32)
    if shape == 0:
        canvas.disc(px, py, 0.42 * s, red)
        canvas.disc(px, py, 0.29 * s, (240, 240, 236))
    elif shape == 1:
        for reach, colour in ((0.52, red), (0.32, (244, 240, 226))):
            corners = [[px, py - reach * s], [px + 0.9 * reach * s, py + 0.6 * reach * s],
                       [px - 0.9 * reach * s, py + 0.6 * reach * s]]  # fmt: skip
            canvas.fill(np.rint(corners).astype(np.int32), colour)
    else:
        canvas.face(_rectangle(x - 0.4, x + 0.4, 2.25, 3.0, z), (24, 78, 160))
        canvas.face(_rectangle(x - 0.22, x + 0.22, 2.42, 2.82, z), (240, 240, 240))
