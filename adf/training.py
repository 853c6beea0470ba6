"""One step of learning: the batch cut into micro-batches, their gradients summed in order, Adam."""

import copy
import math

from .backend import host, name, to_host, xp
from .parallel import hand_over
from .segmenter import check_images

MICRO_BATCH = 4  # images that go through the network together, whose statistics batch norm takes
WITHOUT_STATISTICS = 2 if name == "numpy" else MICRO_BATCH  # half the activations to hold, more of them in the cache


def train_step(segmenter, optimizer, images, labels):
    """Moves the segmenter's parameters against the gradient of the mean loss per pixel, and returns that loss.

    images: (N, C, H, W), any real dtype; labels: (N, H, W) integers below the number of classes. Gradients
    accumulate over micro-batches, so a batch of any size fits, and the result does not depend on the number of threads.
    Raises ValueError on other shapes, images that are not finite, and labels that are no integers or out of range; and,
    with the parameters unchanged, where the loss is not finite.
    """
    images = check_images(images)
    labels, span = check_labels(images, labels)

    def work(job):
        rows, generators = job
        replica = replicate(segmenter, generators)
        loss, backward = replica.loss(images[rows], labels[rows], span)
        backward(1 / labels.size)  # (8.2)
        return loss, [p.grad for p in replica.parameters()], replica.network.statistics()

    parameters, loss, seen = segmenter.parameters(), 0, []
    for p in parameters:
        p.grad = xp.zeros_like(p.value)
    together = MICRO_BATCH if segmenter.network.statistics() else WITHOUT_STATISTICS
    jobs = [
        (slice(start, start + together), [g.spawn(1)[0] for g in segmenter.network.generators()])
        for start in range(0, len(images), together)
    ]

    def accumulate(result):
        nonlocal loss
        part, grads, statistics = result
        loss = loss + part
        seen.append(statistics)
        for p, grad in zip(parameters, grads, strict=True):
            p.grad += grad  # (6.11)

    hand_over(work, jobs, accumulate)
    loss = float(to_host(loss / labels.size))
    if not math.isfinite(loss):
        raise ValueError(f"the loss is {loss}, and the parameters are left as they were: try a lower learning rate")
    optimizer.step()
    for statistics in seen:
        for statistic, other in zip(segmenter.network.statistics(), statistics, strict=True):
            statistic.absorb(other)
    return loss


def replicate(segmenter, generators):
    """The segmenter with the same parameter values, shared, with these generators of random numbers, and with gradients
    and running averages of its own, all 0."""
    instead = [(p.value, p.value) for p in segmenter.parameters()]
    instead += zip(segmenter.network.generators(), generators, strict=True)
    replica = copy.deepcopy(segmenter, {id(original): other for original, other in instead})
    for p in replica.parameters():
        p.grad = xp.zeros_like(p.value)
    for statistic in replica.network.statistics():
        statistic.value, statistic.updates = xp.zeros_like(statistic.value), 0
    return replica


def check_labels(images, labels):
    """The labels as an array of the backend, and the least and the largest of them; asked where they lie."""
    labels = labels if isinstance(labels, xp.ndarray) else host.asarray(labels)
    if labels.shape != (len(images), *images.shape[2:]) or labels.dtype.kind not in "ui":
        raise ValueError(
            f"expected integer labels of shape {(len(images), *images.shape[2:])} for images of shape {images.shape}, "
            f"got {labels.dtype} of shape {labels.shape}"
        )
    return xp.asarray(labels), (int(labels.min()), int(labels.max()))
