"""All cores busy: threads on different pieces of the batch, each with a single-threaded BLAS.

NumPy lets go of the interpreter's lock inside its loops and products. Results come back in the order of the jobs, and
how the batch is cut does not depend on the number of threads, so neither does any result.
"""

import functools
import os
from concurrent.futures import ThreadPoolExecutor

from threadpoolctl import ThreadpoolController

from . import backend


def threads():
    """How many threads work: ADF_THREADS, or every core this process may use. A GPU is fed by one."""
    if backend.name == "cupy":
        return 1
    text = os.environ.get("ADF_THREADS", "")
    if text and not (text.isdigit() and int(text) > 0):
        raise ValueError(f"ADF_THREADS={text!r}: expected a number of threads, 1 or more")
    return int(text) if text else len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def in_order(function, jobs):
    """Yields function(job) for every job, in order, computed by several threads at once."""
    count = min(threads(), len(jobs))
    with _controller().limit(limits=1, user_api="blas"):
        if count <= 1:
            yield from map(function, jobs)
            return
        with ThreadPoolExecutor(count) as pool:
            yield from pool.map(function, jobs)


@functools.cache
def _controller():
    return ThreadpoolController()
