"""Fits the polynomials of adf/moments.py. `python tests/fit_mills.py` prints them; test_moments.py refits and compares.

R2(t) = (R0 - t R1) / 2 with the Mills ratio R0 = Phi(-t) / phi(t) and R1 = 1 - t R0. The function R2(t) (1 + t/3)^3 is
smooth in u = 1 / (1 + t/3) on (0, 1], so a short polynomial in w = 2u - 1 on [-1, 1] follows it: the interpolation at
the Chebyshev points, computed with 60 digits and rounded once.
"""

import mpmath

mpmath.mp.dps = 60


def mills(t):
    """R0, R1 and R2 at t >= 0 with 60 digits: far out the recursion cancels, so the working precision grows with t."""
    with mpmath.workdps(60 + int(8 * mpmath.log10(1 + t))):
        t = mpmath.mpf(t)
        r0 = mpmath.sqrt(mpmath.pi / 2) * mpmath.exp(t * t / 2) * mpmath.erfc(t / mpmath.sqrt(2))
        r1 = 1 - t * r0
        r2 = (r0 - t * r1) / 2
    return +r0, +r1, +r2


def smooth(w):
    """R2(t) (1 + t/3)^3 as a function of w in (-1, 1]; its limit at w = -1 (t = inf) is 1/27."""
    u = (1 + w) / 2
    if u == 0:
        return mpmath.mpf(1) / 27
    t = 3 * (1 / u - 1)
    return mills(t)[2] / u**3


def fit(degree):
    """Coefficients of the interpolating polynomial in powers of w, lowest first, as the nearest float64 numbers."""
    count = degree + 1
    angles = [mpmath.pi * (2 * k + 1) / (2 * count) for k in range(count)]
    values = [smooth(mpmath.cos(angle)) for angle in angles]
    total = [mpmath.mpf(0)] * count
    previous, current = [mpmath.mpf(1)], [mpmath.mpf(0), mpmath.mpf(1)]  # T0, T1 in powers of w
    for n in range(count):
        projection = mpmath.fsum(v * mpmath.cos(n * a) for v, a in zip(values, angles, strict=True))
        weight = (2 if n else 1) * projection / count
        for power, c in enumerate(previous):
            total[power] += weight * c
        following = [mpmath.mpf(0), *(2 * c for c in current)]  # T(n+1) = 2 w Tn - T(n-1)
        for power, c in enumerate(previous):
            following[power] -= c
        previous, current = current, following
    return [float(c) for c in total]


if __name__ == "__main__":
    for degree in (12, 28):
        print(f"# degree {degree}")
        for coefficient in fit(degree):
            print(f"    {coefficient!r},")
