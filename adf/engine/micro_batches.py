"""A batch in micro-batches on all cores: their losses and gradients are summed in their order."""

import copy

from ..backend import xp
from .threads import map_ordered


def sum_gradients(segmenter, loss_of, count, size):
    """Adds up what the micro-batches of `size` out of `count` images give: (loss, update_statistics).

    loss_of(replica, rows) runs forward and backward on the images of that slice, with a replica of
    the segmenter, and returns their loss. The replicas' gradients are added to the segmenter's.
    update_statistics() moves its running averages by what the replicas saw.
    """
    parameters = segmenter.parameters()
    batch_statistics = []
    total = 0

    # Every micro-batch draws from generators of its own, so threads cannot change what is drawn.
    jobs = [
        (slice(start, start + size), [g.spawn(1)[0] for g in segmenter.network.generators()])
        for start in range(0, count, size)
    ]

    def work(job):
        rows, generators = job
        replica = replicate(segmenter, generators)
        loss = loss_of(replica, rows)
        return loss, [p.grad for p in replica.parameters()], replica.network.statistics()

    def add(result):
        nonlocal total
        loss, gradients, statistics = result
        total = total + loss
        batch_statistics.append(statistics)
        for p, gradient in zip(parameters, gradients, strict=True):
            p.grad += gradient  # (6.11)

    def update_statistics():
        for statistics in batch_statistics:
            for own, other in zip(segmenter.network.statistics(), statistics, strict=True):
                own.absorb(other)

    map_ordered(work, jobs, add)
    return total, update_statistics


def replicate(segmenter, generators):
    """The segmenter with the same parameter values, shared, and with these random generators.

    Its gradients and its running averages are its own, and begin at 0.
    """
    instead = [(p.value, p.value) for p in segmenter.parameters()]
    instead += zip(segmenter.network.generators(), generators, strict=True)
    replica = copy.deepcopy(segmenter, {id(original): other for original, other in instead})
    for p in replica.parameters():
        p.grad = xp.zeros_like(p.value)
    for statistic in replica.network.statistics():
        statistic.value = xp.zeros_like(statistic.value)
        statistic.updates = 0
    return replica
