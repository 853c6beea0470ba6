"""True variances: a network's own weights for them are learned from noisy copies.

Layer by layer ADF is right; but activations share their inputs, and what is taken for independent
leaves the network with a small part of its variance. Copies of an image with independent noise,
pushed through as point masses, know better: from a few of them comes an unbiased variance d of
every logit, and it needs no labels. It is measured once. Then layers/free_variance.py gives the
linear layers weights for it alone, and they learn until their variance v is d. With n = K - 1 for K
copies of independent noise d = v chi2(n) / n, which scatters by a factor that is the same for all:
so distances are those of logarithms, and E[log d] = log v + psi(n / 2) - log(n / 2). (A likelihood
of d asks for more steps.) The mean m of a logit learns to be that of the copies:

    loss = (log v - log d + psi(n / 2) - log(n / 2))**2 / 2 + MEAN_WEIGHT (m - mean)**2 / (2 d)

    begin           frees the variances, right for every channel on average
    measured        the true mean and variance of logits
    calibrate_step  moves the weights against the gradient of that loss; nothing else moves
    fit_head        fits c1 and c2 of the head to the variances that there are now
"""

import copy

from .backend import name, xp
from .engine.threads import map_ordered
from .gaussian import Gaussian
from .layers import Identity, Linear
from .layers.fold import fold
from .layers.free_variance import free
from .layers.frozen import frozen
from .layers.gate import Gate
from .layers.linear import LinearLaw
from .layers.noise import white
from .layers.paths import held
from .training import descend

LOADING = 0.3  # where it begins: at 0 its gradient is 0
MICRO_BATCH = 4  # crops
# A step's own: a GPU spends less time on launches the more there are.
STEP_MICRO_BATCH = MICRO_BATCH if name == "numpy" else 32
COPIES = 16  # noisy ones, of which a variance is measured
MEAN_WEIGHT = 0.3  # of the means in the loss


def noisy_pair(x, rng, noise=white):
    """Two copies of an input with independent noise of the variances that it claims."""
    check_noise(x)
    return [Gaussian(x.mean + noise(rng, x.var)) for _ in range(2)]


def check_noise(x):
    """Raises ValueError on a point mass, which claims no noise."""
    if x.var is None:
        raise ValueError("calibration expects an input with variances, got a point mass (var=None)")


def linear_layers(network):
    """The layers that learn under the linear law."""
    return [law for law in held(network, LinearLaw) if law.weight is not None]


def variance_weights(segmenter):
    """The parameters that `calibrate_step` learns."""
    laws = linear_layers(segmenter.network)
    found = [p for law in laws for p in (law.log_gain, law.loading, law.gate, law.drift)]
    found += [gate.weight for gate in held(segmenter.network, Gate)]  # if it has any
    return [p for p in found if p is not None]


def free_all(network, loading=0.0, common_modes=0, is_finished=True):
    """Frees the variance of every layer under the linear law; the last one's outputs are logits.

    common_modes: which layers have one: those with at least this share of the channels of the
    widest; 0 is all, infinity none. is_finished: the last layer has a gate and a drift. What these
    buy, and cost, is what `adf variants` measures.
    """
    laws = linear_layers(network)
    width = max(outputs(law) for law in laws)
    for law in laws:
        has_common_mode = outputs(law) >= common_modes * width
        free(law, loading if has_common_mode else None, is_finished and law is laws[-1])


def outputs(law):
    """Channels, or features, of what a linear layer gives."""
    return law.out_features if isinstance(law, Linear) else law.out_channels


def channel_gain(d, var):
    """mean of d / mean of var for every channel, (1, C, 1, 1); 1 where either is 0."""
    axes = (0, *range(2, d.ndim))
    d, var = (array.astype("float64").sum(axis=axes, keepdims=True) for array in (d, var))
    return xp.where((d > 0) * (var > 0), d / (var + (var == 0)), 1.0)


def begin(segmenter, x, rng, noise=white, gain_of=channel_gain, **freed):
    """Gives every linear layer weights for its variance, anew if it has some.

    They begin as those of independent inputs with a common cause, LOADING, scaled so that the
    variances of every output channel, averaged over the input x, are those of a pair. gain_of(d,
    var): that scale, from the pair's variances and ADF's; freed: as of `free_all`.
    """
    laws = linear_layers(segmenter.network)

    # A layer maps the two copies, and the input itself with the variances that are right so far.
    def leaf(layer, inputs):
        a, b, y = (layer.predict(x) for x in inputs)
        if layer in laws:
            gain = gain_of((a.mean - b.mean) ** 2 / 2, y.var)  # (9.11)
            scale_variance(layer, inputs[2].mean, gain)
            y = Gaussian(y.mean, gain.astype(y.var.dtype) * y.var)
        return a, b, y

    def join(layer, branches):
        return [layer.join(list(outputs)) for outputs in zip(*branches, strict=True)]

    free_all(segmenter.network, LOADING, **freed)
    # As one job, for then BLAS has one thread, and the bits are the same on any machine.
    inputs = (*noisy_pair(x, rng, noise), x)
    map_ordered(lambda job: fold(segmenter.network, job, leaf, join), [inputs])


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
    if law.loading is not None:
        law.loading.value = (law.loading.value * xp.sqrt(gain)).astype(dtype)


def measured(segmenter, x, rng, copies=COPIES, noise=white):
    """The logits' mean and unbiased variance over so many noisy copies of x, a Gaussian.

    x: what `segmenter.input` gives, or crops of it; its variances are those of the noise.
    noise(rng, var): draws it. The result does not depend on the number of threads. Raises
    ValueError on a point mass.
    """
    check_noise(x)
    parts = [slice(start, start + MICRO_BATCH) for start in range(0, len(x.mean), MICRO_BATCH)]

    # One micro-batch, with random numbers of its own.
    def work(job):
        rows, own = job
        mean, var = (field[rows] for field in x)
        noisy = (Gaussian(mean + noise(own, var)) for _ in range(copies))
        y = xp.stack([segmenter.network.predict(point).mean for point in noisy])
        off = y - y.mean(axis=0)
        return Gaussian(y.mean(axis=0), (off * off).sum(axis=0) / (copies - 1))  # (9.12)

    found = map_ordered(work, list(zip(parts, rng.spawn(len(parts)), strict=True)))
    return Gaussian(*(xp.concatenate(field) for field in zip(*found, strict=True)))


def log_bias(copies):
    """psi(n / 2) - log(n / 2), n = copies - 1, by its series: by so much log d is too low."""
    n = copies - 1
    return -1 / n - 1 / (3 * n * n)  # (9.13)


def calibrate_step(segmenter, optimizer, x, true, copies=COPIES):
    """Moves the parameters of the optimizer against the gradient of the mean loss; returns it.

    x: what `segmenter.input` gives, or crops of it; true: its logits as `measured` from so many
    copies. optimizer: of `variance_weights(segmenter)`, after `begin`. The network is as in
    `predict`: no running average moves. The result does not depend on the number of threads. Raises
    ValueError where a loss, gradient or weight is not finite; the parameters are then as they were.
    """
    fixed = copy.copy(segmenter)
    fixed.network = frozen(segmenter.network)

    # One micro-batch, on a replica; engine/micro_batches.py adds them up.
    def loss_of(replica, rows):
        y, backward = replica.network.forward(x.map(lambda field: field[rows]))
        mean, d = (field[rows] for field in true)
        error = xp.log(y.var / d) + log_bias(copies)
        off = MEAN_WEIGHT * (y.mean - mean) / d
        backward(Gaussian(off / true.var.size, error / y.var / true.var.size))  # (9.15)
        loss = (error * error + off * (y.mean - mean)) / 2  # (9.14)
        return loss.astype("float64").sum() / true.var.size

    return descend(fixed, optimizer, loss_of, len(x.mean), STEP_MICRO_BATCH)


def fit_head(segmenter, optimizer, logits, labels):
    """One step of the head alone, for these logits, Gaussians (N, K, H, W), and their labels."""
    head = copy.copy(segmenter)
    head.network = Identity()

    # For a network that is the identity, logits are the input.
    def loss_of(replica, rows):
        loss, backward = replica.loss(logits.map(lambda field: field[rows]), labels[rows])
        backward(1 / labels.size)
        return loss

    return descend(head, optimizer, loss_of, len(labels), STEP_MICRO_BATCH, labels.size)
