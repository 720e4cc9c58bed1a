"""How a drawn street is laid out: ground, what lines it left and right, and who is on it."""

from collections.abc import Callable

import numpy as np

from cloud.demo.scene_canvas import COOL_WINDOW, NO_GLOW, WINDOW, Camera, Canvas, Colour
from cloud.demo.scene_objects import (
    Rng,
    bicycle,
    big_vehicle,
    car,
    motorcycle,
    person,
    pick,
    street_lamp,
    tinted,
    traffic_light,
    traffic_sign,
    tree,
)

_END_M = 110.0  # where the street is closed off by houses and trees
_FACADES: tuple[Colour, ...] = (
    (196, 176, 150), (164, 100, 80), (206, 200, 190), (150, 148, 150), (214, 188, 128),
    (128, 96, 84), (176, 190, 200), (222, 208, 196), (140, 120, 110), (190, 140, 116),
)  # fmt: skip
_PANE: Colour = (70, 88, 108)

Drawing = tuple[float, Callable[[], None]]  # depth, and what draws the thing


def draw_street(height: int, width: int, rng: Rng) -> Canvas:
    """A whole street on a new canvas; the camera drives in the right-hand lane."""
    camera = Camera(
        focal_px=width * float(rng.uniform(0.72, 0.95)),
        horizon_px=height * float(rng.uniform(0.42, 0.52)),
        centre_px=width * float(rng.uniform(0.42, 0.58)),
        height_m=float(rng.uniform(1.45, 1.9)),
    )
    canvas = Canvas(height, width, camera)
    left, right = -float(rng.uniform(4.5, 8.0)), float(rng.uniform(2.4, 5.0))
    walks = float(rng.uniform(2.2, 4.2)), float(rng.uniform(2.2, 4.2))
    crossing = float(rng.uniform(9.0, 24.0)) if rng.random() < 0.45 else None
    _skyline(canvas, rng)
    _ground(canvas, rng, left=left, right=right, walks=walks, crossing=crossing)
    things: list[Drawing] = []
    for kerb, walk, out in ((left, walks[0], -1), (right, walks[1], 1)):
        _side(canvas, rng, things, kerb=kerb, walk=walk, out=out, crossing=crossing)
    _traffic(canvas, rng, things, left=left, right=right)
    for _, draw in sorted(things, key=lambda thing: -thing[0]):
        draw()
    return canvas


def _skyline(canvas: Canvas, rng: Rng) -> None:
    """Far houses and trees that close the view where the street ends."""
    width, horizon = canvas.instance.shape[1], canvas.camera.horizon_px
    unit = width / 480
    for name, colour, tall in (
        ("building", (150, 152, 160), 26.0),
        ("vegetation", (84, 112, 72), 14.0),
    ):
        x = -20.0 * unit
        canvas.begin(name, depth_m=_END_M * (1.6 if name == "building" else 1.2))
        while x < width:
            wide, high = (
                float(rng.uniform(14, 46)) * unit,
                float(rng.uniform(0.25, 1)) * tall * unit,
            )
            if name == "building":
                corners = [[x, horizon + 3], [x, horizon - high], [x + wide, horizon - high],
                           [x + wide, horizon + 3]]  # fmt: skip
                canvas.fill(np.rint(corners).astype(np.int32), pick(rng, (colour,)))
            elif rng.random() < 0.7:
                canvas.disc(x, horizon - high * 0.3, high * 0.62, pick(rng, (colour,)))
            x += wide * (0.9 if name == "building" else 0.4)


def _ground(
    canvas: Canvas, rng: Rng, *, left: float, right: float, walks: tuple[float, float],
    crossing: float | None,
) -> None:  # fmt: skip
    near, far = 1.2, 380.0

    def strip(x0: float, x1: float, colour: Colour, z0: float = near, z1: float = far) -> None:
        canvas.face([[x0, 0, z0], [x1, 0, z0], [x1, 0, z1], [x0, 0, z1]], colour)

    grey = int(rng.integers(84, 116))
    asphalt = (grey, grey, grey + 4)
    canvas.begin("terrain")
    strip(-3000, 3000, pick(rng, ((116, 138, 72), (140, 134, 92), (96, 128, 66))))
    paving = pick(rng, ((172, 164, 158), (158, 158, 162), (184, 170, 152)))
    for x0, x1 in ((left - walks[0], left), (right, right + walks[1])):
        canvas.begin("sidewalk")
        strip(x0, x1, paving)
        kerb = x1 if x1 <= left else x0
        strip(kerb - 0.12, kerb + 0.12, tinted(paving, 1.2))
    canvas.begin("road")
    strip(left, right, asphalt)
    if crossing is not None:
        strip(-300, 300, asphalt, crossing, crossing + 8.0)
    white = (226, 226, 220)
    for x in (left + 0.3, right - 0.3):
        strip(x - 0.07, x + 0.07, white, near, crossing or far)
    middle = (left + right) / 2
    for z in np.arange(2.0 + float(rng.uniform(0, 4)), 120.0, 5.0):
        if crossing is None or not crossing - 4 < z < crossing + 8:
            strip(middle - 0.08, middle + 0.08, white, float(z), float(z) + 2.4)
    if crossing is not None:
        bars = np.arange(left + 0.6, right - 0.6, 1.0)
        quads = [
            [[x, 0, crossing - 3], [x + 0.5, 0, crossing - 3], [x + 0.5, 0, crossing - 0.6],
             [x, 0, crossing - 0.6]]
            for x in bars
        ]  # fmt: skip
        canvas.face(quads, white)
    for _ in range(int(rng.integers(0, 4))):  # patches of newer asphalt, and manholes
        x, z = float(rng.uniform(left + 1, right - 1)), float(rng.uniform(5, 25))
        if crossing is None or not crossing - 4.5 < z < crossing:
            strip(x - 0.7, x + 0.7, tinted(asphalt, float(rng.uniform(0.8, 0.92))), z, z + 1.6)


def _side(
    canvas: Canvas, rng: Rng, things: list[Drawing], *, kerb: float, walk: float, out: int,
    crossing: float | None,
) -> None:  # fmt: skip
    """Everything beyond one kerb: furniture on the sidewalk, then houses, walls or a park."""
    edge = kerb + out * walk
    style = str(rng.choice(["city", "suburb", "park"], p=[0.5, 0.28, 0.22]))
    line = edge + out * (0.2 if style == "city" else float(rng.uniform(1.5, 4.0)))
    z = 2.2
    while z < _END_M:
        length = float(rng.uniform(7, 15))
        if crossing is not None and z < crossing + 9.0 and z + length > crossing - 1.0:
            if z < crossing - 4.0:
                length = crossing - 1.0 - z
            else:
                z = crossing + 9.0
                continue
        _segment(canvas, rng, things, style=style, line=line, out=out, z0=z, z1=z + length)
        z += length + (float(rng.uniform(0, 4)) if rng.random() < 0.3 else 0.0)
    _furniture(canvas, rng, things, kerb=kerb, walk=walk, out=out, style=style)


def _segment(
    canvas: Canvas, rng: Rng, things: list[Drawing], *, style: str, line: float, out: int,
    z0: float, z1: float,
) -> None:  # fmt: skip
    seed = int(rng.integers(2**31))  # drawn later, in depth order: each thing has its own numbers

    def house(x: float, deep: float) -> None:
        draw = lambda: _house(canvas, np.random.default_rng(seed), x=x, z0=z0, z1=z1)  # noqa: E731
        things.append((z1 + deep, draw))

    def barrier(name: str) -> None:
        draw = lambda: _barrier(  # noqa: E731
            canvas, np.random.default_rng(seed + 1), name, x=line, z0=z0, z1=z1
        )
        things.append((z1, draw))

    def greenery(x: float, count: int) -> None:
        for z in rng.uniform(z0, z1, size=count):
            _add_tree(canvas, rng, things, x=x + out * float(rng.uniform(0, 4)), z=float(z))

    kind = rng.random()
    if style == "city":
        if kind < 0.8:
            house(line, 0.0)
        else:
            barrier("wall" if kind < 0.92 else "fence")
            greenery(line + out * 2.5, 3)
    elif style == "suburb":
        barrier("fence" if kind < 0.38 else "hedge" if kind < 0.62 else "wall")
        house(line + out * 5.0, 0.1)
        greenery(line + out * 1.8, 1)
    else:
        if kind < 0.7:
            barrier("fence" if kind < 0.3 else "wall" if kind < 0.45 else "hedge")
        greenery(line + out * 2.5, 4)


def _house(canvas: Canvas, rng: Rng, *, x: float, z0: float, z1: float) -> None:
    floors = int(rng.integers(2, 6))
    tall, colour = 3.1 * floors + float(rng.uniform(0.5, 1.5)), pick(rng, _FACADES)
    lit_side = 1.0 if x < 0 else 0.78  # the sun stands on the right
    canvas.begin("building", plane_m=x)
    canvas.face([[x, 0, z0], [x, 0, z1], [x, tall, z1], [x, tall, z0]], tinted(colour, lit_side))
    shop = tinted(colour, 0.62 * lit_side)
    canvas.face([[x, 0, z0], [x, 0, z1], [x, 0.8, z1], [x, 0.8, z0]], shop)
    if z0 < 60:
        _windows(canvas, rng, x=x, z0=z0, z1=z1, floors=floors, colour=tinted(colour, 1.15))
    canvas.face(
        [[x, tall - 0.5, z0], [x, tall - 0.5, z1], [x, tall, z1], [x, tall, z0]],
        tinted(colour, 0.55),
    )
    away = x + np.sign(x) * 10.0  # the wall that faces the camera, where a gap shows it
    end = [[x, 0, z0], [away, 0, z0], [away, tall, z0], [x, tall, z0]]
    canvas.begin("building", depth_m=z0)
    canvas.face(end, tinted(colour, 0.9))


def _windows(
    canvas: Canvas, rng: Rng, *, x: float, z0: float, z1: float, floors: int, colour: Colour
) -> None:
    """Window frames first, then panes; about a third have light behind them after dark."""
    columns = max(1, int((z1 - z0) / 2.2))
    pitch = (z1 - z0) / columns
    starts = z0 + pitch * (np.arange(columns) + 0.24)
    lows = 1.0 + 3.1 * np.arange(floors)
    z, y = (grid.ravel() for grid in np.meshgrid(starts, lows))
    wide, high = pitch * 0.52, 1.55

    def quads(margin: float) -> np.ndarray:
        za, zb, ya, yb = z - margin, z + wide + margin, y - margin, y + high + margin
        corners = np.empty((len(z), 4, 3))
        corners[..., 0] = x
        corners[..., 2] = np.stack([za, zb, zb, za], axis=1)
        corners[..., 1] = np.stack([ya, ya, yb, yb], axis=1)
        return corners

    if z0 < 35:
        canvas.face(quads(0.12), colour)
    panes, lamp = quads(0.0), rng.random(len(z))
    tone = tinted(_PANE, float(rng.uniform(0.7, 1.4)))
    for glow, chosen in (
        (NO_GLOW, lamp >= 0.34),
        (WINDOW, lamp < 0.26),
        (COOL_WINDOW, (lamp >= 0.26) & (lamp < 0.34)),
    ):
        if chosen.any():
            canvas.face(panes[chosen], tone, glow)
    if z0 < 35:
        bars = panes.copy()
        bars[:, :, 2] = (z + wide / 2)[:, None] + np.array([-0.05, 0.05, 0.05, -0.05])
        canvas.face(bars, colour)


def _barrier(canvas: Canvas, rng: Rng, name: str, *, x: float, z0: float, z1: float) -> None:
    """A fence, a wall or a hedge along the street."""
    tall = float(rng.uniform(1.2, 2.4))
    canvas.begin("vegetation" if name == "hedge" else name, plane_m=x)
    if name == "hedge":
        z = np.linspace(z0, z1, 24)
        top = np.stack([np.full(24, x), tall + rng.uniform(-0.2, 0.25, 24), z], axis=1)
        outline = [[x, 0, z0], *top.tolist(), [x, 0, z1]]
        canvas.face(outline, pick(rng, ((58, 96, 44), (72, 110, 52))))
        return
    if name == "wall":
        paint = pick(rng, ((158, 96, 78), (170, 164, 156), (140, 130, 120)))
        canvas.face([[x, 0, z0], [x, 0, z1], [x, tall, z1], [x, tall, z0]], paint)
        cap = [[x, tall - 0.18, z0], [x, tall - 0.18, z1], [x, tall, z1], [x, tall, z0]]
        canvas.face(cap, tinted(paint, 1.2))
        return
    paint = pick(rng, ((206, 200, 188), (120, 92, 64), (72, 84, 78)))
    canvas.face([[x, 0.1, z0], [x, 0.1, z1], [x, tall, z1], [x, tall, z0]], tinted(paint, 0.72))
    if z0 < 40:
        slats = np.arange(z0 + 0.1, z1 - 0.2, 0.36)
        quads = [[[x, 0.1, z], [x, 0.1, z + 0.2], [x, tall, z + 0.2], [x, tall, z]] for z in slats]
        canvas.face(quads, paint)


def _furniture(
    canvas: Canvas, rng: Rng, things: list[Drawing], *, kerb: float, walk: float, out: int,
    style: str,
) -> None:  # fmt: skip
    """Lamps, signs, lights, trees, people and parked bicycles on the sidewalk."""
    post = kerb + out * 0.45
    for z in np.arange(float(rng.uniform(7, 14)), 80.0, float(rng.uniform(14, 22))):
        _add(things, float(z), lambda z=float(z): street_lamp(canvas, x=post, z=z))
    if style != "park" and rng.random() < 0.6:
        for z in np.arange(float(rng.uniform(8, 16)), 70.0, float(rng.uniform(9, 14))):
            _add_tree(
                canvas, rng, things, x=kerb + out * min(walk, 1.6) * 0.6, z=float(z), size=0.8
            )
    for chance, draw, nearest in (
        (0.55, traffic_light, 7.0),
        (0.7, traffic_sign, 6.0),
        (0.5, traffic_sign, 12.0),
    ):
        z, own = nearest + float(rng.uniform(0, 10)), _fork(rng)
        if rng.random() < chance:
            _add(things, z, lambda z=z, own=own, draw=draw: draw(canvas, own, x=post, z=z))
    for _ in range(int(rng.integers(1, 6))):
        x, z = kerb + out * float(rng.uniform(0.3, 0.95)) * walk, 5.0 + float(rng.gamma(2.0, 7.0))
        _add_person(canvas, rng, things, x=x, z=z)
    if rng.random() < 0.35:
        x, z, own = kerb + out * 0.7 * walk, float(rng.uniform(6, 16)), _fork(rng)
        _add(things, z, lambda: bicycle(canvas, own, x=x, z=z, ridden=False))


def _traffic(canvas: Canvas, rng: Rng, things: list[Drawing], *, left: float, right: float) -> None:
    """Parked cars at the kerbs, and lanes of moving ones that keep their distance."""
    middle = (left + right) / 2
    parked, oncoming, ahead = float(rng.uniform(6, 14)), float(rng.uniform(9, 24)), 0.0
    ahead = float(rng.uniform(9, 26))
    for lane, first, gap, chance in (
        (left + 1.15, parked, 7.0, 0.55),
        (right - 1.1, parked + 3.0, 7.5, 0.3),
        ((left * 0.55 + middle * 0.45), oncoming, 15.0, 0.6),
        ((right + middle) / 2 - 0.3, ahead, 17.0, 0.65),
    ):
        z = first
        while z < 75.0:
            if rng.random() < chance:
                _add_vehicle(
                    canvas, rng, things, x=lane + float(rng.uniform(-0.2, 0.2)), z=z,
                    oncoming=lane < middle, moving=gap > 10,
                )  # fmt: skip
            z += gap + float(rng.uniform(0, 6))
    for chance, draw in ((0.6, bicycle), (0.35, motorcycle)):
        if rng.random() < chance:
            x, z = right - float(rng.uniform(0.5, 1.4)), float(rng.uniform(6.5, 18))
            own, ridden = _fork(rng), bool(rng.random() < 0.8)
            _shadow(canvas, x=x, z=z, half=0.4, deep=0.5)
            _add(things, z, lambda x=x, z=z, own=own, ridden=ridden, draw=draw: draw(
                canvas, own, x=x, z=z, ridden=ridden))  # fmt: skip
    if rng.random() < 0.3:
        _add_person(
            canvas, rng, things, x=float(rng.uniform(left, right)), z=float(rng.uniform(8, 20))
        )


def _add(things: list[Drawing], z: float, draw: Callable[[], None]) -> None:
    things.append((z, draw))


def _fork(rng: Rng) -> Rng:
    """Numbers of its own for a thing that is drawn later, in depth order."""
    return np.random.default_rng(int(rng.integers(2**31)))


def _shadow(canvas: Canvas, *, x: float, z: float, half: float, deep: float) -> None:
    """What a body of that size throws on the ground; the sun stands on the right."""
    reach = 1.3 * half
    canvas.cast_shadow(
        [[x + half, 0, z - 0.15], [x + half, 0, z + deep], [x - half - reach, 0, z + deep],
         [x - half - reach, 0, z + 0.2], [x - half, 0, z - 0.15]]
    )  # fmt: skip


def _add_person(canvas: Canvas, rng: Rng, things: list[Drawing], *, x: float, z: float) -> None:
    own = _fork(rng)
    _shadow(canvas, x=x, z=z, half=0.2, deep=0.3)
    _add(things, z, lambda: person(canvas, own, x=x, z=z))


def _add_tree(
    canvas: Canvas, rng: Rng, things: list[Drawing], *, x: float, z: float, size: float = 1.0
) -> None:
    own = _fork(rng)
    turn = np.linspace(0, 2 * np.pi, 14)
    ring = [[x - 1.6 * size + 1.8 * size * np.cos(t), 0, z + 1.4 * size * np.sin(t)] for t in turn]
    if z > 3.0:
        canvas.cast_shadow(ring)
    _add(things, z, lambda: tree(canvas, own, x=x, z=z, size=size))


def _add_vehicle(
    canvas: Canvas, rng: Rng, things: list[Drawing], *, x: float, z: float, oncoming: bool,
    moving: bool,
) -> None:  # fmt: skip
    own, kind = _fork(rng), rng.random()
    if moving and kind < 0.34 and z > 10:
        name = "truck" if kind < 0.14 else "bus" if kind < 0.28 else "train"
        _shadow(canvas, x=x, z=z, half=1.3, deep=8.0)
        _add(things, z, lambda: big_vehicle(canvas, own, name, x=x, z=z, lights=True))
    else:
        _shadow(canvas, x=x, z=z, half=0.95, deep=4.4)
        _add(things, z, lambda: car(canvas, own, x=x, z=z, oncoming=oncoming, lights=moving))
