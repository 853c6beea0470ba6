"""All cores busy: threads on different pieces of the work, each with a single-threaded BLAS.

NumPy releases the interpreter's lock inside its loops and products. Results come in the order of
the jobs, and how work is cut does not depend on the number of threads, so neither does any result.
Nobody waits for the threads of another call, so jobs may call `map_ordered` themselves.
"""

import collections
import contextlib
import functools
import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait

import threadpoolctl

from .. import backend
from . import memory


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
    thread until all are done. While the threads serve one call, another (from a job, or from any
    other thread) does its jobs in its own thread.
    """
    results = []
    consume = consume or results.append
    memory.keep()
    count = min(thread_count(), len(jobs))
    with _crew.at_work(), _crew.threads(count) as pool:
        if pool is None:
            for job in jobs:
                consume(function(job))
        else:
            _consume_ordered(pool, function, jobs, consume)
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


class Crew:
    """Those who work in this process: they share a limit on BLAS, and one at a time has threads.

    limit: on BLAS, where it holds already.
    """

    def __init__(self, limit=None):
        self.limit = limit
        self._counting = threading.Lock()
        self._working = 0
        self._serving = threading.Lock()

    @contextlib.contextmanager
    def at_work(self):
        """Holds BLAS to one thread. The first who comes sets the limit, the last who goes lifts it.

        The limit belongs to the process: each with a limit of his own would undo the others'.
        """
        with self._counting:
            if self.limit is None:
                self.limit = _blas().limit(limits=1, user_api="blas")
                _let_go()
            self._working += 1
        # Whatever happens meanwhile, one fewer works afterwards.
        try:
            yield
        finally:
            with self._counting:
                self._working -= 1
                if self._working == 0:
                    self.limit.restore_original_limits()
                    _let_go()
                    self.limit = None

    @contextlib.contextmanager
    def threads(self, count):
        """The pool of that many, or None where one thread is enough or another call has them."""
        serving = count > 1 and self._serving.acquire(blocking=False)
        try:
            yield _pool(count) if serving else None
        finally:
            if serving:
                self._serving.release()


@functools.cache
def _pool(count):
    """Threads that stay, and with them their buffers (program.py)."""
    return ThreadPoolExecutor(count)


@functools.cache
def _blas():
    return threadpoolctl.ThreadpoolController()


def _let_go():
    """Lets another thread lift a limit: a newer threadpoolctl lets only the one that set it."""
    controller = threadpoolctl.OpenBLASController
    getattr(controller, "clear_controlling_thread", lambda: None)()


def _renew():
    """In a forked process no thread of the pool lives, and none that would open a lock."""
    global _crew
    _pool.cache_clear()
    _crew = Crew(_crew.limit)  # the limit was copied, too, and the next who goes lifts it


_crew = Crew()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
