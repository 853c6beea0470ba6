"""Fits the ratios of adf/engine/mills.py; test_mills.py refits and compares.

`python tests/engine/fit_mills.py` prints them.

With the Mills ratio R0 = Phi(-t) / phi(t), R1 = 1 - t R0 and R2 = R0 - t R1, the quotient R2 / R1
falls from sqrt(pi / 2) to nearly 2 / t. So a polynomial of degree m over one of degree m + 1
follows it from t = 0 to cap: it is the interpolation at the Chebyshev points of u = 5 / (5 + t),
computed with 60 digits and rounded once.
"""

import mpmath

mpmath.mp.dps = 60
DEGREES = {"f": (4, 16), "d": (10, 64)}  # float32, float64: m and cap


def mills(t):
    """R0, R1 and R2 at t >= 0 with 60 digits.

    Far out the recursion cancels, so the working precision grows with t.
    """
    with mpmath.workdps(60 + int(8 * mpmath.log10(1 + t))):
        t = mpmath.mpf(t)
        r0 = mpmath.sqrt(mpmath.pi / 2) * mpmath.exp(t * t / 2) * mpmath.erfc(t / mpmath.sqrt(2))
        r1 = 1 - t * r0
        r2 = r0 - t * r1
    return +r0, +r1, +r2


def chebyshev(count, cap):
    """So many points t from 0 to cap."""
    least = mpmath.mpf(5) / (5 + cap)
    middle, radius = (1 + least) / 2, (1 - least) / 2
    for k in range(count):
        yield 5 / (middle + radius * mpmath.cos(mpmath.pi * (2 * k + 1) / (2 * count))) - 5


def fit(m, cap):
    """Coefficients of numerator and denominator, lowest power first.

    They are the nearest float64 numbers; the denominator begins with 1.
    """
    rows, right = [], []
    for t in chebyshev(2 * m + 2, cap):  # numerator(t) = R2 / R1 denominator(t)
        _, r1, r2 = mills(t)
        rows.append([*(t**k for k in range(m + 1)), *(-r2 / r1 * t**k for k in range(1, m + 2))])
        right.append(r2 / r1)
    solution = [float(c) for c in mpmath.lu_solve(mpmath.matrix(rows), mpmath.matrix(right))]
    return tuple(solution[: m + 1]), (1.0, *solution[m + 1 :])


if __name__ == "__main__":
    for code, degree_and_cap in DEGREES.items():
        numerator, denominator = fit(*degree_and_cap)
        print(f'    "{code}": (')
        for coefficients in numerator, denominator:
            print("        (" + ", ".join(map(repr, coefficients)) + "),")
        print("    ),")
