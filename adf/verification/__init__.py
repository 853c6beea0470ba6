"""Every layer against exact arithmetic, samples and differences: python -m adf verify. Needs mpmath.

In reading order: reference (closed forms), expected (for a layer), probes, cases, measure, pooling, report (the table).
"""

from .report import SAMPLES, verify

__all__ = ["SAMPLES", "verify"]
