"""`python -m adf compare`: the systems of the slides, trained and measured side by side."""

from .plan import compare
from .tuning import tune

__all__ = ["compare", "tune"]
