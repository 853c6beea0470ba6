"""Synthetic trapped yeast, 128 x 128, as a brightfield microscope shows it.

The labels are 0 background, 1 trap, 2 cell. Two pillars hold some cells; dirt lies about. Numbers
were measured on five images of the published data set (Reich et al.) and then widened, traps and
cells so far that grey and texture alone do not tell them apart. Lengths are pixels, greys are
standard deviations of an image. The optics are in brightfield.py.
"""

import numpy as np

from ..normalisation import normalise
from .brightfield import DIRECTIONS, Slide, depth_of, ellipse, hull, look, turn, window
from .camera import SIZE, blobs, break_some, photograph, photograph_nothing
from .pillars import draw_ghost, draw_traps

CELL = 2  # in the labels
VERSION = 2  # of the generator; raised when a seed draws another image than before

# Contours are drawn from these ranges, their middle more often; the names are the arguments of
# brightfield.contour. Measured: halo 0.6 to 2.9, reach 4, rim 0.9 to 4.4, width 1.1, line of traps
# -0.2 to 2, shade 1 to 2.5 and 0.3 to 1.
CELL_LOOK = {
    "halo": (0.1, 2.4), "reach": (1.5, 5.5), "rim": (0.4, 3.4), "width": (0.8, 1.6),
    "line": (-3, 1.5), "shade": (-0.4, 1.8), "fade": (2, 6), "fill": (-0.9, 0.8),
}  # fmt: skip
FUZZY_LOOK = {  # a cell far out of focus: a dark disc in a faint halo
    "halo": (0.3, 1.2), "reach": (3, 6), "rim": (0.3, 1.2), "width": (1.5, 3),
    "line": (0, 0), "shade": (0, 0.5), "fade": (2, 6), "fill": (-2, -0.5),
}  # fmt: skip


def generate(count, seed=0, start=0):
    """Images start, ..., start + count - 1 of a seed, and their labels.

    Images are float32 (count, 1, 128, 128), each of mean 0 and standard deviation 1; labels are
    uint8 (count, 128, 128). An image depends on the seed and its index alone.
    """
    for name, value in ("count", count), ("seed", seed), ("start", start):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
            raise ValueError(f"generate expects {name} to be an integer, 0 or more; got {value!r}")
    images = np.empty((count, 1, SIZE, SIZE), np.float32)
    labels = np.empty((count, SIZE, SIZE), np.uint8)
    for i in range(count):
        images[i, 0], labels[i] = _image(np.random.default_rng((seed, start + i)))
    return images, labels


def _image(rng):
    """One image and its labels: what is on the slide, and what the camera makes of it."""
    slide = Slide(rng)
    spots = _dirt(rng)
    # One field in 16 is empty but for dirt; one in 16 has a ghost, in front of which others lie.
    is_empty = rng.random() < 0.06
    if not is_empty and rng.random() < 0.06:
        body = (*rng.uniform(0, SIZE, 2), _outline(rng, rng.uniform(14, 24)))
        draw_ghost(rng, slide, [body])
    if not is_empty:
        blur = np.exp(rng.normal(0.05, 0.22))
        gap = draw_traps(rng, slide, blur)
        spots += _draw_cells(rng, slide, blur, gap)
    take = photograph_nothing if is_empty else photograph
    image = take(rng, slide.grey + blobs(spots))
    break_some(rng, image, slide.labels)
    return normalise(image, "standard"), slide.labels


def _outline(rng, radius):
    """The support function of a cell: oval, a little irregular, sometimes pointed."""
    ratio = rng.uniform(0.84, 1)
    angle = rng.uniform(0, 2 * np.pi)
    h = ellipse(radius / ratio, radius * ratio, angle)
    # A Fourier term of h stays convex while its amplitude is below radius / (waves**2 - 1).
    for waves in (2, 3, 4):
        amplitude = radius * rng.normal(0, 0.08 / waves**2)
        h += amplitude * np.cos(waves * DIRECTIONS + rng.uniform(0, 2 * np.pi))
    # The hull of a cell and a point outside it has a tip at that point.
    if rng.random() < 0.12:
        tip = (rng.uniform(1.1, 1.35) * radius / ratio, 0)
        h = np.maximum(h, hull(turn([tip], rng.uniform(0, 2 * np.pi))))
    return h


def _around(rng, x, y, distance):
    """A point at a distance from (x, y), in any direction."""
    angle = rng.uniform(0, 2 * np.pi)
    return x + distance * np.cos(angle), y + distance * np.sin(angle)


def _seat(rng, cells, gap, radius):
    """Where the next cell may sit: in the gap between traps, at an earlier cell, or anywhere."""
    choice = rng.random()
    if choice < 0.17:
        return rng.uniform(-5, SIZE + 5, 2)
    if not cells or choice < 0.3:
        x = gap[0] + rng.normal(0, 3)
        # Most cells sit near the top of the gap, the others further down in it.
        below = rng.normal(2, 6) if rng.random() < 0.75 else rng.uniform(0, 50)
        return x, gap[1] + below
    x, y, other = cells[rng.integers(len(cells))]
    return _around(rng, x, y, radius + other + rng.uniform(-1, 3))


def _draw_cells(rng, slide, blur, gap):
    """Draws 0 to 8 cells where there is room for them; returns their granules as blobs."""
    wanted = rng.choice(9, p=[0.08, 0.15, 0.18, 0.18, 0.15, 0.11, 0.08, 0.04, 0.03])
    cells = []
    granules = []
    # There are five tries for each cell; a place that is not free enough is given up.
    for _ in range(5 * wanted):
        radius = rng.uniform(6, 11) if rng.random() < 0.25 else np.clip(rng.normal(15, 4), 8, 24)
        x, y = _seat(rng, cells, gap, radius)
        body = (x, y, _outline(rng, radius))
        if slide.room(body) > 0.85:
            cells.append((x, y, radius))
            granules += _draw_cell(rng, slide, blur, body, radius)
        if len(cells) == wanted:
            break
    return granules


def _draw_cell(rng, slide, blur, body, radius):
    """Draws one cell, perhaps with a bud, a vacuole, or far out of focus.

    Returns what is inside as blobs.
    """
    x, y, _ = body
    bodies = [body]
    fuzzy = radius > 8 and rng.random() < 0.09
    if rng.random() < 0.12:
        bud = radius * rng.uniform(0.3, 0.6)
        bodies.append((*_around(rng, x, y, radius + 0.6 * bud), _outline(rng, bud)))
    blur = 1.5 if fuzzy else blur * np.exp(rng.normal(0, 0.2))
    even, slant = look(rng, FUZZY_LOOK if fuzzy else CELL_LOOK, blur)
    # A few cells lie on the other side of the focus; their greys are inverted.
    sign = 1 if rng.random() < 0.94 else -1
    slide.draw(bodies, CELL, (sign * even, sign * slant), rng.choice([0.03, 0.15, 0.35]))
    if fuzzy:
        centre = rng.normal((x, y), 0.15 * radius)
        return [(*centre, *rng.uniform(1.5, 3.5, 2), rng.uniform(0.5, 3))]
    if radius > 9 and rng.random() < 0.4:
        _draw_vacuole(rng, slide, x, y, radius)
    return _granules(rng, x, y, radius)


def _draw_vacuole(rng, slide, x, y, radius):
    """Draws a disc inside a cell: a bright or dark ring, a fill paler or darker than the rest."""
    size = radius * rng.uniform(0.3, 0.75)
    centre = _around(rng, x, y, rng.uniform(0, 0.9 * radius - size))
    body = (*centre, _outline(rng, size))
    area = window([body], 6)
    depth = depth_of([body], *area)
    ring = rng.uniform(-1, 1.2) * np.exp(-0.5 * np.square(depth / rng.uniform(0.8, 1.6)))
    fill = rng.uniform(-0.4, 1) / (1 + np.exp(-2 * depth))
    slide.grey[area] += ring * (1 + 0.6 * slide.texture[area]) + fill


def _granules(rng, x, y, radius):
    """Dark and bright grains inside a cell, some strung into short worms."""
    grains = []
    for _ in range(rng.integers(0, 5)):
        point = rng.normal((x, y), 0.35 * radius)
        sign = 1 if rng.random() < 0.35 else -1
        for _ in range(rng.integers(1, 5)):
            if np.hypot(point[0] - x, point[1] - y) < radius - 3:
                grains.append((*point, *rng.uniform(0.8, 1.5, 2), sign * rng.uniform(0.2, 1.6)))
            point = point + rng.normal(0, 2, 2)
    return grains


def _dirt(rng):
    """Dirt as blobs, background in the labels: some far out of focus, mostly dark, and specks."""
    dirt = []
    for _ in range(rng.poisson(0.9)):
        x, y = rng.uniform(0, SIZE, 2)
        size = rng.uniform(1.5, 5)
        sign = 1 if rng.random() < 0.35 else -1
        # The wider it is blurred, the fainter it is.
        widths = size * rng.uniform(0.7, 1.4, 2)
        dirt.append((x, y, *widths, sign * rng.uniform(0.3, 18 / (size + 1))))
    for _ in range(rng.poisson(4)):
        dirt.append((*rng.uniform(0, SIZE, 2), *rng.uniform(0.7, 2.5, 2), rng.uniform(-0.6, 0.4)))
    return dirt
