"""map_ordered: what fails on the way holds up nothing; nobody waits for another's threads."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info

import adf
from adf.engine import threads
from adf.engine.threads import map_ordered
from adf.gaussian import Gaussian


def test_what_fails_on_the_way_holds_up_nothing(monkeypatch):
    """A job or its taker raises: the next call works.

    It works also while the traceback lives, and for another thread.
    """
    for count in ("1", "2"):
        monkeypatch.setenv("ADF_THREADS", count)
        taken = []
        with pytest.raises(ZeroDivisionError) as failed_job:
            map_ordered(lambda job: 1 / job, [2, 1, 0, 1], taken.append)
        assert taken == [0.5, 1]
        with pytest.raises(ValueError, match="enough") as failed_take:
            map_ordered(str, range(9), take_none)
        assert map_ordered(str, range(4)) == ["0", "1", "2", "3"], (failed_job, failed_take)
        with ThreadPoolExecutor(1) as other:
            assert other.submit(map_ordered, str, range(2)).result(timeout=60) == ["0", "1"]


def take_none(result):
    raise ValueError("enough")


def test_a_failure_cancels_what_is_pending(monkeypatch):
    monkeypatch.setenv("ADF_THREADS", "2")
    begun = []

    def job(number):
        begun.append(number)
        time.sleep(0.02)
        return 1 / number

    with pytest.raises(ZeroDivisionError):
        map_ordered(job, [0, *range(1, 100)])
    before = len(begun)
    assert before < 20
    time.sleep(0.1)
    assert len(begun) == before  # and none goes on behind our back


def blas_threads():
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


@pytest.fixture
def two_blas_threads():
    """BLAS as on a computer of two cores or more; it is so again afterwards."""
    limit = threads._blas().limit(limits=2, user_api="blas")
    threads._let_go()
    if blas_threads() != {2}:
        pytest.skip("this BLAS has one thread")
    yield
    assert blas_threads() == {2}
    limit.restore_original_limits()
    threads._let_go()


@pytest.mark.parametrize("count", ["1", "2"])
def test_blas_has_one_thread_while_jobs_run_and_its_own_number_after(
    count, monkeypatch, two_blas_threads
):
    monkeypatch.setenv("ADF_THREADS", count)
    assert map_ordered(lambda job: blas_threads(), range(4)) == [{1}] * 4
    assert blas_threads() == {2}
    for job, take in ((lambda job: 1 / job, None), (str, take_none)):
        with pytest.raises((ZeroDivisionError, ValueError)):
            map_ordered(job, [2, 1, 0, 1], take)
        assert blas_threads() == {2}


def test_blas_has_one_thread_until_the_last_of_several_callers_goes(monkeypatch, two_blas_threads):
    """The first to come goes first, so it is another thread that lifts the limit."""
    monkeypatch.setenv("ADF_THREADS", "2")
    both_here, first_gone = threading.Barrier(2), threading.Event()

    def first(number):
        if number == 0:
            both_here.wait(30)
        return blas_threads()

    def last(number):
        if number == 0:
            both_here.wait(30)
            first_gone.wait(30)
        return blas_threads()

    with ThreadPoolExecutor(1) as a, ThreadPoolExecutor(1) as b:
        one, other = a.submit(map_ordered, first, range(2)), b.submit(map_ordered, last, range(2))
        assert one.result(60) == [{1}] * 2
        first_gone.set()
        assert other.result(60) == [{1}] * 2
        assert blas_threads() == {2}


def within_a_minute(function, *args):
    """The result, or a failure where it hangs; a thread that hangs does not hold up the tests."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function(*args)), daemon=True)
    thread.start()
    thread.join(60)
    assert found, "it hangs"
    return found[0]


@pytest.mark.parametrize("count", ["1", "2", "3"])
def test_a_nested_call_runs_serially(count, monkeypatch, two_blas_threads):
    """From a job, from what takes the results, and from a thread that a job waits for."""
    monkeypatch.setenv("ADF_THREADS", count)
    rows = [[f"{i}{j}" for j in range(3)] for i in range(5)]
    monkeypatch.setattr(threads, "_crew", threads.Crew())  # one that hangs holds up no other test

    def row(i):
        return map_ordered(lambda j: f"{i}{j}", range(3))

    def row_by_another_thread(i):
        with ThreadPoolExecutor(1) as other:
            return other.submit(row, i).result()

    taken = []
    for job in (row, row_by_another_thread):
        assert within_a_minute(map_ordered, job, range(5)) == rows
    within_a_minute(map_ordered, int, range(5), lambda i: taken.append(row(i)))
    assert taken == rows
    assert within_a_minute(map_ordered, lambda i: map_ordered(row, range(i)), [2, 5]) == [
        rows[:2],
        rows,
    ]


def test_a_layer_may_predict(monkeypatch):
    monkeypatch.setenv("ADF_THREADS", "2")
    monkeypatch.setattr(threads, "_crew", threads.Crew())
    inner = adf.Segmenter(adf.Conv2d(1, 2, 1, rng=0), None)

    class Asks(adf.Layer):
        """The probabilities that another network gives."""

        def predict(self, x):
            return Gaussian(adf.backend.xp.asarray(adf.predict(inner, x.mean).probabilities))

    images = np.random.default_rng(0).normal(size=(6, 1, 8, 8))
    outer = adf.Segmenter(adf.Sequential(Asks(), adf.Conv2d(2, 2, 1, rng=1)), None)
    found = within_a_minute(adf.predict, outer, images)
    monkeypatch.setenv("ADF_THREADS", "1")
    assert np.array_equal(found.probabilities, adf.predict(outer, images).probabilities)


def child_of(code):
    """The exit status of a Python process that runs this code, which may fork."""
    head = "import os, threading, time, warnings; warnings.simplefilter('ignore')\n"
    head += "from adf.engine import threads; from adf.engine.threads import map_ordered\n"
    tail = "\nraise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    root = Path(adf.__file__).parents[1]
    return subprocess.run([sys.executable, "-c", head + code + tail], timeout=60, cwd=root)


fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@fork
def test_a_forked_process_has_threads_of_its_own(monkeypatch):
    monkeypatch.setenv("ADF_THREADS", "2")
    code = (
        "map_ordered(str, range(4)); child = os.fork()\n"
        "if child == 0: os._exit(map_ordered(str, range(2)) != ['0', '1'])"
    )
    assert child_of(code).returncode == 0


FORK_WHILE_A_THREAD_WORKS = """
from threadpoolctl import threadpool_info
def blas():
    return [i["num_threads"] for i in threadpool_info() if i["user_api"] == "blas"]
before, inside = blas(), threading.Event()
def job(number):
    inside.set()
    time.sleep(0.5)
worker = threading.Thread(target=map_ordered, args=(job, range(4)))
worker.start()
inside.wait()
child = os.fork()
if child == 0:
    right = map_ordered(lambda job: blas(), range(3)) == [[1] * len(before)] * 3
    has_threads = threads._crew._serving.acquire(blocking=False)
    os._exit(not (right and has_threads and blas() == before))
worker.join()
if blas() != before:
    os.kill(child, 9)
"""


@fork
@pytest.mark.parametrize("count", ["1", "2"])
def test_a_process_forked_while_a_thread_works_does_not_hang(count, monkeypatch):
    """It has locks of its own, and its BLAS has all threads again when its own work is done."""
    monkeypatch.setenv("ADF_THREADS", count)
    assert child_of(FORK_WHILE_A_THREAD_WORKS).returncode == 0
