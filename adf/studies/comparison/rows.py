"""Rows of scores: list of dict, kept as CSV."""

import csv
import io
from pathlib import Path

from ...files.atomic import atomic_write

NEEDED = {"condition", "told", "system", "seed"}  # columns without which nothing can be looked up


def write(path, rows):
    """Writes the rows, whole or not at all; a row may lack columns that others have."""
    text = io.StringIO()
    columns = list(dict.fromkeys(column for row in rows for column in row))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())


def read(path, needed=NEEDED):
    """The rows that `write` wrote; a number comes back as a float, an empty cell as None.

    Raises ValueError, in one line, on a file that was cut or changed, or lacks a needed column.
    """
    text = Path(path).read_bytes().decode(errors="replace")
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    except csv.Error:
        rows = []
    # A row that was cut lacks cells, or the end of its line; one that is too long has the key None.
    whole = all(needed <= row.keys() and None not in (*row, *row.values()) for row in rows)
    if not rows or not whole or not text.endswith("\n"):
        raise ValueError(
            f"{path}: expected rows of scores, got other text or a part of them; "
            "cut short? remove it, and it is made anew"
        )
    return [{key: _value(cell) for key, cell in row.items()} for row in rows]


def values(rows, study, condition, system, metric, told=False):
    """One metric of one system in one condition: a list over the seeds."""
    key = (study, condition, system, told)
    return [r[metric] for r in rows if (r["study"], r["condition"], r["system"], r["told"]) == key]


def _value(text):
    """A truth value, a number, None where the cell is empty, or text."""
    if text in ("True", "False"):
        return text == "True"
    try:
        return float(text) if text else None
    except ValueError:
        return text
