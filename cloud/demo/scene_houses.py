"""What lines a drawn street: houses with rows of windows, walls, fences and hedges."""

import numpy as np
from numpy.typing import NDArray

from cloud.demo.scene_canvas import COOL_WINDOW, NO_GLOW, WINDOW, Canvas, Colour
from cloud.demo.scene_objects import Rng, pick, tinted

_FACADES: tuple[Colour, ...] = (
    (196, 176, 150), (164, 100, 80), (206, 200, 190), (150, 148, 150), (214, 188, 128),
    (128, 96, 84), (176, 190, 200), (222, 208, 196), (140, 120, 110), (190, 140, 116),
)  # fmt: skip
_PANE: Colour = (70, 88, 108)


def house(canvas: Canvas, rng: Rng, *, x: float, z0: float, z1: float) -> None:
    """A house whose front runs along the street at `x`, from depth `z0` to `z1`."""
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

    def quads(margin: float) -> NDArray[np.float64]:
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


def barrier(canvas: Canvas, rng: Rng, name: str, *, x: float, z0: float, z1: float) -> None:
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
