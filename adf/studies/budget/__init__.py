"""`python -m adf budget`: how far a network's variances are from the true ones, layer by layer, and why."""

from .stages import CAUSES, Stage, measure

__all__ = ["CAUSES", "Stage", "measure"]
