"""Check the moments of any layer or network against samples pushed through it: for yours, too.

The samples go through the same layer as point masses, and the errors of their moments are
estimated from them. Where the variance comes from rare events, such as a ReLU that opens once in
10,000 samples, they may have seen few of them, which are counted; or none, and look innocent. Half
as far away such events are common. So more samples, of twice the noise, say what fourth moment to
expect: `_expected`. What is rare whatever the noise, such as a dropout of p = 1e-5, stays unseen.
"""

import itertools
import math
from typing import Any, NamedTuple

import numpy as np

from .backend import default_rng, to_host, xp
from .engine.threads import map_ordered
from .gaussian import Gaussian

# Fewer samples than this that carry the variance are too few to judge by.
ENOUGH = 30
COPIES = 16  # of an input are in memory at once
PROBE = 2  # how much larger the noise is that shows what the sample may have missed


class Comparison(NamedTuple):
    """Moments by ADF and by sampling, each an array of the shape of y; NumPy, float64."""

    mean: Any  # E[y] by ADF
    var: Any  # Var[y] (sigma^2) by ADF
    sampled_mean: Any
    sampled_var: Any  # unbiased
    mean_error: Any  # standard error of sampled_mean, from the sample itself
    var_error: Any  # standard error of sampled_var, from the fourth moment of the sample
    events: Any  # how many samples carry the variance: samples / kurtosis, a third for a Gaussian y
    samples: int

    @property
    def mean_z(self):
        """(sampled_mean - mean) in standard errors; near N(0, 1) where ADF is exact.

        It is NaN where fewer than ENOUGH events were seen, as behind a ReLU that hardly ever opens.
        """
        return self._z(self.sampled_mean - self.mean, self.mean_error)

    @property
    def var_z(self):
        """(sampled_var - var) in standard errors; near N(0, 1) where ADF is exact. NaN: see mean_z.

        Smaller where the sample may have missed something, see `compare`.
        """
        return self._z(self.sampled_var - self.var, self.var_error)

    def _z(self, difference, error):
        """difference / error. Of what is certain by ADF and by sampling it is 0, or infinity."""
        is_certain = (self.sampled_var == 0) & (self.var == 0)
        certain = np.where(difference == 0, 0.0, np.copysign(math.inf, difference))
        z = difference / np.where(error > 0, error, 1)
        return np.where(is_certain, certain, np.where(self.events >= ENOUGH, z, math.nan))


def compare(layer, x, samples=100_000, rng=0, chunk=1 << 22):
    """Pushes samples of x through layer.predict, beside layer.predict(x) -> Comparison.

    x: a Gaussian of shape (N, ...). samples: how many of each, at least 2. rng: a seed or a
    generator. chunk: how many numbers are drawn at once. Raises ValueError on a point mass, which
    has nothing to sample.
    """
    if x.var is None:
        raise ValueError(
            "montecarlo.compare expects a Gaussian with a variance, got a point mass (var=None)"
        )
    if samples < 2:
        raise ValueError(f"montecarlo.compare expects at least 2 samples, got {samples}")
    y = layer.predict(x).map(lambda field: to_host(field).astype("float64"))
    step = max(1, chunk // max(1, x.mean.size))
    rng = default_rng(rng)
    mean, var, fourth = _central(_pushed(layer, x, samples, rng, step), (2, 4), 1)
    # In units of the standard deviation, so that no power overflows.
    unit = np.sqrt(np.where(var > 0, var, 1))
    probe = _pushed(layer, x, max(samples // 4, min(samples, 10_000)), rng, step, PROBE)
    _, *moments = _central(probe, (4, 8), unit)
    seen = fourth / unit**4
    expected = _expected(*moments)
    kurtosis = np.where(expected > 2 * seen, expected, seen)  # twice is more than chance
    return _compare(y, mean, var, kurtosis, samples)


def sampled(segmenter, images, samples=16, rng=0, patterns="independent"):
    """What adf.predict says of images (N, C, H, W), by samples instead of ADF -> Prediction.

    The moments of `sampled_output` stand for those that ADF gives the logits, and the head reads
    them as it reads those. So all of the Prediction means what it means there, and the two compare
    at equal terms. It costs `samples` point passes where ADF costs 3 to 4. Independent copies have
    the noise that the segmenter claims. Raises ValueError where `sampled_output` does, and on a
    size that the network cannot halve.
    """
    x = segmenter.input(images)
    if segmenter.noise and patterns == "independent":
        patterns = segmenter.noise.draw(images)
    prediction = segmenter.read(sampled_output(segmenter.network, x, samples, rng, patterns))
    return type(prediction)(*(None if f is None else to_host(f) for f in prediction))


def sampled_output(network, x, samples=16, rng=0, patterns="independent"):
    """Moments of a network's output for x (N, C, H, W), from `samples` noisy copies -> Gaussian.

    The copies go through the network as point masses. `patterns` says what their noise is, of the
    variances of x in either case, and either variance is unbiased where the network is linear:

        independent  Gaussian; the variance is that over the copies, with the divisor samples - 1.
                     It scatters by about sqrt(2 / (samples - 1)) of itself.
        orthogonal   plus or minus one standard deviation. samples = 4, 16, 64, ...; over the copies
                     the signs of a pixel add up to 0, so the divisor is `samples`, and the products
                     of the signs of two pixels add up to 0, too, unless they share one of
                     samples - 1 colours. No two of a square of sqrt(samples) x sqrt(samples) do,
                     but for two of its corners. So where each output sees less than such a square
                     of one channel, mean and variance of a linear network are exact; beyond, pixels
                     of one colour meet with random signs. Signs have no tails: behind kinks the
                     variance is lower than that of Gaussian noise, by 5 % in a U-Net.

    Or it is a function noise(rng, var) that draws other Gaussian noise, see layers/noise.py.

    rng: a seed or a generator. No result depends on the number of threads. Raises ValueError on a
    point mass, on fewer than 2 samples and on orthogonal ones of another number.
    """
    if x.var is None or samples < 2:
        raise ValueError(f"montecarlo.sampled expects noise and 2 samples or more, got {samples}")
    noise = _noise(patterns, x.mean.shape, samples, default_rng(rng))
    mean, var = _central(_outputs(network, x, noise), (2,), 1)
    var = var if patterns == "orthogonal" else var * samples / (samples - 1)
    return Gaussian(*(xp.asarray(field.astype(x.mean.dtype)) for field in (mean, var)))


def _outputs(network, x, noise):
    """The output (1, N, ...) of one copy of x after the other, float64, on the host."""
    std = np.sqrt(to_host(x.var))

    def push(n):
        copy = Gaussian(x.mean + xp.asarray((std * n).astype(std.dtype)))
        return to_host(network.predict(copy).mean)[None].astype("float64")

    # A few copies at a time are drawn, in order, and pushed, by any thread.
    while copies := list(itertools.islice(noise, COPIES)):
        yield from map_ordered(push, copies)


def _noise(patterns, shape, samples, rng):
    """So many arrays of noise of variance 1, of this shape (N, C, H, W), one by one."""
    if callable(patterns):
        one = xp.ones(shape)
        return (to_host(patterns(rng, one)) for _ in range(samples))
    if patterns == "independent":
        return (rng.standard_normal(shape) for _ in range(samples))
    side = math.isqrt(samples)
    if patterns != "orthogonal" or side * side != samples or side & (side - 1):
        raise ValueError(
            "montecarlo.sampled expects independent patterns, or orthogonal ones for 4, 16, 64, "
            f"... samples, got {patterns!r} for {samples}"
        )
    # The columns of a Hadamard matrix are orthogonal; each is a colour, but the first, of ones.
    hadamard = np.ones((1, 1))
    while len(hadamard) < samples:
        hadamard = np.kron([[1, 1], [1, -1]], hadamard)
    height, width = shape[2:]
    colour = (np.arange(height)[:, None] + side * np.arange(width)) % (samples - 1)
    signs = rng.choice([-1.0, 1.0], shape)
    return (signs * row[1:][colour] for row in hadamard)


def bound(comparisons, false_alarm=1e-9):
    """The |z| that this many true comparisons exceed with probability false_alarm (Bonferroni)."""
    from scipy.special import ndtri

    return -float(ndtri(false_alarm / (2 * comparisons)))


def _pushed(layer, x, samples, rng, step, scale=1):
    """Samples of the outputs, `step` at a time: (step, *shape of y), float64, on the host.

    scale multiplies the standard deviation of x.
    """
    mean = to_host(x.mean)
    std = scale * np.sqrt(to_host(x.var))
    for start in range(0, samples, step):
        count = min(step, samples - start)
        noise = rng.standard_normal((count, *mean.shape), dtype=mean.dtype)
        points = xp.asarray((mean + std * noise).reshape(-1, *mean.shape[1:]))
        out = to_host(layer.predict(Gaussian(points)).mean).astype("float64")
        yield out.reshape(count, len(mean), *out.shape[1:])


def _compare(y, mean, var, kurtosis, n):
    """From moments of n samples to the Comparison with y; the kurtosis is at least 1 but for 0."""
    return Comparison(
        mean=y.mean,
        var=y.var,
        sampled_mean=mean,
        sampled_var=var * n / (n - 1),
        mean_error=np.sqrt(var / n),
        var_error=var * np.sqrt(np.maximum(kurtosis - 1, 0) / n),
        events=np.where(var > 0, n / np.maximum(kurtosis, 1), 0),
        samples=n,
    )


def _central(chunks, orders, unit):
    """The mean of samples, and their central moments of these even orders, in powers of a unit."""
    # Powers are summed of what deviates from the first sample, a few sigma from the mean at most:
    # what never varies deviates by 0.
    pivot = None
    count = 0
    sums = [0.0] * (max(orders) + 1)
    for out in chunks:
        pivot = out[0] if pivot is None else pivot
        count += len(out)
        deviation = (out - pivot) / unit
        power = np.ones_like(deviation)
        for k in range(len(sums)):
            sums[k] = sums[k] + power.sum(axis=0)
            power = power * deviation
    raw = [total / count for total in sums]
    central = (
        sum(math.comb(n, k) * raw[k] * (-raw[1]) ** (n - k) for k in range(n + 1)) for n in orders
    )
    return pivot + unit * raw[1], *(np.maximum(moment, 0) for moment in central)


def _expected(fourth, eighth):
    """The fourth moment to expect at the noise of x, from two moments at PROBE times that noise.

    The rare events are taken for those of a Gaussian e beyond a threshold t, as behind a kink or a
    maximum, where M_k(t) = E[max(e - t, 0)^k]. M_4^2 / M_8 falls with t, so it tells t, and
    M_4(2 t) / M_4(t) how much rarer and smaller they are at half the noise. A Gaussian has a larger
    ratio than any threshold; it has its fourth moment at every noise.
    """
    t = np.linspace(0, 6, 241)
    rarity = _beyond(t, 4) ** 2 / _beyond(t, 8)
    share = _beyond(PROBE * t, 4) / _beyond(t, 4)
    found = np.where(eighth > 0, fourth**2 / np.where(eighth > 0, eighth, 1), 1)
    return fourth / PROBE**4 * np.interp(-found, -rarity, share)


def _beyond(t, order):
    """M_k = E[max(e - t, 0)^k], e standard normal, by M_(k + 1) = k M_(k - 1) - t M_k."""
    from scipy.special import ndtr

    before = ndtr(-t)
    moment = np.exp(-0.5 * t * t) / math.sqrt(2 * math.pi) - t * before
    for k in range(1, order):
        following = k * before - t * moment
        before = moment
        moment = following
    return moment
