"""All cores busy: threads on different pieces of the batch, each with a single-threaded BLAS.

NumPy lets go of the interpreter's lock inside its loops and products. Results come back in the order of the jobs, and
how the batch is cut does not depend on the number of threads, so neither does any result.
"""

import collections
import functools
import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait

from threadpoolctl import ThreadpoolController

from . import backend, memory

_one_at_a_time = threading.Lock()  # the limit on BLAS belongs to the process: two callers would undo each other's


def threads():
    """How many threads work: ADF_THREADS, or every core this process may use. A GPU is fed by one."""
    text = os.environ.get("ADF_THREADS", "")
    if text and not (text.isdigit() and int(text) > 0):
        raise ValueError(f"ADF_THREADS={text!r}: expected a number of threads, 1 or more")
    if backend.name == "cupy":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return int(text) if text else cores


def in_order(function, jobs):
    """[function(job) for job in jobs], computed by several threads at once."""
    results = []
    hand_over(function, jobs, results.append)
    return results


def hand_over(function, jobs, take):
    """Calls take(function(job)) for every job, in their order; `take` in this thread, function in several at once.

    No result is kept once it was taken. BLAS is held to one thread until all are done.
    """
    memory.keep()
    count = min(threads(), len(jobs))
    with _one_at_a_time, _controller().limit(limits=1, user_api="blas"):
        if count <= 1:
            for job in jobs:
                take(function(job))
            return
        pending = collections.deque(_pool(count).submit(function, job) for job in jobs)
        try:
            while pending:
                take(pending.popleft().result())
        finally:  # where a job failed, or take did
            for job in pending:
                job.cancel()
            wait(pending)


@functools.cache
def _pool(count):
    """Threads that stay: so do their buffers (fusion.py)."""
    return ThreadPoolExecutor(count)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked process has none of these threads


@functools.cache
def _controller():
    return ThreadpoolController()
