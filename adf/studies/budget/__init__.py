"""`python -m adf budget`: how far are a network's variances from the true ones, layer by layer?

And why: `stages` measures it, `report` and `figure` show it, with the words of `text`.
"""

from .stages import CAUSES, Stage, measure

__all__ = ["CAUSES", "Stage", "measure"]
