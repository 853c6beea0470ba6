"""A large image in tiles that overlap: its prediction in the memory of a few tiles, and the same as in one piece.

A pixel of a U-Net sees no further than the network's `reach`. So every tile is predicted with a margin of at least that
many pixels, which is then cut off. Tiles begin at multiples of the network's `multiple`, so that each pooling window
has the pixels that it has in the whole image.
"""

from typing import NamedTuple

TILE = 512  # pixels that are kept of a tile, along an axis of more than twice as many


class Tile(NamedTuple):
    """Slices (rows, columns): `seen` of the padded image, `kept` of that prediction, its `place` in the image."""

    seen: tuple
    kept: tuple
    place: tuple


def tiles(size, network):
    """The tiles of an image of this size (H, W): one where it is small, or where the network has no `reach`."""
    multiple, reach = getattr(network, "multiple", 1), getattr(network, "reach", None)
    rows, columns = (spans(length, multiple, reach) for length in size)
    return [Tile(*zip(row, column, strict=True)) for row in rows for column in columns]


def spans(length, multiple, reach):
    """(seen, kept, place) of every tile along one axis."""
    end, found = length + -length % multiple, []
    step, margin = end, 0
    if reach is not None and length > 2 * TILE:
        step, margin = (value + -value % multiple for value in (TILE, reach))
    for start in range(0, length, step):
        low, stop = max(0, start - margin), min(start + step, length)
        kept = slice(start - low, stop - low)
        found.append((slice(low, min(start + step + margin, end)), kept, slice(start, stop)))
    return found
