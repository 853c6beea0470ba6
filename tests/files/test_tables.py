"""Tables in Markdown: how numbers are written."""

import pytest

from adf.files.tables import markdown_table


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.96258, "0.9626"),
        (0.01, "0.0100"),
        (-0.5, "-0.5000"),
        (0.0098765, "0.00988"),
        (3e-7, "3e-07"),
        (0.0, "0.0000"),
        (12.5, "12.5000"),
        (7, "7"),
        (None, "-"),
        ("a|b", "a\\|b"),
    ],
)
def test_numbers_have_four_decimals_or_three_digits(value, text):
    """From 0.01 on four decimals, below that three digits, so that small ones say something."""
    assert markdown_table([{"name": value}]).split("\n")[2].strip("| ") == text
