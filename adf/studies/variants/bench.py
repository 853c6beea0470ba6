"""What all variants share, and what measures them: functions of a Bench -> columns of a row."""

import copy
import dataclasses
import math
import time

import numpy as np
from tqdm import tqdm

from ...backend import default_rng
from ...calibration import begin, calibrate_step, variance_weights
from ...gaussian import Gaussian
from ...montecarlo import sampled_output
from ...runs import calibrating, open_data
from ...runs.recalibration import restart
from ...training import Adam
from ..budget.report import middle_inputs
from ..budget.rivals import ROUNDS, SEED, price, seconds
from ..budget.ruler import worth
from ..budget.score import score
from ..budget.stages import Stage, on_host
from .ways import linearised, with_gates

IMAGES = 4  # held out, and as many of further data
SAMPLES = 256  # of each, for the true variances
PIXELS = 32  # of each, where every logit costs a backward pass
DRAWS = 1000  # of these pixels, for an interval


class Bench:
    """A run that has learned no variances, a pool to learn from, images that were held out.

    data: further images as of `open_source`, or None. Raises ValueError on other noise than white,
    and where `restart` and `open_source` do.
    """

    def __init__(self, run, data):
        restart(run, calibrating.POOL)
        if run.settings.noise != "white":
            raise ValueError(f"variants expects a run with white noise, got {run.settings.noise}")
        self.run = run
        self.network = run.segmenter.network
        # All are read before the work. The columns of further images have names with another end.
        places = {"": None} | ({", real": data} if data else {})
        inputs = {end: middle_inputs(run, IMAGES, place) for end, place in places.items()}
        self.held = {end: self._with_truth(images) for end, images in inputs.items()}
        self.pool = calibrating.Pool(run, open_data(run, run.settings.data))

    def _with_truth(self, inputs):
        """Every image with the true moments of its logits."""
        bar = tqdm(inputs, "true variances", unit=" images", leave=False, disable=None)
        true = [sampled_output(self.network, x, SAMPLES, (0, n)) for n, x in enumerate(bar)]
        return list(zip(inputs, map(on_host, true), strict=True))

    def some(self, step):
        """What a step of calibration shows, x and true, and its generator."""
        s = self.run.settings
        rng = default_rng((s.seed, s.steps + step, calibrating.CHOICE))
        return *self.pool.some(rng), rng

    def scores(self, moments):
        """The columns of a score, for moments(n, x) of the nth image."""
        row = {}
        for end, held in self.held.items():
            found = [Stage(None, moments(n, x), t, None) for n, (x, t) in enumerate(held)]
            row |= columns(score(found, SAMPLES), end)
        return row


def columns(found, end):
    return {name + end: value for name, value in found._asdict().items()}


def plain(bench, network=None):
    """Variances by ADF as the network has them, or another."""
    network = network or bench.network
    row = {"price": price(network, bench.held[""][0][0])}
    return row | bench.scores(lambda _, x: on_host(network.predict(x)))


def learned(bench, steps, adam=Adam, step=calibrate_step, gates=math.inf, **options):
    """The same after so many steps, as `adf train` takes them; options: of `calibration.begin`.

    gates: see `with_gates`.
    """
    # Gates stand in a network of its own, so that the bench's has none afterwards.
    segmenter = copy.copy(bench.run.segmenter)
    width = max(bench.run.settings.widths)
    segmenter.network = with_gates(segmenter.network, gates, width)
    settings = dataclasses.replace(bench.run.settings, calibration_steps=steps)
    start = time.process_time()
    x, _, rng = bench.some(0)
    begin(segmenter, x, rng, **options)
    optimizer = adam(variance_weights(segmenter), beta2=calibrating.BETA2)
    for number in tqdm(range(steps), "learning", unit=" steps", leave=False, disable=None):
        x, true, _ = bench.some(number)
        optimizer.learning_rate = settings.rate_at(settings.steps + number)
        step(segmenter, optimizer, x, true)
    return {"seconds": time.process_time() - start} | plain(bench, segmenter.network)


def sampled(bench, kind, count):
    """Variances by samples, with other noise than that of the true ones."""

    def moments(n, x):
        return on_host(sampled_output(bench.network, x, count, (SEED, n), kind))

    return {"price": count} | bench.scores(moments)


def of_gradients(bench):
    """Linearised variances of some pixels, with an interval of their worth."""
    row = {}
    start = time.perf_counter()
    for end, held in bench.held.items():
        rng = default_rng(SEED)
        found = [_some_linearised(bench.network, x, true, rng) for x, true in held]
        row |= columns(score(found, SAMPLES), end) | _interval(found, rng, end)
    # All logits of an image would take so many times a point pass.
    took = (time.perf_counter() - start) / sum(row[f"logits{end}"] for end in bench.held)
    x, true = bench.held[""][0]
    point = np.median([seconds(bench.network, Gaussian(x.mean)) for _ in range(ROUNDS)])
    return {"price": true.var.size * took / point} | row


def _some_linearised(network, x, true, rng):
    """The Stage of PIXELS pixels of an image."""
    count = true.var[0].size
    pixels = rng.choice(count, min(PIXELS, count), replace=False)
    some = true.map(lambda field: field.reshape(len(field), -1)[:, pixels])
    return Stage(None, linearised(network, x, pixels), some, None)


def _interval(found, rng, end):
    """Nine in ten of the worths of as many pixels, drawn with replacement from these."""
    ratio = np.concatenate([s.adf.var / s.true.var for s in found], axis=1)
    drawn = rng.integers(ratio.shape[1], size=(DRAWS, ratio.shape[1]))
    worths = np.sort([worth(ratio[:, pixels].ravel(), SAMPLES) for pixels in drawn])
    ends = {"least worth": worths[DRAWS // 20], "most worth": worths[-DRAWS // 20]}
    return {name + end: value for name, value in (ends | {"logits": ratio.size}).items()}
