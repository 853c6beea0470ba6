"""SWAG (Maddox et al., NeurIPS 2019): a Gaussian around the path that SGD takes at a constant rate.

Its width is that of the path, and so of the learning rate: where the loss is quadratic with
curvature h and its gradients have noise of variance C, SGD at the rate e scatters with variance
e**2 C / (1 - (1 - e h)**2): a posterior only where e is right. All arrays are NumPy's.  (11.13)
"""

import numpy as np

from ..backend import xp


class SGD:
    """m = momentum m + gradient, value -= learning_rate m; as torch.optim.SGD."""

    def __init__(self, parameters, learning_rate, momentum=0.9):
        self.parameters = list(parameters)
        self.learning_rate = learning_rate
        self.momentum = float(momentum)
        self.m = [xp.zeros_like(p.value) for p in self.parameters]

    def step(self):
        for i, p in enumerate(self.parameters):
            self.m[i] = self.momentum * self.m[i] + p.grad
            p.value = p.value - float(self.learning_rate) * self.m[i]


class Swag:
    """The weights' mean, squares (n times their variance; Welford) and last `rank` deviations."""

    def __init__(self, size, rank=20):
        self.n = 0
        self.mean = np.zeros(size)
        self.squares = np.zeros(size)
        self.deviations = np.zeros((rank, size), "float32")  # from the mean of their time

    def collect(self, weights):
        old = self.mean
        self.mean = old + (weights - old) / (self.n + 1)
        self.squares = self.squares + (weights - old) * (weights - self.mean)
        self.deviations[self.n % len(self.deviations)] = weights - self.mean
        self.n += 1

    def draw(self, rng, scale=1.0):
        """mean + scale (sqrt(squares / n) z1 + sum_k D_k z2_k / sqrt(K - 1)) / sqrt(2).

        z1 has a standard normal for each weight, z2 one for each of K deviations D, for the whole
        network, so that layers vary together. scale = 0 is SWA, the mean alone.
        """
        kept = self.deviations[: self.n]
        off = np.sqrt(self.squares / self.n) * rng.standard_normal(len(self.mean))
        # One by one, for a product of matrices adds up as the number of threads will have it.
        for row, z in zip(kept, rng.standard_normal(len(kept)), strict=True):
            off += row * (z / max(1, len(kept) - 1) ** 0.5)
        return self.mean + scale * 0.5**0.5 * off  # (11.14)
