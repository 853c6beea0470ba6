"""How the weights of a system are learned, and what predicts then.

A learner has the `segmenter`, which holds all that learns, and `optimizers`, which remember
gradients: both go into checkpoints. What a step draws at random is a function of the settings and
of its number, so that a run resumes to the bit.
"""

import dataclasses

from ..backend import default_rng
from ..layers.paths import held
from ..methods.dropout import Dropout2d, add_dropout, thinned
from ..methods.ensemble import ensemble_step, seeds
from ..methods.mixture import Mixture
from ..training import Adam, train_step

DRAWS = 6  # random numbers of their own: (seed, step, DRAWS)


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
