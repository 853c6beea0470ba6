"""All cores busy: threads on different pieces of the work, each with a single-threaded BLAS.

NumPy releases the interpreter's lock inside its loops and products. Results come in the order of
the jobs, and how work is cut does not depend on the number of threads, so neither does any result.
"""

import collections
import functools
import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait

from threadpoolctl import ThreadpoolController

from .. import backend
from . import memory

# The limit on BLAS belongs to the process, so two callers at once would undo each other's.
_one_at_a_time = threading.Lock()


def thread_count():
    """How many threads work: ADF_THREADS, or every core this process may use. A GPU is fed by one.

    Raises ValueError on an ADF_THREADS that is no positive number.
    """
    text = os.environ.get("ADF_THREADS", "")
    if text and not (text.isdigit() and int(text) > 0):
        raise ValueError(f"ADF_THREADS={text!r}: expected a number of threads, 1 or more")
    if backend.name == "cupy":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return int(text) if text else cores


def map_ordered(function, jobs, consume=None):
    """[function(job) for job in jobs], computed by several threads at once.

    With `consume`, a result is handed to it, in this thread and in the order of the jobs, and then
    dropped, so memory does not grow with their number; nothing is returned. BLAS is held to one
    thread until all are done.
    """
    results = []
    consume = consume or results.append
    memory.keep()
    count = min(thread_count(), len(jobs))
    with _one_at_a_time, _blas().limit(limits=1, user_api="blas"):
        if count <= 1:
            for job in jobs:
                consume(function(job))
        else:
            _consume_ordered(_pool(count), function, jobs, consume)
    return results


def _consume_ordered(pool, function, jobs, consume):
    """Hands every result to `consume`. Where a job or `consume` fails, no job goes on."""
    pending = collections.deque(pool.submit(function, job) for job in jobs)
    try:
        while pending:
            consume(pending.popleft().result())
    finally:
        for job in pending:
            job.cancel()
        wait(pending)


@functools.cache
def _pool(count):
    """Threads that stay, and with them their buffers (program.py)."""
    return ThreadPoolExecutor(count)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked process has no such threads


@functools.cache
def _blas():
    return ThreadpoolController()
