"""`python -m adf compare`: systems, trained and measured side by side.

`plan` goes through all networks, `jobs` trains and scores one of them, and `tuning` searches for
settings. `scores` says what a network is asked, `rows` keeps the answers, and `claims` tests the
slides on them. `report` writes README.md with the words of `text`, the tables of `tables`, and the
pictures of `pictures` and `noise_figure`. `methods` asks the same, and more, of the ways to doubt.
"""

from .methods import compare_methods
from .plan import compare
from .tuning import tune

__all__ = ["compare", "compare_methods", "tune"]
