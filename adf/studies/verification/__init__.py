"""`python -m adf verify`: every layer against exact arithmetic, samples and differences.

It needs mpmath. The modules, in reading order: `reference` has the closed forms, `expected` says
by them what a layer should give, `probes` and `cases` build the layers, `measure` measures them,
and `report` makes the table, with the words of `text`. `pooling` shows what an approximation
costs. `naive` has wrong rules, `mistakes` gives each of them an input, and `contrast` compares
them with the truth.
"""

from .report import SAMPLES, verify

__all__ = ["SAMPLES", "verify"]
