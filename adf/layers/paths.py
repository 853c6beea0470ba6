"""Where in an object its parameters are: their names in files. Skip this file at first reading."""


def held(owner, kind):
    """Every Parameter (or Statistic, or Generator) that an object holds, each once: a list."""
    return [thing for _, thing in _first_paths(owner, kind)]


def named(owner, kind):
    """path -> thing, for all that `held` lists.

    A path is made of attributes and positions, such as network.layers.0.weight; what has parameters
    of its own is walked into. What is used twice has the first of its paths.
    """
    return {".".join(map(str, path)): thing for path, thing in _first_paths(owner, kind)}


def _first_paths(owner, kind):
    first_path = {}
    for path, thing in _walk(owner, kind, ()):
        first_path.setdefault(id(thing), (path, thing))
    return first_path.values()


def _walk(owner, kind, path):
    for name, value in vars(owner).items():
        is_list = isinstance(value, tuple | list)
        for position, item in enumerate(value) if is_list else ((None, value),):
            here = (*path, name, position) if is_list else (*path, name)
            if isinstance(item, kind):
                yield here, item
            elif hasattr(item, "parameters") and hasattr(item, "forward"):
                yield from _walk(item, kind, here)
