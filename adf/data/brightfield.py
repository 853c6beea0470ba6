"""How a brightfield microscope shows a body: a contour of greys over depth, slanting light.

A convex body is its support function h(u) = max of p.u over its points p, sampled at 32 directions
u. The signed distance of a pixel p to the contour (positive inside: the depth) is then min over u
of h(u) - p.u; a maximum of two h is the convex hull of two bodies, a sum their rounding of each
other, a maximum of two depths their union.

Lengths are pixels of a 128 x 128 image, greys are standard deviations of an image.
"""

import numpy as np

from .camera import PIXELS, SIZE, smooth

MARGIN = 22  # px outside a contour at which the widest halo has faded
# px of depth between two entries of a curve: the steepest rim changes by 0.1 from one to the next.
STEP = 1 / 16
# With 32 directions a circle of radius 24 is true to 0.12 px.
DIRECTIONS = np.arange(32, dtype=np.float32) * np.float32(np.pi / 16)
NORMALS = np.stack([np.cos(DIRECTIONS), np.sin(DIRECTIONS)], axis=1)  # (32, 2): x and y of each u
DEPTHS = np.arange(-MARGIN, SIZE / 2, STEP, dtype=np.float32)  # px, of the entries of a curve


def ellipse(rx, ry, angle=0.0):
    """The support function of an ellipse with half axes rx, at an angle to the x axis, and ry."""
    h = np.hypot(rx * np.cos(DIRECTIONS - angle), ry * np.sin(DIRECTIONS - angle))
    return h.astype(np.float32)


def hull(points, radius=0.0):
    """The support function of the convex hull of points, its corners rounded by a radius."""
    return (NORMALS @ np.asarray(points, np.float32).T).max(axis=1) + np.float32(radius)


def turn(points, angle):
    """Points turned about the origin."""
    c = np.cos(angle)
    s = np.sin(angle)
    return np.asarray(points) @ np.array([[c, s], [-s, c]])


def window(bodies, margin=0):
    """Rows and columns within a margin of the bodies, inside the image.

    Bodies are (x, y, support function).
    """
    # Directions 0, 8, 16 and 24 are right, down, left and up.
    left = min(x - h[16] for x, y, h in bodies)
    right = max(x + h[0] for x, y, h in bodies)
    top = min(y - h[24] for x, y, h in bodies)
    bottom = max(y + h[8] for x, y, h in bodies)
    corners = [[top - margin, left - margin], [bottom + margin + 1, right + margin + 1]]
    low, high = np.clip(corners, 0, SIZE).astype(int)
    return slice(low[0], high[0]), slice(low[1], high[1])


def depth_of(bodies, rows, columns):
    """Signed distance to the contour of a union of bodies, positive inside."""
    depths = []
    for x, y, h in bodies:
        across = h[:, None] - NORMALS[:, :1] * (PIXELS[columns] - np.float32(x))
        along = NORMALS[:, 1:] * (PIXELS[rows] - np.float32(y))
        depths.append((across[:, None, :] - along[:, :, None]).min(axis=0))
    return np.maximum.reduce(depths)


def _bell(x, below, above):
    """A bump of height 1 at x = 0 with one width on either side."""
    return np.exp(-0.5 * np.square(x / np.where(x < 0, np.float32(below), np.float32(above))))


def contour(halo, reach, rim, width, line, shade, fade, fill, blur, wide=1):
    """Two curves over DEPTHS: the grey of a contour in even light, and what slanting light adds.

    The second curve is added on the far side. From outside in there are a bright halo that reaches
    out, a dark rim, a thin bright line, a shade that fades, and a fill. Depth 0 lies where the halo
    turns into the rim. `wide` stretches the bright line inwards. Blur is 1 in focus;
    more of it stretches the widths, and at 1.4 the border lies about 1 px further inside (measured
    on boxes). A negative line or shade means none.
    """
    x = (DEPTHS + np.float32(2.5 * max(blur - 1, 0))) / np.float32(blur)
    inside = 1 / (1 + np.exp(np.minimum((2 - x) / 0.5, 80)))
    halo = halo * _bell(x + 2.6, reach, 1.3)
    rim = -rim * _bell(x - 1.7, width, width)
    line = max(line, 0) * _bell(x - 3.2 - wide, 0.9, 1.1 * wide)
    shade = -max(shade, 0) * inside * _bell(x - 5.5, 9, fade)
    even = halo + rim + line + shade + fill * inside
    # Measured: the rim is deeper on one side, the shade on the other.
    slant = 0.4 * halo + rim + line - shade
    # The curves start at 0, so that no edge shows where the drawing of an object ends.
    fading = np.clip((DEPTHS + MARGIN) / 6, 0, 1)
    return (fading * even).astype(np.float32), (fading * slant).astype(np.float32)


def look(rng, ranges, blur):
    """The curves of a contour whose numbers are drawn from these ranges, by name."""
    # The mean of two uniform numbers lies near the middle of their range more often.
    drawn = {name: rng.uniform(*span, 2).mean() for name, span in ranges.items()}
    return contour(**drawn, blur=blur)


class Slide:
    """An image in the making: its greys, its labels, and the depth of each pixel.

    The depth of a pixel is the largest of its depths in all objects drawn so far. All objects share
    the direction and slant of the light, an unevenness of contours, a texture, and an annotator.
    """

    def __init__(self, rng):
        self.grey = np.zeros((SIZE, SIZE), np.float32)
        self.labels = np.zeros((SIZE, SIZE), np.uint8)
        self.depth = np.full((SIZE, SIZE), -SIZE, np.float32)
        # The light is a vector to the far side of an object; its length is the slant, 0 to 0.6.
        slant = rng.uniform(0, 0.6)
        self.light = slant * turn([1, 0], rng.uniform(0, 2 * np.pi)).astype(np.float32)
        self.unevenness = rng.uniform(0, 0.6) * smooth(rng, 12)  # px
        self.texture = smooth(rng, 40)
        # Annotators draw the border along the outer edge of the dark rim (depth 0) or through its
        # middle (1.7); published masks of one data set do both.
        self.border = rng.uniform(0.4, 1.1)  # px

    def draw(self, bodies, label, curves, grain):
        """Draws the union of bodies as one object.

        It is pressed flat where it meets what has been drawn before. curves: from `contour`.
        grain: how much of the texture shows inside the object.
        """
        area = window(bodies, MARGIN)
        depth = depth_of(bodies, *area) + self.unevenness[area]
        # Pressed flat: 0.6 px stay between its contour and those of earlier objects.
        depth = np.minimum(depth, -0.6 - self.depth[area])
        self.grey[area] += self._lit(bodies[0], area, depth, curves)
        # The texture sets in between 2 and 4 px below the contour.
        self.grey[area] += np.float32(grain) * self.texture[area] * np.clip(depth / 2 - 1, 0, 1)
        self.labels[area][depth > self.border] = label
        self.depth[area] = np.maximum(self.depth[area], depth)

    def add(self, bodies, curves, visible, smears):
        """Adds the contour of a union of bodies where it is visible, (128, 128) of 0 to 1.

        smears, (128, 128), are greys inside. It is no object: it has no label, and others are
        drawn over it.
        """
        area = window(bodies, MARGIN)
        depth = depth_of(bodies, *area) + self.unevenness[area]
        ghost = self._lit(bodies[0], area, depth, curves)
        ghost += smears[area] * np.clip(depth / 2 - 1, 0, 1)
        self.grey[area] += visible[area] * ghost

    def _lit(self, body, area, depth, curves):
        """The greys of a contour at these depths, in the light that all objects share."""
        rows, columns = area
        index = np.clip((depth + MARGIN) / STEP, 0, DEPTHS.size - 1).astype(np.intp)
        # How far a pixel lies on the far side of the body, 1 at the contour, times the slant.
        x, y, h = body
        light = self.light / h.mean()
        across = light[0] * (PIXELS[columns] - np.float32(x))
        far = across + light[1] * (PIXELS[rows, None] - np.float32(y))
        even, slant = curves
        return even[index] + far * slant[index]

    def room(self, body):
        """The share of a body's pixels in the image that is still free.

        It is 0 where no more than about 40 pixels would be seen.
        """
        # Every other row and column will do: the share need not be exact.
        rows, columns = (slice(s.start, s.stop, 2) for s in window([body]))
        inside = depth_of([body], rows, columns) > 0
        if inside.sum() <= 10:
            return 0
        free = self.depth[rows, columns] < 0
        return (inside & free).sum() / inside.sum()
