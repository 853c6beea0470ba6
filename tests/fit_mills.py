"""Fits the polynomials of adf/moments.py. `python tests/fit_mills.py` prints them; test_moments.py refits and compares.

R2 = R0 - t R1 with the Mills ratio R0 = Phi(-t) / phi(t) and R1 = 1 - t R0. For large t it is nearly 2 / t^3, so
R2(t) / u^3 with u = 4 / (4 + t) is smooth, and a short polynomial follows it from t = 0 to cap: the interpolation at
the Chebyshev points, in powers of w = u - 5/16, computed with 60 digits and rounded once.
"""

import mpmath

mpmath.mp.dps = 60
DEGREES = ((10, 16), (25, 64))  # float32, float64: degree and cap
CENTRE = mpmath.mpf(5) / 16


def mills(t):
    """R0, R1 and R2 at t >= 0 with 60 digits: far out the recursion cancels, so the working precision grows with t."""
    with mpmath.workdps(60 + int(8 * mpmath.log10(1 + t))):
        t = mpmath.mpf(t)
        r0 = mpmath.sqrt(mpmath.pi / 2) * mpmath.exp(t * t / 2) * mpmath.erfc(t / mpmath.sqrt(2))
        r1 = 1 - t * r0
        r2 = r0 - t * r1
    return +r0, +r1, +r2


def smooth(u):
    """R2(t) / u^3 as a function of u = 4 / (4 + t)."""
    return mills(4 / u - 4)[2] / u**3


def fit(degree, cap):
    """Coefficients of the interpolating polynomial in powers of w, lowest first, as the nearest float64 numbers."""
    least = mpmath.mpf(4) / (4 + cap)
    middle, radius = (1 + least) / 2, (1 - least) / 2
    count = degree + 1
    points = [middle + radius * mpmath.cos(mpmath.pi * (2 * k + 1) / (2 * count)) for k in range(count)]
    total, product = [mpmath.mpf(0)] * count, [mpmath.mpf(1)]  # Newton's form, multiplied out
    differences = [smooth(u) for u in points]
    for order, point in enumerate(points):
        for power, c in enumerate(product):
            total[power] += differences[0] * c
        steps = zip(differences, differences[1:], points, points[order + 1 :], strict=False)
        differences = [(b - a) / (far - near) for a, b, near, far in steps]
        lifted = [mpmath.mpf(0), *product]  # the product times w, then minus the point times the product
        for power, c in enumerate(product):
            lifted[power] -= (point - CENTRE) * c
        product = lifted
    return [float(c) for c in total]


if __name__ == "__main__":
    for degree, cap in DEGREES:
        print(f"# degree {degree}")
        for coefficient in fit(degree, cap):
            print(f"    {coefficient!r},")
