"""The ground of a drawn street, and what closes the view at its end."""

import numpy as np

from cloud.demo.scene_canvas import Canvas, Colour
from cloud.demo.scene_objects import Rng, pick, tinted

END_M = 110.0  # where the street is closed off by houses and trees


def skyline(canvas: Canvas, rng: Rng) -> None:
    """Far houses and trees that close the view where the street ends."""
    width, horizon = canvas.instance.shape[1], canvas.camera.horizon_px
    unit = width / 480
    for name, colour, tall in (
        ("building", (150, 152, 160), 26.0),
        ("vegetation", (84, 112, 72), 14.0),
    ):
        x = -20.0 * unit
        canvas.begin(name, depth_m=END_M * (1.6 if name == "building" else 1.2))
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


def ground(
    canvas: Canvas, rng: Rng, *, left: float, right: float, walks: tuple[float, float],
    crossing: float | None,
) -> None:  # fmt: skip
    """Road, sidewalks and terrain; `crossing` is the depth at which another street crosses."""
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
    for start in np.arange(2.0 + float(rng.uniform(0, 4)), 120.0, 5.0).tolist():
        if crossing is None or not crossing - 4 < start < crossing + 8:
            strip(middle - 0.08, middle + 0.08, white, start, start + 2.4)
    if crossing is not None:
        bars = np.arange(left + 0.6, right - 0.6, 1.0)
        quads = [
            [[x, 0, crossing - 3], [x + 0.5, 0, crossing - 3], [x + 0.5, 0, crossing - 0.6],
             [x, 0, crossing - 0.6]]
            for x in bars.tolist()
        ]  # fmt: skip
        canvas.face(quads, white)
    for _ in range(int(rng.integers(0, 4))):  # patches of newer asphalt, and manholes
        x, z = float(rng.uniform(left + 1, right - 1)), float(rng.uniform(5, 25))
        if crossing is None or not crossing - 4.5 < z < crossing:
            strip(x - 0.7, x + 0.7, tinted(asphalt, float(rng.uniform(0.8, 0.92))), z, z + 1.6)
