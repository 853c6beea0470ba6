"""rho, and what the moments make of it, against 60 digits; its coefficients against a new fit."""

import fit_mills
import mpmath
import numpy as np
import pytest
from test_moments import DTYPES, ulps

from adf import moments
from adf.backend import to_host, xp
from adf.engine import mills


def test_ratios_are_those_of_the_script():
    for code, (m, cap) in fit_mills.DEGREES.items():
        assert mills.RATIO[code] == fit_mills.fit(m, cap) and moments.T_MAX[code] == cap
        assert all(c > 0 for coefficients in mills.RATIO[code] for c in coefficients)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_integrals_to_the_last_digits(dtype):
    """R0, R1, R2 are tested as rho gives them, and P, G, V as `tail` does.

    In P, G, V a rounding error of t^2 / 2 counts t^2 / 2 times.
    """
    code = np.dtype(dtype).char
    t = np.append(np.linspace(0, 10, 201), np.linspace(10, moments.T_MAX[code], 50)).astype(dtype)
    x = xp.asarray(t)
    rho = mills.rho(x)
    r1 = 1 / (1 + x * (x + rho))
    exact = [fit_mills.mills(float(x)) for x in t]
    for k, r in enumerate((r1 * (x + rho), r1, r1 * rho)):
        true = [e[k] for e in exact]
        assert ulps(to_host(r), true, true, dtype).max() <= 6, k  # (3.2), (3.7), (3.8)
    near = t * t < -2 * moments.LOG_PDF_MIN[code]
    *_, p, g, v = (to_host(part)[near] for part in moments.tail(x, xp.ones_like(x)))
    phi = [mpmath.npdf(float(x)) for x in t[near]]
    true = np.array(
        [(f * r[0], f * r[1], f * (r[2] - f * r[1] ** 2)) for f, r in zip(phi, exact, strict=False)]
    ).T
    for part, e in zip((p, g, v), true, strict=True):
        assert near.sum() > 200 and np.all(ulps(part, e, e, dtype) <= 8 + t[near] ** 2 / 2)  # (3.3)
