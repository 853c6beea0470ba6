"""One step of learning: the gradient of the loss, summed over micro-batches, and Adam."""

import math

from .backend import name, xp
from .engine.micro_batches import sum_gradients
from .layers.checks import check_finite, check_grey_var, check_images, check_labels

# Images that go through the network together. Batch norm takes their statistics.
MICRO_BATCH = 4
# Without batch norm the size is free: few fit a CPU's cache, and many spare a GPU launches.
MICRO_BATCH_WITHOUT_NORM = 2 if name == "numpy" else 16


def train_step(segmenter, optimizer, images, labels, grey_var=None):
    """Moves the parameters against the gradient of the mean loss per pixel, and returns that loss.

    images: (N, C, H, W), any real dtype; labels: (N, H, W) integers below the number of classes;
    grey_var: the variance of the images' noise where it is known, as of `Segmenter.input`.
    Gradients accumulate over micro-batches, so a batch of any size fits, and the result does not
    depend on the number of threads. Raises ValueError on other shapes, images that are not finite,
    labels that are no integers or out of range, and on a loss, a gradient or a weight that is not
    finite; the parameters are then as they were. (A step that overflows is noticed by the next.)
    """
    images = check_images(images, segmenter.network)
    labels, label_range = check_labels(labels, images.shape)
    var = check_grey_var(grey_var, images, segmenter)

    # One micro-batch, on a replica of the segmenter; engine/micro_batches.py adds them up.
    def loss_of(replica, rows):
        x = replica.normalised(images[rows], None if var is None else var[rows])
        loss, backward = replica.loss(x, labels[rows], label_range)
        backward(1 / labels.size)  # (8.2)
        return loss

    size = MICRO_BATCH if segmenter.network.statistics() else MICRO_BATCH_WITHOUT_NORM
    return descend(segmenter, optimizer, loss_of, len(labels), size, labels.size)


def descend(segmenter, optimizer, loss_of, count, size, parts=1):
    """One step of the optimizer, for the micro-batches of `size` out of `count` images.

    Returns the sum of their losses over `parts`. loss_of: see `sum_gradients`. Raises ValueError on
    what is not finite.
    """
    for p in segmenter.parameters():
        p.grad = xp.zeros_like(p.value)
    total, update_statistics = sum_gradients(segmenter, loss_of, count, size)
    loss = check_finite(total / parts, segmenter)
    optimizer.step()
    update_statistics()
    return loss


class Adam:
    """Adam (Kingma & Ba, ICLR 2015) with bias correction.

    `step()` updates every parameter from the running moments of its gradient g (algorithm 1):
    m = beta1 m + (1 - beta1) g,    v = beta2 v + (1 - beta2) g**2,
    value -= learning_rate (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps).
    Raises ValueError on a learning_rate that is not positive and finite.
    """

    def __init__(self, parameters, learning_rate=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
        if not 0 < learning_rate < math.inf:
            raise ValueError(
                f"Adam expects a positive, finite learning_rate, got {learning_rate!r}"
            )
        self.parameters = list(parameters)
        self.learning_rate = learning_rate
        self.beta1 = float(beta1)
        self.beta2 = float(beta2)
        self.eps = float(eps)
        self.t = 0
        self.m = [xp.zeros_like(p.value) for p in self.parameters]
        self.v = [xp.zeros_like(p.value) for p in self.parameters]

    def step(self):
        self.t += 1
        # Floats, here and above, for a NumPy scalar would promote float32 weights.
        rate = float(self.learning_rate) / (1 - self.beta1**self.t)
        scale = (1 - self.beta2**self.t) ** 0.5
        for i, p in enumerate(self.parameters):
            g = p.grad
            self.m[i] = self.beta1 * self.m[i] + (1 - self.beta1) * g
            self.v[i] = self.beta2 * self.v[i] + (1 - self.beta2) * g * g  # (6.12)
            p.value = p.value - rate * self.m[i] / (xp.sqrt(self.v[i]) / scale + self.eps)  # (6.13)
