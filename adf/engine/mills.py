"""rho(t), the one special function of the moments, as a ratio of two polynomials."""

# The degrees are 4 over 5 (float32, for t up to 16) and 10 over 11 (float64, for t up to 64),
# lowest power first. tests/engine/fit_mills.py makes these numbers; a test makes them again and
# compares.
RATIO = {
    "f": (
        (
            1.253314154194885,
            0.7015111262635073,
            0.20969008308194778,
            0.0351121827950951,
            0.002863913535019417,
        ),
        (
            1.0,
            0.9021805741862378,
            0.40546285380840064,
            0.10901792083982839,
            0.01756037368787323,
            0.0014318920092502717,
        ),
    ),
    "d": (
        (
            1.2533141373155003,
            1.534090639359895,
            0.9654814728307457,
            0.4006844109483662,
            0.11986691592643423,
            0.026818619321393657,
            0.004530470424729315,
            0.0005706467670655211,
            5.146729010102441e-05,
            3.0250206908553954e-06,
            8.938429906690549e-08,
        ),
        (
            1.0,
            1.5664822203076878,
            1.2359960782643384,
            0.6380757265083297,
            0.23730972053703292,
            0.06642518196050351,
            0.014247129831543281,
            0.00234189983836803,
            0.000289860914624887,
            2.5867721498488326e-05,
            1.5125103454318617e-06,
            4.4692149533440305e-08,
        ),
    ),
}


def rho(t):
    """rho = R2 / R1 of the moments, for t from 0 to T_MAX, right to a few units in the last place.

    Every coefficient is positive, so nothing cancels in either sum.
    """
    numerator, denominator = (_polynomial(c, t) for c in RATIO[t.dtype.char])
    return numerator / denominator  # (3.8)


def _polynomial(coefficients, t):
    """Horner's rule, lowest power first."""
    *others, y = coefficients
    for c in reversed(others):
        y = y * t + c
    return y
