"""Where in an object its parameters are: their names in files. Skip this file at first reading."""


def named(owner, kind):
    """path -> thing, for every Parameter (or Statistic, or Generator) that an object holds.

    A path is made of attributes and positions, such as network.layers.0.weight; what has parameters
    of its own is walked into. What is used twice has the first of its paths.
    """
    first_path = {}
    for path, thing in _walk(owner, kind):
        first_path.setdefault(id(thing), (path, thing))
    return dict(first_path.values())


def _walk(owner, kind):
    for name, value in vars(owner).items():
        items = {name: value}
        if isinstance(value, tuple | list):
            items = {f"{name}.{position}": item for position, item in enumerate(value)}
        for path, item in items.items():
            if isinstance(item, kind):
                yield path, item
            elif hasattr(item, "parameters") and hasattr(item, "forward"):
                yield from ((f"{path}.{inner}", thing) for inner, thing in _walk(item, kind))
