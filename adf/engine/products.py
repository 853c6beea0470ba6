"""Matrix products in tiles that BLAS takes as they lie.

BLAS first copies its operands into an order that suits it, which for thin matrices costs as much as
the product. OpenBLAS takes products of at most SMALL_PRODUCT multiply-adds as they lie: on one core
with AVX-512 up to twice as fast for the shapes of a U-Net (benchmarks/kernels.py).
"""

from ..backend import xp
from .memory import empty

SMALL_PRODUCT = 10**6  # multiply-adds
LOW_TILE = 32  # rows of a tile, below which one call of BLAS is faster
TILE = 128  # columns of a product's tile
LONG_TILE = 1024  # columns of a contraction's tile


def matmul(a, b, out=None):
    """a @ b for (..., M, K) by (..., K, P) with a long P. It is computed in tiles."""
    if out is None:
        out = empty((*b.shape[:-2], a.shape[-2], b.shape[-1]), xp.result_type(a, b))
    # `body` columns of the result are cut into tiles, all in one call; the rest takes another.
    height = _tile_height(a.shape[-2], SMALL_PRODUCT // (max(1, a.shape[-1]) * TILE))
    in_tiles = height >= min(a.shape[-2], LOW_TILE)
    body = b.shape[-1] // TILE * TILE if in_tiles else 0
    if body:
        left = a.reshape(*a.shape[:-2], -1, 1, height, a.shape[-1])
        right = _tiled(b, b.shape[-2], body, TILE)
        xp.matmul(left, right, out=_tiled(out, height, body, TILE))
    if body < b.shape[-1]:
        xp.matmul(a, b[..., body:], out=out[..., body:])
    return out


def contraction(a, b):
    """a @ b^T for (..., M, P) by (..., K, P) with a long P. Tiles' products are summed."""
    # Tiles run along P here, so each gives a part of every element of the result.
    height = _tile_height(a.shape[-2], 32)
    depth = _tile_height(b.shape[-2], 24)
    body = a.shape[-1] // LONG_TILE * LONG_TILE if height and depth else 0
    out = 0
    if body:
        left = _tiled(a, height, body, LONG_TILE)
        right = _tiled(b, depth, body, LONG_TILE).swapaxes(-1, -2)
        out = xp.matmul(left[..., :, None, :, :, :], right[..., None, :, :, :, :]).sum(axis=-3)
        out = out.swapaxes(-2, -3).reshape(*a.shape[:-1], b.shape[-2])
    if body < a.shape[-1]:
        out = out + xp.matmul(a[..., body:], b[..., body:].swapaxes(-1, -2))
    return out


def _tile_height(length, most):
    """The largest divisor of a length up to `most`; 0 where that is far smaller than `most`."""
    most = min(length, most)
    return next((size for size in range(most, most // 4, -1) if length % size == 0), 0)


def _tiled(matrix, height, body, width):
    """The first `body` columns of (..., M, P), a view of tiles.

    Their axes are (..., M / height, body / width, height, width).
    """
    rows = matrix.shape[-2] // height
    columns = body // width
    tiles = matrix[..., :body].reshape(*matrix.shape[:-2], rows, height, columns, width)
    return tiles.swapaxes(-2, -3)
