"""A batch in micro-batches on all cores: their losses and gradients are summed in their order."""

import copy

from ..backend import xp
from .threads import map_ordered


def sum_gradients(segmenter, loss_of, count, size):
    """The sums over micro-batches of `size` out of `count` images -> (loss, update_statistics).

    loss_of(replica, rows) runs forward and backward on the images of that slice, with a replica of
    the segmenter, and returns their loss. The replicas' gradients are added to the segmenter's.
    update_statistics() moves its running averages by what the replicas saw.
    """

    def work(job):
        rows, generators = job
        replica = replicate(segmenter, generators)
        return loss_of(replica, rows), replica

    # Every micro-batch draws from generators of its own, so threads cannot change what is drawn.
    jobs = [
        (slice(start, start + size), [g.spawn(1)[0] for g in segmenter.network.generators()])
        for start in range(0, count, size)
    ]
    total = Total(segmenter)
    map_ordered(work, jobs, total.add)
    return total.loss, total.update_statistics


class Total:
    """The sums over micro-batches: of the loss, and of gradients in the segmenter's own."""

    def __init__(self, segmenter):
        self.parameters = segmenter.parameters()
        self.statistics = segmenter.network.statistics()
        self.loss = 0
        self.batch_statistics = []

    def add(self, result):
        loss, replica = result
        self.loss = self.loss + loss
        self.batch_statistics.append(replica.network.statistics())
        for own, other in zip(self.parameters, replica.parameters(), strict=True):
            own.grad += other.grad  # (6.11)

    def update_statistics(self):
        for statistics in self.batch_statistics:
            for own, other in zip(self.statistics, statistics, strict=True):
                own.absorb(other)


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
