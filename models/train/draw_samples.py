"""Draws the sample digits in `models/samples`: strokes rendered by this code, none taken from a data set.

    python draw_samples.py

Relies on: numpy, and Pillow to write PNG. Promises: one 28x28 8-bit grayscale file per digit, white on black,
antialiased, in a 20x20 box with the centre of mass in the middle, as MNIST's images are; the same bytes every time.
"""

import pathlib

import numpy as np
from PIL import Image

SIDE, BOX = 28, 20
PEN = 1.25  # half the stroke's width in pixels
SOFT = 0.9  # width of its soft edge
OVERSAMPLING = 4


def arc(centre, radii, start, stop):
    """Points of an ellipse's arc; angles in degrees, clockwise from the right, since y points down."""
    t = np.radians(np.linspace(start, stop, 40))
    return [(centre[0] + radii[0] * np.cos(a), centre[1] + radii[1] * np.sin(a)) for a in t]


# Strokes as lists of (x, y) in a box of height 1, y down.
DIGITS = {
    0: [arc((0.36, 0.5), (0.32, 0.5), -60, 300)],
    1: [[(0.42, 0.0), (0.30, 1.0)]],
    2: [arc((0.34, 0.27), (0.30, 0.27), -165, 30) + [(0.40, 0.66), (0.02, 0.98), (0.72, 0.95)]],
    3: [arc((0.30, 0.25), (0.30, 0.25), -150, 90), arc((0.30, 0.74), (0.34, 0.26), -90, 150)],
    4: [[(0.12, 0.0), (0.02, 0.52), (0.62, 0.50)], [(0.62, 0.04), (0.52, 1.0)]],
    5: [[(0.66, 0.0), (0.16, 0.03), (0.10, 0.42)] + arc((0.28, 0.68), (0.34, 0.30), -115, 140)],
    6: [[(0.50, 0.0), (0.26, 0.22), (0.08, 0.52)] + arc((0.32, 0.74), (0.28, 0.26), -170, 185)],
    7: [[(0.0, 0.06), (0.62, 0.02), (0.44, 0.42), (0.24, 1.0)]],
    8: [arc((0.34, 0.25), (0.24, 0.24), 90, 450), arc((0.33, 0.75), (0.29, 0.26), -90, 270)],
    9: [arc((0.32, 0.27), (0.28, 0.26), -20, 330) + [(0.56, 0.40), (0.50, 0.72), (0.42, 1.0)]],
}


def distance(points, stroke):
    """How far each of points [n, 2] is from the polyline."""
    best = np.full(len(points), np.inf)
    for a, b in zip(np.array(stroke[:-1]), np.array(stroke[1:])):
        along = np.clip(((points - a) @ (b - a)) / max((b - a) @ (b - a), 1e-12), 0, 1)
        best = np.minimum(best, np.linalg.norm(points - a - along[:, None] * (b - a), axis=1))
    return best


def ink(strokes):
    """Coverage [28, 28] in [0, 1] of strokes given in pixels."""
    grid = (np.arange(SIDE * OVERSAMPLING) + 0.5) / OVERSAMPLING - 0.5
    y, x = np.meshgrid(grid, grid, indexing="ij")
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    away = np.min([distance(points, s) for s in strokes], axis=0)
    fine = np.clip((PEN + SOFT / 2 - away) / SOFT, 0, 1)
    return fine.reshape(SIDE, OVERSAMPLING, SIDE, OVERSAMPLING).mean((1, 3))


def draw(strokes):
    """The digit as uint8 [28, 28], scaled into the box and centred on its mass."""
    strokes = [np.array(s, float) for s in strokes]
    points = np.concatenate(strokes)
    low, span = points.min(0), np.ptp(points, axis=0)
    scale = (BOX - 2 * PEN) / span.max()
    strokes = [(s - low - span / 2) * scale + (SIDE - 1) / 2 for s in strokes]
    image = ink(strokes)
    middle = np.array([(image.sum(axis) * np.arange(SIDE)).sum() / image.sum() for axis in (0, 1)])
    image = ink([s + (SIDE - 1) / 2 - middle for s in strokes])
    return np.round(255 * image).astype(np.uint8)


def main():
    folder = pathlib.Path(__file__).parent.parent / "samples"
    for digit, strokes in DIGITS.items():
        Image.fromarray(draw(strokes)).save(folder / f"digit-{digit}.png", optimize=True)


if __name__ == "__main__":
    main()
