"""The last stage of a run: its variances become true (adf/calibration.py), its head fits them."""

import math

import numpy as np
from tqdm import tqdm

from ..backend import default_rng, xp
from ..calibration import (
    begin,
    calibrate_step,
    fit_head,
    free_all,
    linear_layers,
    measured,
    variance_weights,
)
from ..dirichlet import log_softmax
from ..engine.threads import map_ordered
from ..gaussian import Gaussian
from ..inference.predict import pad
from ..training import Adam

IMAGES = 8  # of a batch; a step shows as many crops
POOL = 24  # batches, or one a step: of a crop of each image the true moments are measured
CROP = 64  # pixels a side: half as many as in training, for variances are local
BETA2 = 0.99  # of Adam, which has few steps
HEAD_STEPS = 60
HEAD_RATE = 0.3
HEAD_BATCHES = 4  # of IMAGES, on which the head is fitted,
EVERY = 2  # by every second pixel of every second row: neighbours say the same
STREAM = 3  # random numbers of their own: (seed, step, STREAM), for the pool,
CHOICE = 5  # and for what a step shows of it; 4: recalibration.py


def freed(segmenter):
    """The Adam of this stage. Variances without weights of their own get some."""
    if linear_layers(segmenter.network)[0].log_gain is None:
        free_all(segmenter.network)
    return Adam(variance_weights(segmenter), beta2=BETA2)


def crops(segmenter, images, rng):
    """An input of one crop of each image, (C, H, W); the images are normalised as a whole."""
    multiple = getattr(segmenter.network, "multiple", 1)
    size = -(-CROP // multiple) * multiple
    found = [
        _crop(pad(segmenter.input(image[None]), segmenter.network), size, rng) for image in images
    ]
    return Gaussian(*(xp.concatenate(field) for field in zip(*found, strict=True)))


def _crop(x, size, rng):
    """A square of this size out of one image, which is reflected where it is smaller."""
    height, width = x.mean.shape[2:]
    missing = [(0, max(0, size - n)) for n in (height, width)]
    top, left = (int(rng.integers(max(1, n - size + 1))) for n in (height, width))

    def cut(field):
        field = xp.pad(field, [(0, 0), (0, 0), *missing], mode="reflect")
        return field[:, :, top : top + size, left : left + size]

    return x.map(cut)


class Pool:
    """Crops x and their `true` logits, of which every step shows some.

    It is a function of the run's settings, the source and the weights that training left, so a run
    that was killed makes it again.
    """

    def __init__(self, run, source):
        s = run.settings
        found = []
        steps = range(s.steps, s.steps + min(POOL, s.calibration_steps))
        for step in tqdm(steps, "true variances", unit=" batches", leave=False, disable=None):
            images, _ = source.training(step, IMAGES, s.seed)
            rng = default_rng((s.seed, step, STREAM))
            x = crops(run.segmenter, images, rng)
            self.noise = run.segmenter.noise.draw(images)
            found.append((x, measured(run.segmenter, x, rng, noise=self.noise)))
        # From pairs to a pair, whose fields are those of all batches.
        self.x, self.true = (
            Gaussian(*(xp.concatenate(field) for field in zip(*parts, strict=True)))
            for parts in zip(*found, strict=True)
        )

    def some(self, rng):
        """IMAGES crops and their logits."""
        chosen = xp.asarray(rng.choice(len(self.x.mean), IMAGES, replace=False))
        return (part.map(lambda field: field[chosen]) for part in (self.x, self.true))


def learn(run, rate):
    """One step at this learning rate -> its loss. Before the first, the variances are freed."""
    rng = default_rng((run.settings.seed, run.step, CHOICE))
    x, true = run.pool.some(rng)
    if run.step == run.settings.steps:
        begin(run.segmenter, x, rng, run.pool.noise)
        run.calibrator = freed(run.segmenter)
    run.calibrator.learning_rate = rate
    return calibrate_step(run.segmenter, run.calibrator, x, true)


def fit(run, source):
    """Fits c1 and c2 to the variances that were learned, on labelled images that come next."""
    s = run.settings
    batches = [source.training(s.all_steps + i, IMAGES, s.seed) for i in range(HEAD_BATCHES)]
    fit_to(run.segmenter, [(run.segmenter.input(images), labels) for images, labels in batches])


def fit_to(segmenter, batches):
    """Fits c1 and c2 to the variances of these inputs, each with its labels."""

    def logits_of(batch):
        logits = segmenter.network.predict(batch[0])
        return logits.map(lambda field: field[..., ::EVERY, ::EVERY])

    # The network stays as it is, so its logits are computed once.
    parts = map_ordered(logits_of, batches)
    logits = Gaussian(*(xp.concatenate(field) for field in zip(*parts, strict=True)))
    labels = xp.asarray(np.concatenate([labels[:, ::EVERY, ::EVERY] for _, labels in batches]))
    optimizer = Adam(segmenter.head.parameters(), HEAD_RATE)
    for step in range(HEAD_STEPS):
        optimizer.learning_rate = HEAD_RATE * (1 - step / HEAD_STEPS)
        fit_head(segmenter, optimizer, logits, labels)


def spread(run, source):
    """The mean of sqrt(sum_k m_k v_k), which c2 multiplies, on crops of the first images."""
    s = run.settings
    images, _ = source.training(s.steps, IMAGES, s.seed)
    x = crops(run.segmenter, images, default_rng((s.seed, s.steps, STREAM)))
    logits = run.segmenter.network.predict(x)
    m = xp.exp(log_softmax(logits.mean))
    return float(xp.sqrt((m * logits.var).sum(axis=1)).mean())


def rescale(segmenter, ratio):
    """Multiplies c2 of the head, which lies behind a softplus."""
    c2 = segmenter.head.c2
    value = math.log1p(math.exp(float(c2.value[0]))) * ratio
    c2.value = xp.full_like(c2.value, math.log(math.expm1(value)))
