"""map_ordered: what fails on the way holds up nothing, also in a forked process."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import adf
from adf.engine.threads import map_ordered


def test_what_fails_on_the_way_holds_up_nothing(monkeypatch):
    """A job or its taker raises: the next call works.

    It works also while the traceback lives, and for another thread.
    """
    for threads in ("1", "2"):
        monkeypatch.setenv("ADF_THREADS", threads)
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_has_threads_of_its_own(monkeypatch):
    monkeypatch.setenv("ADF_THREADS", "2")
    code = (
        "import os, warnings; warnings.simplefilter('ignore'); "
        "from adf.engine.threads import map_ordered\n"
        "map_ordered(str, range(4)); child = os.fork()\n"
        "if child == 0: os._exit(map_ordered(str, range(2)) != ['0', '1'])\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], timeout=60, cwd=Path(adf.__file__).parents[1]
        ).returncode
        == 0
    )
