"""Adam (Kingma & Ba, ICLR 2015)."""

import math

from .backend import xp


class Adam:
    """Adam with bias correction: step() moves every parameter by what its gradient has been.

    m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g**2,
    value -= learning_rate (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps).  Algorithm 1 of the paper.
    """

    def __init__(self, parameters, learning_rate=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
        if not 0 < learning_rate < math.inf:
            raise ValueError(f"Adam expects a positive, finite learning_rate, got {learning_rate!r}")
        self.parameters = list(parameters)
        self.learning_rate, self.beta1, self.beta2, self.eps = learning_rate, beta1, beta2, eps
        self.t = 0
        self.m = [xp.zeros_like(p.value) for p in self.parameters]
        self.v = [xp.zeros_like(p.value) for p in self.parameters]

    def step(self):
        self.t += 1
        rate = float(self.learning_rate) / (1 - self.beta1**self.t)  # a NumPy scalar would promote float32 weights
        scale = (1 - self.beta2**self.t) ** 0.5
        for i, p in enumerate(self.parameters):
            g = p.grad
            self.m[i] = self.beta1 * self.m[i] + (1 - self.beta1) * g
            self.v[i] = self.beta2 * self.v[i] + (1 - self.beta2) * g * g  # (6.12)
            p.value = p.value - rate * self.m[i] / (xp.sqrt(self.v[i]) / scale + self.eps)  # (6.13)
