"""Deep ensembles (Lakshminarayanan, Pritzel & Blundell, NeurIPS 2017): networks of other seeds."""

from ..training import train_step


def seeds(seed, members):
    """Those of the members, 1000 * seed + s: of weights and data. No two ensembles share one."""
    return range(1000 * seed, 1000 * seed + members)


def ensemble_step(mixture, optimizers, batches):
    """`train_step` for each member, with its own optimizer and batch -> the mean of the losses."""
    members = zip(mixture.members, optimizers, batches, strict=True)
    losses = [train_step(member, optimizer, *batch) for member, optimizer, batch in members]
    return sum(losses) / len(losses)
