"""A large image in tiles that overlap: predicted in the memory of a few, the same as in one piece.

A pixel of a U-Net sees no further than the network's `reach`. So every tile is predicted with a
margin of at least that many pixels, which is then cut off. Tiles begin at multiples of the
network's `multiple`, so that each pooling window has the pixels that it has in the whole image.
"""

from typing import NamedTuple

TILE = 512  # pixels that are kept of a tile, along an axis of more than twice as many


class Tile(NamedTuple):
    """Three pairs of slices (rows, columns)."""

    window: tuple  # of the padded image: what the network sees
    crop: tuple  # of that prediction: what is kept of it
    target: tuple  # of the image: where that belongs


def tiles(size, network):
    """The tiles of an image of this size (H, W).

    There is one where the image is small, or where the network has no `reach`.
    """
    multiple = getattr(network, "multiple", 1)
    reach = getattr(network, "reach", None)
    rows, columns = (spans(length, multiple, reach) for length in size)
    return [Tile(*zip(row, column, strict=True)) for row in rows for column in columns]


def spans(length, multiple, reach):
    """(window, crop, target) of every tile along one axis."""
    # One tile covers all, unless the axis is long and the network says how far a pixel sees.
    end = length + -length % multiple
    step = end
    margin = 0
    if reach is not None and length > 2 * TILE:
        step = TILE + -TILE % multiple
        margin = reach + -reach % multiple
    found = []
    for start in range(0, length, step):
        low = max(0, start - margin)
        stop = min(start + step, length)
        window = slice(low, min(start + step + margin, end))
        found.append((window, slice(start - low, stop - low), slice(start, stop)))
    return found
