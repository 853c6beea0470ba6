"""The traps of the microfluidic chip: pairs of pillars of two kinds, and ghosts of broken ones.

Lengths are pixels, greys are standard deviations of an image, as in synthetic.py.
"""

import numpy as np

from .brightfield import hull, look, turn
from .camera import smooth

TRAP = 1  # in the labels, where 0 is background

# Contours are drawn from these ranges, their middle more often; the names are the arguments of
# brightfield.contour. Measured: halo 0.6 to 2.9, reach 4, rim 0.9 to 4.4, width 1.1, line of traps
# -0.2 to 2, shade 1 to 2.5 and 0.3 to 1.
TEARDROP_LOOK = {
    "halo": (0.3, 2.8), "reach": (2.5, 6.5), "rim": (0.5, 4.3), "width": (0.8, 1.6),
    "line": (-0.8, 2.4), "shade": (0.3, 3.2), "fade": (2, 5), "fill": (-0.6, 0.6),
}  # fmt: skip
# An even dark outline between two bright ones, the inner one wide, and grey within.
ANGLE_LOOK = {
    "halo": (0.2, 1.8), "reach": (1.5, 4), "rim": (2, 5.5), "width": (0.8, 1.5),
    "line": (0.4, 3.6), "shade": (-0.8, 0.6), "fade": (2, 5), "fill": (-0.4, 0.8), "wide": (1, 3),
}  # fmt: skip
# A bright ring without a dark rim, about grey inside, that is broken where smooth noise is low.
GHOST_LOOK = {
    "halo": (0, 2.6), "reach": (0.6, 2.5), "rim": (-1.2, 0.3), "width": (0.8, 2.5),
    "line": (-1, 1), "shade": (-0.3, 0.8), "fade": (3, 9), "fill": (-0.8, 0.3),
}  # fmt: skip


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
    """A pillar at scale 1 that is an upright bar, slim or stout, with a foot at one end.

    It is given as polygons and the radius of their corners.
    """
    corner = rng.uniform(1.5, 5)
    high = rng.uniform(20, 30) - corner
    thick = max(rng.uniform(3, 13) - corner, 1)
    # The foot points into the gap, mostly, and sticks out of a stout bar by less.
    out = thick + rng.uniform(4, 16 if thick < 5 else 10)
    foot = out * (1 if rng.random() < 0.8 else -1)
    sole_height = rng.uniform(3, 11)
    bar = [(-thick, -high), (thick, -high), (thick, high), (-thick, high)]
    sole = [(0, high - sole_height), (foot, high - sole_height), (foot, high), (0, high)]
    end = 1 if rng.random() < 0.85 else -1  # mostly the lower one
    return [np.array(bar), np.array(sole) * (1, end)], corner


def _pillar(rng):
    """Polygons of a pillar at scale 1, the radius of their corners, half the distance of a pair.

    And whether it looks as the angle irons of the chip do, an even outline with grey within.
    """
    if rng.random() < 0.65:
        return *_teardrop(rng), 24, rng.random() < 0.1
    return *_angle_iron(rng), rng.uniform(18, 31), rng.random() < 0.7


def draw_traps(rng, slide, blur):
    """Draws a pair of pillars in the lower half, or one, or none; some are but ghosts.

    Returns the top of the gap between them.
    """
    polygons, radius, apart, is_even = _pillar(rng)
    scale = np.clip(rng.normal(1, 0.12), 0.75, 1.25)
    tilt = rng.normal(0, 0.05 if rng.random() < 0.9 else 0.15)
    x = rng.normal(62, 6)
    y = rng.normal(95, 7)
    apart = apart * scale * rng.uniform(0.9, 1.2)
    curves = look(rng, ANGLE_LOOK if is_even else TEARDROP_LOOK, blur)
    grain = rng.choice([0.03, 0.1, 0.35])
    # Both pillars are there in 84 %, only the left or only the right in 6 % each, none in 4 %.
    # Where one of them is missing, its ghost may be left.
    presence = rng.random()
    for side in (-1, 1):
        dx, dy = turn((side * apart, rng.normal(0, 1)), tilt)
        own_tilt = tilt + rng.normal(0, 0.03)
        # The right pillar mirrors the left; the corners of each are moved at random.
        bodies = []
        for points in polygons:
            points = points * (-side, 1) + rng.normal(0, 0.5, points.shape)
            support = hull(turn(scale * points, own_tilt), radius * scale)
            bodies.append((x + dx, y + dy, support))
        if presence < 0.9 if side < 0 else 0.06 < presence < 0.96:
            slide.draw(bodies, TRAP, curves, grain)
        elif rng.random() < 0.7:
            draw_ghost(rng, slide, bodies)
    return x, y - 27 * scale


def draw_ghost(rng, slide, bodies):
    """Draws what a broken pillar or a burst cell leaves: a faint, broken outline, background."""
    visible = np.clip(0.6 * smooth(rng, rng.integers(3, 9)) + rng.uniform(0.2, 1.4), 0, 1)
    smears = rng.uniform(0, 0.5) * smooth(rng, rng.integers(8, 20))
    slide.add(bodies, look(rng, GHOST_LOOK, rng.uniform(0.8, 1.6)), visible, smears)
