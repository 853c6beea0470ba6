"""How the weights of a system are learned, and what predicts then.

A learner has the `segmenter`, which holds all that learns, and `optimizers`, which remember
gradients: both go into checkpoints. What a step draws at random is a function of the settings and
of its number, so that a run resumes to the bit.
"""

import copy
import dataclasses

import numpy as np

from ..backend import default_rng
from ..engine.threads import map_ordered
from ..layers.paths import held
from ..methods.bayes_by_backprop import VariationalSegmenter
from ..methods.dropout import Dropout2d, add_dropout, thinned
from ..methods.ensemble import ensemble_step, seeds
from ..methods.mixture import Mixture
from ..methods.swag import SGD, Swag
from ..methods.weights import WeightsSegmenter
from ..training import MICRO_BATCH, Adam, train_step
from .state import flat, put

DRAWS = 6  # random numbers of their own: (seed, step, DRAWS)
COLLECTIONS = 20  # networks on the path of SGD that SWAG collects,
NORM_BATCHES = 40  # and micro-batches of which each of its members takes its running averages
# What SWAG keeps beside the weights. The squares are checked as Adam's are: none is negative.
MOMENTS = ("m/swag", "v/swag", "swag/deviations")
STATISTICS = "swag/statistics"


class Learner:
    """One network, by Adam. It has no doubt about its weights.

    settings: those of the run; step: how many of its steps are done.
    """

    def __init__(self, settings, step=0):
        self.settings = settings
        self.segmenter = self.build()
        self.optimizers = [Adam(self.segmenter.parameters(), settings.learning_rate)]

    def build(self):
        """The untrained segmenter."""
        return self.settings.segmenter()

    def draw(self, source, step):
        """What a step learns from; asked for by another thread, while the step before learns."""
        return source.training(step, self.settings.batch_size, self.settings.seed)

    def learn(self, step, rate, batch):
        """One step at this learning rate, on what `draw` gave -> the loss."""
        self.optimizers[0].learning_rate = rate
        return train_step(self.segmenter, self.optimizers[0], *batch)

    def finish(self, source):
        """What is left to do after the last step."""

    def arrays(self):
        """What a checkpoint holds beside weights, running averages and moments of gradients."""
        return {}

    def take(self, arrays, step):
        """Takes these back out of the arrays of a checkpoint."""

    def predictor(self):
        """What `adf.predict` takes: the segmenter, or a Mixture."""
        return self.segmenter

    def mixture(self, member):
        """The Mixture of as many as the settings say; member(rng): draws one, the s-th by seed."""
        s = self.settings
        return Mixture(member(default_rng((s.seed, number))) for number in range(s.members))


class EnsembleLearner(Learner):
    """Deep ensembles: every member learns as the network of its seed would alone, to the bit."""

    def __init__(self, settings, step=0):
        own = seeds(settings.seed, settings.members)
        self.each = [dataclasses.replace(settings, seed=seed) for seed in own]
        super().__init__(settings, step)
        rate = settings.learning_rate
        self.optimizers = [Adam(m.parameters(), rate) for m in self.segmenter.members]

    def build(self):
        return Mixture(settings.segmenter() for settings in self.each)

    def draw(self, source, step):
        return [source.training(step, s.batch_size, s.seed) for s in self.each]

    def learn(self, step, rate, batch):
        for optimizer in self.optimizers:
            optimizer.learning_rate = rate
        return ensemble_step(self.segmenter, self.optimizers, batch)


class DropoutLearner(Learner):
    """Monte Carlo dropout."""

    def build(self):
        segmenter = self.settings.segmenter()
        add_dropout(segmenter.network, self.settings.dropout_p)
        return segmenter

    def learn(self, step, rate, batch):
        rng = default_rng((self.settings.seed, step, DRAWS))
        for layer in held(self.segmenter.network, Dropout2d):
            layer.rng = rng
        return super().learn(step, rate, batch)

    def predictor(self):
        return self.mixture(lambda rng: thinned(self.segmenter, rng))


class SwagLearner(Learner):
    """SWAG: Adam, then SGD at a constant rate, whose path is collected.

    At the end the batch norms of every member get running averages of their own. These are kept;
    the weights are drawn again from their seeds.
    """

    def __init__(self, settings, step=0):
        super().__init__(settings, step)
        self.swag = None
        self.statistics = None  # of each member, once training is done
        if step > settings.steps:
            self.begin()
        if step == settings.training_steps:
            size = len(flat(self.segmenter.network.statistics()))
            self.statistics = np.zeros((settings.members, size), "float32")

    def begin(self):
        self.optimizers = [SGD(self.segmenter.parameters(), self.settings.swag_rate)]
        self.swag = Swag(len(flat(self.segmenter.parameters())))

    def learn(self, step, rate, batch):
        if step == self.settings.steps:
            self.begin()
        loss = super().learn(step, rate, batch)
        if self.swag and self.collected(step + 1) > self.swag.n:
            self.swag.collect(flat(self.segmenter.parameters()))
        return loss

    def collected(self, step):
        """How many networks are collected when so many steps are done."""
        s = self.settings
        return max(0, step - s.steps) // max(1, s.swag_steps // COLLECTIONS)

    def finish(self, source):
        s = self.settings
        batches = [source.training(i, MICRO_BATCH, s.seed)[0] for i in range(NORM_BATCHES)]

        def renewed(number):
            twin = self.member(number)
            renew_statistics(twin, batches)
            return flat(twin.network.statistics()).astype("float32")

        self.statistics = np.stack(map_ordered(renewed, range(s.members)))

    def member(self, number, statistics=None):
        """The network with weights that are drawn, and the running averages that are known."""
        twin = copy.deepcopy(self.segmenter)
        put(twin.parameters(), self.swag.draw(default_rng((self.settings.seed, number))))
        if statistics is not None:
            put(twin.network.statistics(), statistics)
        return twin

    def predictor(self):
        if self.statistics is None:
            raise ValueError(
                "expected a unet-swag whose training is done: --resume goes on with it"
            )
        return Mixture(self.member(number, own) for number, own in enumerate(self.statistics))

    def arrays(self):
        if self.swag is None:
            return {}
        moments = self.swag.mean, self.swag.squares, self.swag.deviations
        found = dict(zip(MOMENTS, moments, strict=True))
        return found | ({} if self.statistics is None else {STATISTICS: self.statistics})

    def take(self, arrays, step):
        if self.swag:
            self.swag.mean, self.swag.squares, self.swag.deviations = (arrays[n] for n in MOMENTS)
            self.swag.n = self.collected(step)
            self.statistics = arrays.get(STATISTICS)


class WeightsLearner(Learner):
    """Gaussian weights in closed form. The KL comes in slowly, over the first half of the steps."""

    def build(self):
        plain = self.settings.segmenter()
        no_kl = {"training_pixels": 1, "kl_weight": 0}  # `learn` says how much there is
        return WeightsSegmenter(plain.network, **no_kl, normalisation=plain.normalisation)

    def draw(self, source, step):
        """The batch, and how many images the training shows, each counted once."""
        s = self.settings
        shown = s.steps * s.batch_size
        return *super().draw(source, step), min(shown, source.count or shown)

    def learn(self, step, rate, batch):
        images, labels, count = batch
        s = self.settings
        rising = min(1, 2 * (step + 1) / s.steps)
        self.segmenter.kl_share = s.kl_weight * rising / (count * labels[0].size)
        return super().learn(step, rate, (images, labels))


class BayesLearner(WeightsLearner):
    """Bayes by Backprop: the same bound, by draws."""

    def build(self):
        plain = self.settings.segmenter()
        return VariationalSegmenter(plain.network, normalisation=plain.normalisation)

    def learn(self, step, rate, batch):
        self.segmenter.network.rng = default_rng((self.settings.seed, step, DRAWS))
        return super().learn(step, rate, batch)

    def predictor(self):
        return self.mixture(lambda rng: self.segmenter.drawn(rng)[0])


def renew_statistics(segmenter, batches):
    """Gives batch norm the plain mean, over batches of images, of what each of them shows."""
    for n, images in enumerate(batches, 1):
        for statistic in segmenter.network.statistics():
            statistic.momentum = 1 / n
        segmenter.network.forward(segmenter.input(images))
