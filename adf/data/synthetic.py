"""Synthetic trapped yeast, 128 x 128, as a brightfield microscope shows it.

The labels are 0 background, 1 trap, 2 cell. Two pillars hold some cells; dirt lies about. Numbers
were measured on five images of the published data set (Reich et al.) and then widened, traps and
cells so far that grey and texture alone do not tell them apart. Lengths are pixels, greys are
standard deviations of an image. The optics are in brightfield.py.
"""

import numpy as np

from ..normalisation import normalise
from .brightfield import (
    DIRECTIONS,
    SIZE,
    Slide,
    blobs,
    camera_noise,
    contour,
    depth_of,
    ellipse,
    hull,
    smooth,
    turn,
    window,
)

TRAP = 1  # in the labels, where 0 is background
CELL = 2  # in the labels

# Contours are drawn from these ranges, their middle more often; the names are the arguments of
# brightfield.contour. Measured: halo 0.6 to 2.9, reach 4, rim 0.9 to 4.4, width 1.1, line of traps
# -0.2 to 2, shade 1 to 2.5 and 0.3 to 1.
TRAP_LOOK = {
    "halo": (0.3, 2.8), "reach": (2.5, 6.5), "rim": (0.5, 4.3), "width": (0.8, 1.6),
    "line": (-0.8, 2.4), "shade": (0.3, 3.2), "fade": (2, 5), "fill": (-0.6, 0.6),
}  # fmt: skip
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
        images[i, 0], labels[i] = _photograph(np.random.default_rng((seed, start + i)))
    return images, labels


def _photograph(rng):
    """One image and its labels: what is on the slide, the light, the camera."""
    slide = Slide(rng)
    blur = np.exp(rng.normal(0.05, 0.22))
    spots = _dirt(rng)
    gap = _draw_traps(rng, slide, blur)
    spots += _draw_cells(rng, slide, blur, gap)
    image = slide.grey + blobs(spots)
    # A focus on the other side makes bright rims and dark halos.
    if rng.random() < 0.1:
        image = -image
    # First the contrast, then the brightness changes slowly across the image.
    image = image * (1 + rng.uniform(0, 0.15) * smooth(rng, 3))
    image = normalise(image + rng.uniform(0, 0.6) ** 2 * smooth(rng, rng.integers(2, 5)))
    image = image + rng.uniform(-0.12, 0.12) * image * np.abs(image)  # gamma
    noise = 0.03 * np.exp(rng.uniform(0, 2)) * camera_noise(rng)  # 0.07 to 0.10 measured
    return normalise(normalise(image, "standard") + noise), slide.labels


def _look(rng, ranges, blur):
    """The curves of a contour whose numbers are drawn from one of the tables above."""
    # The mean of two uniform numbers lies near the middle of their range more often.
    drawn = {name: rng.uniform(*span, 2).mean() for name, span in ranges.items()}
    return contour(**drawn, blur=blur)


def _teardrop(rng):
    """A pillar at scale 1 with a narrow top and a wide base with a blunt tip.

    It is given as polygons and the radius of their corners.
    """
    top = rng.uniform(0, 4)
    wide = rng.uniform(11.5, 14.5)
    low = rng.uniform(5, 14)
    # The flanks: half the width over y, from the top at -23.5 down to low.
    t = np.linspace(0, 1, 7) ** 2
    half = top + (wide - top) * t ** rng.uniform(0.4, 0.8)
    y = -23.5 + (low + 23.5) * t
    base = [
        (rng.uniform(-0.95, -0.7) * wide, 18),
        (rng.uniform(-4, 4), 24),
        (rng.uniform(0.7, 0.95) * wide, 18),
    ]
    outline = np.concatenate([np.stack([half, y], 1), np.stack([-half, y], 1), base])
    return [outline], rng.uniform(2.5, 6)


def _angle_iron(rng):
    """A pillar at scale 1 that is an upright bar with a foot at one end.

    It is given as polygons and the radius of their corners.
    """
    high = rng.uniform(22, 30)
    thick = rng.uniform(2, 6)
    foot = rng.uniform(12, 24) * rng.choice((-1, 1))
    bar = [(-thick, -high), (thick, -high), (thick, high), (-thick, high)]
    sole = [(0, high - 2 * thick), (foot, high - 2 * thick), (foot, high), (0, high)]
    end = 1 if rng.random() < 0.85 else -1  # mostly the lower one
    return [np.array(bar), np.array(sole) * (1, end)], rng.uniform(1.5, 4)


def _pillar(rng):
    """Polygons of a pillar at scale 1, the radius of their corners, half the distance of a pair."""
    if rng.random() < 0.7:
        return *_teardrop(rng), 24
    apart = rng.uniform(17, 26)
    return *_angle_iron(rng), apart


def _draw_traps(rng, slide, blur):
    """Draws a pair of pillars in the lower half, or one, or none.

    Returns the top of the gap between them.
    """
    polygons, radius, apart = _pillar(rng)
    scale = np.clip(rng.normal(1, 0.12), 0.75, 1.25)
    tilt = rng.normal(0, 0.05 if rng.random() < 0.9 else 0.3)
    x = rng.normal(62, 6)
    y = rng.normal(95, 7)
    apart = apart * scale * rng.uniform(0.9, 1.2)
    curves = _look(rng, TRAP_LOOK, blur)
    grain = rng.choice([0.03, 0.1, 0.35])
    # Both pillars are there in 84 %, only the left or only the right in 6 % each, none in 4 %.
    presence = rng.random()
    for side in (-1,) * (presence < 0.9) + (1,) * (0.06 < presence < 0.96):
        dx, dy = turn((side * apart, rng.normal(0, 1)), tilt)
        own_tilt = tilt + rng.normal(0, 0.03)
        # The right pillar mirrors the left; the corners of each are moved at random.
        bodies = []
        for points in polygons:
            points = points * (-side, 1) + rng.normal(0, 0.5, points.shape)
            support = hull(turn(scale * points, own_tilt), radius * scale)
            bodies.append((x + dx, y + dy, support))
        slide.draw(bodies, TRAP, curves, grain)
    return x, y - 27 * scale


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
    even, slant = _look(rng, FUZZY_LOOK if fuzzy else CELL_LOOK, blur)
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
