"""How the kernels run: ADF_ENGINE=plain computes each by its definition, fast (default) sooner.

Theory takes three kernels from here, the same whichever engine serves them:

    fused        makes one pass of an elementwise function of arrays
    rho          E[d^2] / E[d] for d = max(e - t, 0), the one special function of the moments
    Correlation  the geometry of a convolution: apply, adjoint, weight_grad

plain.py says what they compute. The fast engine computes the same: Correlation by stacks.py and
products.py (on a GPU by columns.py), rho by mills.py, fused by trace.py and program.py (on a GPU by
CuPy); tests/engine holds them together.
threads.py, micro_batches.py and memory.py keep all cores busy under either engine.
"""

import os

from .. import backend
from ..backend import SwitchError

__all__ = ["Correlation", "fused", "name", "rho"]


def _load(name):
    """(fused, rho, Correlation) of the engine of that name."""
    # Only what serves is imported: the plain engine needs none of the other files.
    if name == "plain":
        from . import plain

        return plain.fused, plain.rho, plain.Correlation
    if name == "fast":
        from . import columns, stacks
        from .fusion import fused
        from .mills import rho

        serving = stacks if backend.name == "numpy" else columns
        return fused, rho, serving.Correlation
    raise SwitchError(
        f"ADF_ENGINE={name!r} is unknown: "
        "expected 'plain' (every kernel by its definition) or 'fast' (the same, sooner)"
    )


name = os.environ.get("ADF_ENGINE", "fast")
fused, rho, Correlation = _load(name)
