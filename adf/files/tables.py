"""Tables in Markdown, for the terminal and for files."""

import numpy as np


def markdown_table(rows):
    """A list of dicts, one per row, the first entry its name  -> a Markdown table that also reads as plain text.

    An undefined or missing value is a dash.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns, *([_cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * (w - 1) + "-:"[i > 0] for i, w in enumerate(widths)])
    padded = (
        [
            cell.rjust(w) if i else cell.ljust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    )
    return "\n".join("| " + " | ".join(line) + " |" for line in padded)


def _cell(value):
    if isinstance(value, str):
        return value.replace("|", "\\|")
    if value is None or np.isnan(value):
        return "-"
    if isinstance(value, int | np.integer):
        return str(value)
    return f"{value:.4f}" if value == 0 or abs(value) >= 0.01 else f"{value:.3g}"
