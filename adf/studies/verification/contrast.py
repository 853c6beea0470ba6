"""A naive rule and this library beside the truth: by how much each is off, and whether that is what the row claims."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr

from . import naive, reference
from .measure import errors

TEXT = """
## What can go wrong

Eleven errors of public ADF code, numbered as in tests/test_known_errors.py. A row gives a naive rule, written from its
description in words, one input, and sets its variance, and that of this library, beside the true one. *Naive off by*: a
factor, the smallest where there are many values (∞: a variance of 0, or no finite one), or what stands there; in
brackets how much it must be: a rule that is less wrong makes the row OUTSIDE, for then it claims what is not so.
*Ours off by*: the largest error in ulp, in brackets its bound; a percentage where ours is an approximation.
Error 1 hangs on Φ: as (1 + erf) / 2 it has no digits in the lower tail; with SciPy's ndtr the first row would be off by
{ndtr}. Errors 2 and 3 do not: their rows use ndtr. Error 8 is in the standard deviation of a probability, which the
library does not compute: its head defines a Dirichlet, and is compared with that definition, like row 9's ratio.
In 11 ours is no better than the naive rule. Both are approximations; the error is to call one of them exact.

"""

COLUMNS = (
    "Naive rule",
    "Input",
    "Truth",
    "Naive",
    "Naive off by (at least)",
    "Ours",
    "Ours off by (at most)",
    "Status",
)


class Amount(NamedTuple):
    """By how much values are off."""

    of: Callable  # (values, truth) -> a number
    text: str  # its format


class Found(NamedTuple):
    """Variances, or what the row says; lists or arrays."""

    truth: Any
    naive: Any
    ours: Any
    defined: Any = None  # what ours is by definition, where it is no estimate of this truth


def times(values, truth):
    """The smallest factor between a value and its truth, whatever its sign."""
    values, truth = (
        np.ravel(f).tolist() for f in np.broadcast_arrays(values, np.array(truth, "float64"))
    )
    return min(_factor(abs(v), t) for v, t in zip(values, truth, strict=True))


def _factor(value, truth):
    return max(value / truth, truth / value) if value and math.isfinite(value) else math.inf


def relative(values, truth):
    return np.abs(np.array(values, "float64") / np.array(truth, "float64") - 1)


def by_order(values, truth):
    """Axis 0: the same windows in different orders, all of one truth."""
    return (1 - np.min(values, axis=0) / np.max(values, axis=0)).max()


TIMES = Amount(times, "{:.3g}")
NEGATIVE = Amount(lambda values, truth: (np.array(values) < 0).mean(), "{:.0%} < 0")
MEDIAN = Amount(lambda values, truth: np.median(relative(values, truth)), "{:.0%}, median")
LARGEST = Amount(lambda values, truth: relative(values, truth).max(), "{:.1%}")
ORDER = Amount(by_order, "{:.0%} by order")


class Mistake(NamedTuple):
    number: int
    rule: str  # the naive one, in words
    given: str  # precision and input
    find: Callable  # () -> Found
    least: float  # the naive rule must be off by this amount
    most: Any = 4  # ours may be off by so many ulp; where it is an approximation, by this amount
    bound: str = ""  # `most` in words, where it is not one number
    amount: Amount = TIMES
    approximate: bool = False


def section(mistakes):
    """The text, the columns, the rows of the table; and the names of those that are OUTSIDE."""
    rows, outside = zip(*(row(m) for m in mistakes), strict=True)
    return (TEXT.format(ndtr=ndtr_error()), COLUMNS, rows), [name for name in outside if name]


def row(m):
    """The cells, and the name of the row where it is OUTSIDE, else an empty one; written so that a NaN of ours is."""
    found = m.find()
    off, least = m.amount.of(found.naive, found.truth), m.amount.text.format(m.least)
    error, inside = approximation(m, found) if m.approximate else accuracy(m, found)
    wrong = " and ".join(["the naive rule"] * (not off >= m.least) + ["ours"] * (not inside))
    truth, theirs, ours = (extent(values) for values in found[:3])
    cells = (
        f"{m.number}. {m.rule}",
        m.given,
        truth,
        theirs,
        f"{m.amount.text.format(off).replace('inf', '∞')} ({least})",
        ours,
        error,
        "**OUTSIDE**" if wrong else "inside",
    )
    return cells, wrong and f"error {m.number}, {m.given}: {wrong}"


def accuracy(m, found):
    """In ulp, and whether every value is within its bound."""
    ours = np.asarray(found.ours)
    exact = found.truth if found.defined is None else found.defined
    exact = np.broadcast_to(np.array(exact, object), ours.shape).ravel()
    error = errors(ours, exact, exact, m.most)
    return f"{error.error:.3g} ({m.bound or m.most})", error.of_bound <= 1


def approximation(m, found):
    error = m.amount.of(found.ours, found.truth)
    return f"{m.amount.text.format(error)} ({m.amount.text.format(m.most)})", error <= m.most


def extent(values):
    values = np.array(values, "float64")
    if not np.isfinite(values).all():
        return "not finite"
    low, high = (f"{v:.4g}" for v in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def ndtr_error():
    """Of the ReLU of N(-6, 1) in float32 with the better Phi, relative."""
    mean, exact = np.array([-6], "float32"), reference.leaky_relu(-6, 1, 0)[1]
    return f"{LARGEST.of(naive.relu(mean, np.ones_like(mean), ndtr)[1], [exact]):.0e}"
