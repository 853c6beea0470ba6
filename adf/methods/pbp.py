"""Probabilistic backpropagation: every weight a Gaussian, updated in closed form, datum by datum.

With Gaussian weights (layers/gaussian_weights.py) a network gives a target's density Z in closed
form, and its backward g = dlogZ/dm and h = dlogZ/dv of every weight N(m, v). By differentiation
under the integral the mean and the variance of N(m, v) times the likelihood, normalised, are

    m' = m + v g,    v' = v + v**2 (2 h - g**2).

There is no learning rate. 2 h - g**2 is the second derivative of log Z by m, so a negative v' is a
sign of the approximations in Z: the weight stays as it was, and is counted.

Source: Hernandez-Lobato & Adams, ICML 2015. In place of the paper's division of every sum by the
root of its n + 1 inputs, the bias among them, stands a prior variance of c / lambda, c = 1 / (n +
1): the update is the same in both units.
"""

import math

from ..backend import default_rng, xp
from ..calibration import linear_layers
from ..gaussian import Gaussian
from ..layers import Sequential
from ..layers.gaussian_weights import gaussians, randomise

PRIOR = (6.0, 6.0)  # alpha and beta of lambda, and of the noise's precision
LARGEST = 1e6  # a variance without the prior's factor; beyond, the data have said nothing


class PBP:
    """Regression, t = network(x) + N(0, 1 / gamma), with a posterior of the weights and of gamma.

    network: a Layer from (1, features) to (1, 1). It becomes one of float64, and its weights anew
    N(m, v), v the variance under the prior, m random, to tell hidden units apart. Inputs and
    targets are expected to have mean 0 and standard deviation 1: the priors are made for these.
    `noise` is (alpha, beta) of gamma; `rejected` counts updates of single weights. rng: a seed or a
    generator.
    """

    def __init__(self, network, rng=0):
        self.network = network.to("float64")
        self.noise = self.prior = PRIOR
        self.rejected = 0
        self.weights = []  # of every array: m, v, c and the prior's factors
        rng = default_rng(rng)
        # A factor is what it adds to a weight's 1 / v, and to alpha and beta of lambda.
        laws = linear_layers(Sequential(network))
        for law in laws:
            randomise(law, noise_var(*PRIOR) / (law.fan_in + 1))
        for m, v, fan_in in gaussians(laws):
            c = 1 / (fan_in + 1)
            m.value = xp.asarray(rng.normal(0, c, m.value.shape))
            factor = 1 / (c * noise_var(*PRIOR)), 0.0, 0.0
            self.weights.append((m, v, c, [factor] * m.value.size))

    def predict(self, x):
        """Mean and variance, the noise in it, of the targets of x (N, features)."""
        y = self.network.predict(Gaussian(x))
        return Gaussian(y.mean, y.var + noise_var(*self.noise))

    def step(self, x, t):
        """Takes in one datum: x (1, features), and its target. Raises ValueError on several.

        From gradients that are summed over a batch no variance follows. Raises it, too, where the
        target's density is not finite; nothing has changed then.
        """
        y, backward = self.network.forward(Gaussian(x))
        if y.mean.size != 1:
            raise ValueError(f"PBP.step expects one datum with one target, got {y.mean.shape}")
        r = t - y.mean.item()
        var = y.var.item()
        v = var + noise_var(*self.noise)
        if not math.isfinite(log_density(r * r, v)):
            raise ValueError("PBP.step expects finite numbers, got others in x, t or the weights")
        # g and h of every weight are the gradients by its mean and variance: (12.8)
        for p in (p for weights in self.weights for p in weights[:2]):
            p.grad = xp.zeros_like(p.value)
        backward(Gaussian(*(xp.full_like(y.mean, d) for d in (r / v, (r * r / v - 1) / (2 * v)))))
        self._update()
        self.noise = with_precision(*self.noise, r * r, var) or self.noise

    def _update(self):
        for m, v, *_ in self.weights:
            m_new, v_new = tilted(m.value, v.value, m.grad, v.grad)
            is_valid = (v_new > 0) & (v_new < math.inf)
            self.rejected += v_new.size - int(is_valid.sum())
            m.value = xp.where(is_valid, m_new, m.value)
            v.value = xp.where(is_valid, v_new, v.value)

    def refine_prior(self):
        """Expectation propagation: fits the factor N(w; 0, c / lambda) of every weight anew.

        To be called after every pass over the data.
        """
        for m, v, c, factors in self.weights:
            rows = zip(m.value.ravel().tolist(), v.value.ravel().tolist(), factors, strict=True)
            new = [self._refined(c, *row) for row in rows]
            *moments, factors[:] = zip(*new, strict=True)
            for p, values in zip((m, v), moments, strict=True):
                p.value = xp.asarray(values).reshape(p.value.shape)

    def _refined(self, c, m, v, factor):
        """m, v and the factor of one weight, anew; lambda's posterior follows."""
        # The posterior without the factor, if there is such a distribution, has the same m / v.
        posterior = (1 / v, *self.prior)
        precision, alpha, beta = (a - b for a, b in zip(posterior, factor, strict=True))  # (12.11)
        if precision * LARGEST <= 1 or alpha <= 1 or beta <= 0:
            return m, v, factor
        mean = m / v / precision
        prior = with_precision(alpha, beta, mean * mean, 1 / precision, c)
        if prior is None:
            return m, v, factor
        self.prior = prior
        added = 1 / (c * noise_var(alpha, beta))  # so v stays positive
        v_new = 1 / (precision + added)
        return m / v * v_new, v_new, (added, prior[0] - alpha, prior[1] - beta)


def tilted(m, v, g, h):
    """m' and v' of N(m, v) times a likelihood, normalised, from the derivatives of log Z."""
    return m + v * g, v + v * v * (2 * h - g * g)  # (12.6)


def noise_var(alpha, beta):
    """E[1 / gamma] of gamma ~ Gamma(alpha, beta)."""
    return beta / (alpha - 1)


def log_density(square, var):
    """log N(r; 0, var) for r**2 = square, but for a constant."""
    return -(math.log(var) + square / var) / 2


def with_precision(alpha, beta, square, var, c=1.0):
    """Gamma(alpha, beta) of a precision, times N(r; 0, var + c / gamma), as a Gamma again.

    With Z_i the density for alpha + i, E[gamma] is (alpha / beta) Z_1 / Z_0, and E[gamma**2] /
    E[gamma]**2 is (1 + 1 / alpha) Z_2 Z_0 / Z_1**2. None, where they are the moments of no Gamma
    or of one without E[1 / gamma]: Z_i, too, is a Gaussian in place of a Student t.
    """
    z = [log_density(square, var + c * noise_var(alpha + i, beta)) for i in range(3)]
    spread = z[2] - 2 * z[1] + z[0] + math.log1p(1 / alpha)
    if not 0 < spread < math.log(2):
        return None
    new = 1 / math.expm1(spread)
    return new, new * beta / alpha * math.exp(z[0] - z[1])  # (12.10)
