"""Deep ensembles (Lakshminarayanan, Pritzel & Blundell, NeurIPS 2017).

Networks that share nothing: each has its own initial weights and its own order of the images, and
all of them see the whole training set.
"""

from ..training import train_step


def seeds(seed, members):
    """Those of the members: 1000 * seed + s. So up to 1000 members no two ensembles share one."""
    return range(1000 * seed, 1000 * seed + members)


def ensemble_step(mixture, optimizers, batches):
    """`train_step` for each member, with its own optimizer and batch -> the mean of the losses."""
    members = zip(mixture.members, optimizers, batches, strict=True)
    losses = [train_step(member, optimizer, *batch) for member, optimizer, batch in members]
    return sum(losses) / len(losses)
