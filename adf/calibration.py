"""True variances: a network's own weights for them are learned from pairs of noisy copies.

Layer by layer ADF is right; but activations share their inputs, and what is taken for independent
leaves the network with a small part of its variance. Two copies of an image with independent noise,
pushed through as point masses, know better: half the squared difference of their outputs,
d = (a - b)**2 / 2, is on average the true variance, and it needs neither labels nor means. So
layers/free_variance.py gives the linear layers weights u and r for the variance alone, and they
learn as if a - b were N(0, 2 v): the loss of an output of variance v is (log v + d / v) / 2.

    begin           frees the variances, right for every channel on average
    calibrate_step  moves u and r against the gradient of that loss; nothing else moves
    fit_head        fits c1 and c2 of the head to the variances that there are now
"""

import copy

from .backend import xp
from .engine.micro_batches import sum_gradients
from .engine.threads import map_ordered
from .gaussian import Gaussian
from .layers import Identity
from .layers.checks import check_finite
from .layers.fold import fold
from .layers.free_variance import free
from .layers.frozen import frozen
from .layers.linear import LinearLaw
from .layers.paths import held

LOADING = 0.3  # where it begins: at 0 its gradient is 0
MICRO_BATCH = 4  # crops


def white(rng, var):
    """Independent noise of these variances, drawn on the host."""
    return xp.sqrt(var) * xp.asarray(rng.standard_normal(var.shape).astype(var.dtype))


def noisy_pair(x, rng, noise=white):
    """Two copies of an input with independent noise of the variances that it claims.

    Raises ValueError on a point mass, which claims none.
    """
    if x.var is None:
        raise ValueError("calibration expects an input with variances, got a point mass (var=None)")
    return [Gaussian(x.mean + noise(rng, x.var)) for _ in range(2)]


def linear_layers(network):
    """The layers that learn under the linear law."""
    return [law for law in held(network, LinearLaw) if law.weight is not None]


def variance_weights(segmenter):
    """The parameters that `calibrate_step` learns: all log_gain, then all loading."""
    laws = linear_layers(segmenter.network)
    return [law.log_gain for law in laws] + [law.loading for law in laws]


def begin(segmenter, x, rng, noise=white):
    """Gives every linear layer weights for its variance, anew if it has some.

    They begin as those of independent inputs with a common cause, LOADING, scaled so that the
    variances of every output channel, averaged over the input x, are those of a pair.
    """
    laws = linear_layers(segmenter.network)

    # A layer maps the two copies, and the input itself with the variances that are right so far.
    def leaf(layer, inputs):
        a, b, y = (layer.predict(x) for x in inputs)
        if layer in laws:
            gain = channel_gain((a.mean - b.mean) ** 2 / 2, y.var)
            scale_variance(layer, inputs[2].mean, gain)
            y = Gaussian(y.mean, gain.astype(y.var.dtype) * y.var)
        return a, b, y

    def join(layer, branches):
        return [layer.join(list(outputs)) for outputs in zip(*branches, strict=True)]

    for law in laws:
        free(law, LOADING)
    # As one job, for then BLAS has one thread, and the bits are the same on any machine.
    inputs = (*noisy_pair(x, rng, noise), x)
    map_ordered(lambda job: fold(segmenter.network, job, leaf, join), [inputs])


def channel_gain(d, var):
    """mean of d / mean of var for every channel, (1, C, 1, 1); 1 where either is 0."""
    axes = (0, *range(2, d.ndim))
    d, var = (array.astype("float64").sum(axis=axes, keepdims=True) for array in (d, var))
    return xp.where((d > 0) * (var > 0), d / (var + (var == 0)), 1.0)


def scale_variance(law, x, gain):
    """Multiplies Var[y] of a layer that was freed by a gain per channel; x: any input's mean."""
    # Which channel a weight leads to is asked of the map: ones come in, the gains go out.
    ones = xp.full_like(x[:1], 1)
    y = xp.zeros_like(law.apply(law.weight.value, ones))
    total = law.weight_grad(ones, y + gain)
    count = law.weight_grad(ones, y + 1)
    gain = (total + (count == 0)) / (count + (count == 0))  # a tap on padding alone meets nothing
    dtype = law.weight.value.dtype
    law.log_gain.value = (law.log_gain.value + xp.log(gain)).astype(dtype)
    law.loading.value = (law.loading.value * xp.sqrt(gain)).astype(dtype)


def calibrate_step(segmenter, optimizer, x, rng, noise=white):
    """Moves the parameters of the optimizer against the gradient of the mean loss; returns it.

    x: what `segmenter.input` gives, or crops of it; its variances are those of the noise.
    optimizer: of `variance_weights(segmenter)`, after `begin`. noise(rng, var): draws it. The
    network is as in `predict`: no running average moves. The result does not depend on the number
    of threads. Raises ValueError where a loss, gradient or weight is not finite; the parameters are
    then as they were.
    """
    fixed = copy.copy(segmenter)
    fixed.network = frozen(segmenter.network)
    pair = noisy_pair(x, rng, noise)

    # One micro-batch, on a replica; engine/micro_batches.py adds them up.
    def loss_of(replica, rows):
        a, b = (replica.network.predict(Gaussian(noisy.mean[rows])).mean for noisy in pair)
        y, backward = replica.network.forward(x.map(lambda field: field[rows]))
        d = (a - b) ** 2 / 2
        v = y.var
        backward(Gaussian(xp.zeros_like(v), (1 / v - d / (v * v)) / (2 * v[0].size * len(x.mean))))
        return (xp.log(v) + d / v).astype("float64").sum() / (2 * v[0].size)

    for p in segmenter.parameters():
        p.grad = xp.zeros_like(p.value)
    total, _ = sum_gradients(fixed, loss_of, len(x.mean), MICRO_BATCH)
    loss = check_finite(total / len(x.mean), segmenter)
    optimizer.step()
    return loss


def fit_head(segmenter, optimizer, logits, labels):
    """One step of the head alone, for these logits, Gaussians (N, K, H, W), and their labels."""
    head = copy.copy(segmenter)
    head.network = Identity()

    # For a network that is the identity, logits are the input.
    def loss_of(replica, rows):
        loss, backward = replica.loss(logits.map(lambda field: field[rows]), labels[rows])
        backward(1 / labels.size)
        return loss

    for p in segmenter.head.parameters():
        p.grad = xp.zeros_like(p.value)
    total, _ = sum_gradients(head, loss_of, len(labels), MICRO_BATCH)
    loss = check_finite(total / labels.size, head)
    optimizer.step()
    return loss
