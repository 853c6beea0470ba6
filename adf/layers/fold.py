"""A walk through a network, layer by layer, for those that ask what each of them does."""

from .compose import Identity, Parallel, Sequential


def fold(layer, x, leaf, join):
    """Walks a network with a state: leaf(layer, x) at a layer, join(layer, [x, ...]) at a joint.

    With layer.predict(x) and layer.join(xs) for these two it is network.predict(x).
    """
    if isinstance(layer, Sequential):
        for inner in layer.layers:
            x = fold(inner, x, leaf, join)
        return x
    if isinstance(layer, Parallel):
        return join(layer, [fold(branch, x, leaf, join) for branch in layer.branches])
    return x if isinstance(layer, Identity) else leaf(layer, x)
