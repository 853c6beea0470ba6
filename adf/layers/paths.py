"""Where in an object its parameters are: their names in files. Skip this file at first reading."""

LEAVES = (int, float, str, bool, type(None))  # they hold nothing; most attributes are of these


def held(owner, kind):
    """Every Parameter (or Statistic, or Generator) that an object holds, each once: a list."""
    return [thing for _, thing in _first_paths(owner, kind)]


def named(owner, kind):
    """path -> thing, for all that `held` lists.

    A path is made of attributes, positions and keys, such as network.layers.0.weight; layers,
    segmenters, lists, tuples and dicts are walked into, however deep. What is used twice has the
    first of its paths. Raises ValueError where two things have one path.
    """
    found = {}
    for path, thing in _first_paths(owner, kind):
        name = ".".join(map(str, path))
        if name in found:
            raise ValueError(f"{type(owner).__name__} has two things with the path {name}")
        found[name] = thing
    return found


def _first_paths(owner, kind):
    first_path = {}
    _collect(vars(owner).items(), kind, (), first_path)
    return first_path.values()


def _collect(items, kind, path, first_path):
    for name, value in items:
        if isinstance(value, kind):
            first_path.setdefault(id(value), ((*path, name), value))
        elif type(value) not in LEAVES:
            inside = _inside(value)
            if inside:
                _collect(inside, kind, (*path, name), first_path)


def _inside(value):
    """What may hold more: the (name, value) of what has parameters, a list, tuple or dict."""
    if isinstance(value, dict):
        return value.items()
    if isinstance(value, list | tuple):
        return enumerate(value)
    return vars(value).items() if hasattr(value, "parameters") else ()
