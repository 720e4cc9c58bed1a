"""How a drawn street is laid out: what lines it left and right, and who is on it."""

from collections.abc import Callable
from functools import partial

import numpy as np

from cloud.demo.scene_canvas import Camera, Canvas
from cloud.demo.scene_ground import END_M, ground, skyline
from cloud.demo.scene_houses import barrier, house
from cloud.demo.scene_objects import (
    Rng,
    bicycle,
    big_vehicle,
    car,
    motorcycle,
    person,
    street_lamp,
    traffic_light,
    traffic_sign,
    tree,
)


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
    skyline(canvas, rng)
    ground(canvas, rng, left=left, right=right, walks=walks, crossing=crossing)
    plan = _Plan(canvas, rng)
    plan.side(kerb=left, walk=walks[0], out=-1, crossing=crossing)
    plan.side(kerb=right, walk=walks[1], out=1, crossing=crossing)
    plan.traffic(left=left, right=right)
    plan.draw()
    return canvas


class _Plan:
    """Everything that will stand in the street; it is drawn at the end, from far to near."""

    def __init__(self, canvas: Canvas, rng: Rng) -> None:
        self._canvas, self._rng = canvas, rng
        self._things: list[tuple[float, Callable[[], None]]] = []

    def draw(self) -> None:
        """Draw what was planned, the farthest first."""
        for _, draw in sorted(self._things, key=lambda thing: -thing[0]):
            draw()

    def side(self, *, kerb: float, walk: float, out: int, crossing: float | None) -> None:
        """Everything beyond one kerb; `out` is -1 on the left and 1 on the right."""
        edge = kerb + out * walk
        style = str(self._rng.choice(["city", "suburb", "park"], p=[0.5, 0.28, 0.22]))
        line = edge + out * (0.2 if style == "city" else self._between(1.5, 4.0))
        z = 2.2
        while z < END_M:
            length = self._between(7, 15)
            if crossing is not None and z < crossing + 9.0 and z + length > crossing - 1.0:
                if z >= crossing - 4.0:
                    z = crossing + 9.0
                    continue
                length = crossing - 1.0 - z
            self._segment(style, line=line, out=out, z0=z, z1=z + length)
            z += length + (self._between(0, 4) if self._rng.random() < 0.3 else 0.0)
        self._furniture(style, kerb=kerb, walk=walk, out=out)
        self._people(kerb=kerb, walk=walk, out=out)

    def traffic(self, *, left: float, right: float) -> None:
        """Parked cars at the kerbs, and lanes of moving ones that keep their distance."""
        middle = (left + right) / 2
        parked = self._between(6, 14)
        for lane, first, gap, chance in (
            (left + 1.15, parked, 7.0, 0.55),
            (right - 1.1, parked + 3.0, 7.5, 0.3),
            (left * 0.55 + middle * 0.45, self._between(9, 24), 15.0, 0.6),
            ((right + middle) / 2 - 0.3, self._between(9, 26), 17.0, 0.65),
        ):
            z = first
            while z < 75.0:
                if self._rng.random() < chance:
                    x = lane + self._between(-0.2, 0.2)
                    self._vehicle(x=x, z=z, oncoming=lane < middle, moving=gap > 10)
                z += gap + self._between(0, 6)
        for often, draw in ((0.6, bicycle), (0.35, motorcycle)):
            if self._rng.random() < often:
                x, z = right - self._between(0.5, 1.4), self._between(6.5, 18)
                ridden = bool(self._rng.random() < 0.8)
                self._shadow(x=x, z=z, half=0.4, deep=0.5)
                self._add(z, partial(draw, self._canvas, self._fork(), x=x, z=z, ridden=ridden))
        if self._rng.random() < 0.3:
            self._person(x=self._between(left, right), z=self._between(8, 20))

    def _segment(self, style: str, *, line: float, out: int, z0: float, z1: float) -> None:
        """One house, or a piece of wall, fence or hedge with trees behind it."""
        kind = self._rng.random()
        if style == "city" and kind < 0.8:
            self._house(line, z0, z1, behind=0.0)
        elif style == "city":
            self._barrier("wall" if kind < 0.92 else "fence", line, z0, z1)
            self._trees(line + out * 2.5, z0, z1, out=out, count=3)
        elif style == "suburb":
            self._barrier(
                "fence" if kind < 0.38 else "hedge" if kind < 0.62 else "wall", line, z0, z1
            )
            self._house(line + out * 5.0, z0, z1, behind=0.1)
            self._trees(line + out * 1.8, z0, z1, out=out, count=1)
        else:
            if kind < 0.7:
                name = "fence" if kind < 0.3 else "wall" if kind < 0.45 else "hedge"
                self._barrier(name, line, z0, z1)
            self._trees(line + out * 2.5, z0, z1, out=out, count=4 if z0 < 50 else 2)

    def _house(self, x: float, z0: float, z1: float, *, behind: float) -> None:
        self._add(z1 + behind, partial(house, self._canvas, self._fork(), x=x, z0=z0, z1=z1))

    def _barrier(self, name: str, x: float, z0: float, z1: float) -> None:
        self._add(z1, partial(barrier, self._canvas, self._fork(), name, x=x, z0=z0, z1=z1))

    def _trees(self, x: float, z0: float, z1: float, *, out: int, count: int) -> None:
        for z in self._rng.uniform(z0, z1, size=count).tolist():
            self._tree(x=x + out * self._between(0, 4), z=z, size=1.0)

    def _furniture(self, style: str, *, kerb: float, walk: float, out: int) -> None:
        """Lamps, trees, lights and signs on the sidewalk."""
        canvas, post = self._canvas, kerb + out * 0.45
        for z in np.arange(self._between(7, 14), 80.0, self._between(14, 22)).tolist():
            self._add(z, partial(street_lamp, canvas, x=post, z=z))
        if style != "park" and self._rng.random() < 0.6:
            for z in np.arange(self._between(8, 16), 70.0, self._between(9, 14)).tolist():
                self._tree(x=kerb + out * min(walk, 1.6) * 0.6, z=z, size=0.8)
        for chance, draw, nearest in (
            (0.55, traffic_light, 7.0),
            (0.7, traffic_sign, 6.0),
            (0.5, traffic_sign, 12.0),
        ):
            if self._rng.random() < chance:
                z = nearest + self._between(0, 10)
                self._add(z, partial(draw, canvas, self._fork(), x=post, z=z))

    def _people(self, *, kerb: float, walk: float, out: int) -> None:
        """People and parked bicycles on the sidewalk."""
        for _ in range(int(self._rng.integers(1, 6))):
            x = kerb + out * self._between(0.3, 0.95) * walk
            self._person(x=x, z=5.0 + float(self._rng.gamma(2.0, 7.0)))
        if self._rng.random() < 0.35:
            x, z = kerb + out * 0.7 * walk, self._between(6, 16)
            self._add(z, partial(bicycle, self._canvas, self._fork(), x=x, z=z, ridden=False))

    def _person(self, *, x: float, z: float) -> None:
        self._shadow(x=x, z=z, half=0.2, deep=0.3)
        self._add(z, partial(person, self._canvas, self._fork(), x=x, z=z))

    def _tree(self, *, x: float, z: float, size: float) -> None:
        if 3.0 < z < 60.0:
            turn = np.linspace(0, 2 * np.pi, 14)
            ring = np.zeros((14, 3))
            ring[:, 0] = x + size * (1.8 * np.cos(turn) - 1.6)
            ring[:, 2] = z + 1.4 * size * np.sin(turn)
            self._canvas.cast_shadow(ring)
        self._add(z, partial(tree, self._canvas, self._fork(), x=x, z=z, size=size))

    def _vehicle(self, *, x: float, z: float, oncoming: bool, moving: bool) -> None:
        canvas, kind = self._canvas, self._rng.random()
        if moving and kind < 0.34 and z > 10:
            name = "truck" if kind < 0.14 else "bus" if kind < 0.28 else "train"
            self._shadow(x=x, z=z, half=1.3, deep=8.0)
            self._add(z, partial(big_vehicle, canvas, self._fork(), name, x=x, z=z, lights=True))
        else:
            self._shadow(x=x, z=z, half=0.95, deep=4.4)
            self._add(
                z, partial(car, canvas, self._fork(), x=x, z=z, oncoming=oncoming, lights=moving)
            )

    def _shadow(self, *, x: float, z: float, half: float, deep: float) -> None:
        """What a body of that size throws on the ground; the sun stands on the right."""
        far_left = x - 2.3 * half
        self._canvas.cast_shadow(
            [[x + half, 0, z - 0.15], [x + half, 0, z + deep], [far_left, 0, z + deep],
             [far_left, 0, z + 0.2], [x - half, 0, z - 0.15]]
        )  # fmt: skip

    def _add(self, z: float, draw: Callable[[], None]) -> None:
        self._things.append((z, draw))

    def _between(self, low: float, high: float) -> float:
        return float(self._rng.uniform(low, high))

    def _fork(self) -> Rng:
        """Numbers of its own for a thing that is drawn later, in depth order."""
        return np.random.default_rng(int(self._rng.integers(2**31)))
