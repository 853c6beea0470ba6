"""Noise to draw, on the host: a function noise(rng, var) of these variances, (N, C, H, W).

No layer reads how noise is correlated, for a Gaussian has independent elements; what is learned
from noisy copies (calibration.py) and what is sampled (montecarlo.py) does.
"""

from ..backend import xp

MOST = 0.7  # correlation of neighbours; three taps can make no more than sqrt(1 / 2)


def white(rng, var):
    """Independent noise of these variances."""
    return xp.sqrt(var) * xp.asarray(rng.standard_normal(var.shape).astype(var.dtype))


def correlated(correlation):
    """The function noise(rng, var) for noise whose neighbours correlate by so much.

    White noise that is a pixel larger on every side is averaged with (s, 1, s) / sqrt(1 + 2 s**2)
    along rows and along columns, s = rho / (1 + sqrt(1 - 2 rho**2)), then multiplied by sqrt(var).
    Exact: every pixel has its variance, those of a border too; pixels side by side correlate by
    rho, over a corner by rho**2, at a distance of 2 by s rho / 2, farther not. Raises ValueError on
    a correlation outside [-0.7, 0.7].
    """
    if not abs(correlation) <= MOST:
        raise ValueError(
            f"expected a correlation of neighbours from {-MOST} to {MOST}, got {correlation!r}"
        )
    s = side_of(correlation)

    def noise(rng, var):
        # One axis after the other; each takes its two pixels of margin away.
        *stack, height, width = var.shape
        z = rng.standard_normal((*stack, height + 2, width + 2)) / (1 + 2 * s * s)
        z = z[..., 1:-1, :] + s * (z[..., :-2, :] + z[..., 2:, :])
        z = z[..., 1:-1] + s * (z[..., :-2] + z[..., 2:])
        return xp.sqrt(var) * xp.asarray(z.astype(var.dtype))

    return noise


def side_of(correlation):
    """s of the kernel (s, 1, s) that correlates neighbours by rho = 2 s / (1 + 2 s**2)."""
    return correlation / (1 + (1 - 2 * correlation * correlation) ** 0.5)
