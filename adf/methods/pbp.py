"""Probabilistic backpropagation: every weight a Gaussian, updated in closed form, datum by datum.

With Gaussian weights (layers/gaussian_weights.py) a network gives a target's density Z in closed
form, and its backward g = dlogZ/dm and h = dlogZ/dv of every weight N(m, v). By differentiation
under the integral the mean and the variance of N(m, v) times the likelihood, normalised, are

    m' = m + v g,    v' = v + v**2 (2 h - g**2).

There is no learning rate. 2 h - g**2 is the second derivative of log Z by m, so a negative v' is a
sign of the approximations in Z, not of bad luck: the weight stays as it was, and is counted.

Source: Hernandez-Lobato & Adams, ICML 2015. In place of the paper's division of every sum by the
root of its n + 1 inputs, the bias among them, stands a prior variance of c / lambda, c = 1 / (n +
1): the update is the same in both units.
"""

import math

from ..backend import default_rng, to_host, xp
from ..gaussian import Gaussian
from ..layers import Sequential
from ..layers.gaussian_weights import randomise
from ..layers.linear import LinearLaw
from ..layers.paths import held

SHAPE = 6.0  # alpha and beta of the Gamma priors: of lambda, and of the noise's precision
LARGEST = 1e6  # variance of a weight without its prior factor, which then says too much


class PBP:
    """Regression with Gaussian noise: t = network(x) + N(0, 1 / gamma), gamma ~ Gamma(noise).

    network: layers of which each has one number as its answer in the end; those that learn are
    linear. They become float64, and their weights anew N(m, v): v the variance under the prior, m
    random, to tell the hidden units apart. Inputs and targets are expected with mean 0 and
    standard deviation 1, for which the priors are made. The layers' arrays become views of the
    posterior's, `mean` and `var`, which are updated in place. `rejected` counts updates of weights.
    rng: a seed or a generator.
    """

    def __init__(self, network, rng=0):
        self.network = network.to("float64")
        rng = default_rng(rng)
        scales = []
        laws = [law for law in held(Sequential(network), LinearLaw) if law.weight is not None]
        for law in laws:
            c = 1 / (law.weight.value[0].size + 1)
            randomise(law, c * SHAPE / (SHAPE - 1))
            for p in (law.weight, law.bias) if law.bias else (law.weight,):
                p.value = xp.asarray(rng.normal(0, c, p.value.shape))  # the paper's, times sqrt(c)
                scales += [c] * p.value.size
        # All layers in one array each, so that an update is a few operations for all of them.
        self.mean, self.mean_grad = joined([p for a in laws for p in (a.weight, a.bias) if p])
        variances = [p for a in laws for p in (a.weight_var, a.bias_var) if p]
        self.var, self.var_grad = joined(variances)
        self.noise = self.prior = (SHAPE, SHAPE)  # alpha, beta
        # A factor: what it adds to the posterior's 1/v, m/v, and to the alpha and beta of lambda.
        self.factors = [(1 / v, 0.0, 0.0, 0.0) for v in self.var.tolist()]
        self.scales = scales
        self.rejected = 0

    def predict(self, x):
        """Means and variances, the noise among them, of the targets of x (N, features)."""
        y = self.network.predict(Gaussian(x))
        return Gaussian(y.mean, y.var + noise_var(*self.noise))

    def step(self, x, t):
        """Takes in one datum, x (1, features) and its target  -> log Z, but for a constant.

        Raises ValueError where log Z is not finite, or is not that of one number: a batch's
        gradients, summed, say nothing of the variances that follow from it.
        """
        y, backward = self.network.forward(Gaussian(x))
        if y.mean.size != 1:
            raise ValueError(f"PBP.step expects one datum with one target, got {y.mean.shape}")
        var, r = y.var.item(), t - y.mean.item()
        v = var + noise_var(*self.noise)
        log_z = log_density(r * r, v)
        if not math.isfinite(log_z):
            raise ValueError(f"PBP.step expects finite numbers, got a log density of {log_z}")
        self.mean_grad[:] = 0
        self.var_grad[:] = 0
        g, h = r / v, (r * r / v - 1) / (2 * v)
        backward(Gaussian(*(xp.full_like(y.mean, d) for d in (g, h))))
        self._update()
        self.noise = with_precision(*self.noise, r * r, var) or self.noise
        return log_z

    def _update(self):
        m, v = tilted(self.mean, self.var, self.mean_grad, self.var_grad)
        is_valid = (v > 0) & (v < math.inf)
        self.rejected += v.size - int(is_valid.sum())
        self.mean[:] = xp.where(is_valid, m, self.mean)
        self.var[:] = xp.where(is_valid, v, self.var)

    def refine_prior(self):
        """Fits the factor N(w; 0, c / lambda) of every weight anew: expectation propagation.

        To be called after every pass over the data.
        """
        means, variances = (to_host(field).tolist() for field in (self.mean, self.var))
        for k, (c, factor) in enumerate(zip(self.scales, self.factors, strict=True)):
            # The posterior without this factor, if there is such a distribution.
            v, m = variances[k], means[k]
            natural = (1 / v, m / v, *self.prior)
            precision, shift, alpha, beta = (a - b for a, b in zip(natural, factor, strict=True))
            if precision * LARGEST <= 1 or alpha <= 1 or beta <= 0:
                continue
            v = 1 / precision
            m = shift * v
            # With the exact factor; here 2 h - g**2 is -1 / total, so that v stays positive.
            total = v + c * noise_var(alpha, beta)
            prior = with_precision(alpha, beta, m * m, v, c)
            if prior is None:
                continue
            means[k], variances[k] = m - v * m / total, v - v * v / total
            cavity = (precision, shift, alpha, beta)
            natural = (1 / variances[k], means[k] / variances[k], *prior)
            self.prior = prior
            self.factors[k] = tuple(a - b for a, b in zip(natural, cavity, strict=True))
        self.mean[:] = xp.asarray(means)
        self.var[:] = xp.asarray(variances)


def tilted(m, v, g, h):
    """m' and v' of N(m, v) times a likelihood, normalised, from the derivatives of log Z."""
    return m + v * g, v + v * v * (2 * h - g * g)


def joined(parameters):
    """One array of all values, one of all gradients; those of the Parameters become views of it."""
    value = xp.concatenate([p.value.ravel() for p in parameters])
    grad = xp.zeros_like(value)
    start = 0
    for p in parameters:
        part = slice(start, start + p.value.size)
        shape = p.value.shape
        p.value = value[part].reshape(shape)
        p.grad = grad[part].reshape(shape)
        start = part.stop
    return value, grad


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
    return new, new * beta / alpha * math.exp(z[0] - z[1])
