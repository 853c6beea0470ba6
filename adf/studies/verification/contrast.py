"""A naive rule and this library, each compared with the truth.

By how much is each of them off, and is that what the row of the table claims?
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr

from . import naive, reference
from .measure import errors
from .text import MISTAKES

COLUMNS = (  # of the table, for `row`
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
    """Variances, or what else the row says it is about; lists or arrays."""

    truth: Any
    naive: Any
    ours: Any
    defined: Any = None  # what ours is by definition, where it is no estimate of this truth


def times(values, truth):
    """The smallest factor between a value and its truth, whatever its sign."""
    pair = np.broadcast_arrays(values, np.array(truth, "float64"))
    values, truth = (np.ravel(field).tolist() for field in pair)
    return min(_factor(abs(v), t) for v, t in zip(values, truth, strict=True))


def _factor(value, truth):
    return max(value / truth, truth / value) if value and math.isfinite(value) else math.inf


def relative(values, truth):
    """The relative error of every value."""
    return np.abs(np.array(values, "float64") / np.array(truth, "float64") - 1)


def by_order(values, truth):
    """The largest relative spread over axis 0, where the same windows are in different orders."""
    return (1 - np.min(values, axis=0) / np.max(values, axis=0)).max()


TIMES = Amount(times, "{:.3g}")
NEGATIVE = Amount(lambda values, truth: (np.array(values) < 0).mean(), "{:.0%} < 0")
MEDIAN = Amount(lambda values, truth: np.median(relative(values, truth)), "{:.0%}, median")
LARGEST = Amount(lambda values, truth: relative(values, truth).max(), "{:.1%}")
ORDER = Amount(by_order, "{:.0%} by order")


class Mistake(NamedTuple):
    """A row of the table: a naive rule on an input, and what is claimed of it and of ours."""

    number: int
    rule: str  # the naive one, in words
    given: str  # precision and input
    find: Callable  # () -> Found
    least: float  # the naive rule must be off by this amount
    most: Any = 4  # ours may be off by so many ulp; where it is an approximation, by this amount
    bound: str = ""  # `most` in words, where it is not one number
    amount: Amount = TIMES
    approximate: bool = False  # whether ours is an approximation


def section(mistakes):
    """((text, columns, rows) of the table, the names of the rows that are OUTSIDE)."""
    rows, outside = zip(*(row(m) for m in mistakes), strict=True)
    text = MISTAKES.format(ndtr=ndtr_error())
    return (text, COLUMNS, rows), [name for name in outside if name]


def row(m):
    """The cells of a row, and its name where it is OUTSIDE, else an empty one."""
    found = m.find()
    off = m.amount.of(found.naive, found.truth)
    least = m.amount.text.format(m.least)
    error, inside = approximation(m, found) if m.approximate else accuracy(m, found)
    # `not off >= least`, and `inside` by `<=`: a NaN makes the row OUTSIDE.
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
    """Our error in ulp as text, and whether every value is within its bound."""
    ours = np.asarray(found.ours)
    exact = found.truth if found.defined is None else found.defined
    exact = np.broadcast_to(np.array(exact, object), ours.shape).ravel()
    error = errors(ours, exact, exact, m.most)
    return f"{error.error:.3g} ({m.bound or m.most})", error.of_bound <= 1


def approximation(m, found):
    """Our error in the row's own amount as text, and whether it is within its bound."""
    error = m.amount.of(found.ours, found.truth)
    return f"{m.amount.text.format(error)} ({m.amount.text.format(m.most)})", error <= m.most


def extent(values):
    """The smallest and the largest of the values, as text."""
    values = np.array(values, "float64")
    if not np.isfinite(values).all():
        return "not finite"
    low, high = (f"{v:.4g}" for v in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def ndtr_error():
    """The relative error of the naive ReLU of N(-6, 1) in float32 with the better Phi, as text."""
    mean = np.array([-6], "float32")
    exact = reference.leaky_relu(-6, 1, 0)[1]
    return f"{LARGEST.of(naive.relu(mean, np.ones_like(mean), ndtr)[1], [exact]):.0e}"
