"""Tables in Markdown, for the terminal and for files."""

import numpy as np


def markdown_table(rows):
    """A list of dicts, one per row, the first entry its name  -> a Markdown table.

    It also reads as plain text. An undefined or missing value is a dash.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns, *([_cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    # Below the header lies a rule; its colons align all columns but the names to the right.
    lines.insert(1, ["-" * (width - 1) + "-:"[i > 0] for i, width in enumerate(widths)])
    return "\n".join("| " + " | ".join(_padded(line, widths)) + " |" for line in lines)


def _padded(line, widths):
    """The cells of a line at the widths of their columns: names left, values right."""
    return [
        cell.rjust(width) if i else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]


def _cell(value):
    if isinstance(value, str):
        return value.replace("|", "\\|")
    if value is None or np.isnan(value):
        return "-"
    if isinstance(value, int | np.integer):
        return str(value)
    return f"{value:.4f}" if value == 0 or abs(value) >= 0.01 else f"{value:.3g}"
