"""Every layer against exact arithmetic, samples and differences: python -m adf verify. Needs mpmath.

In reading order: reference (closed forms), expected (for a layer), probes, cases, measure, report (the table); pooling
(what an approximation costs); naive (wrong rules), contrast (one beside the truth), mistakes (its rows).
"""

from .report import SAMPLES, verify

__all__ = ["SAMPLES", "verify"]
