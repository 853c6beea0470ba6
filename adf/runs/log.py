"""log.csv: a line for every step. What was done comes back whole, or the log is refused."""

import math
import re
import sys

from tqdm import tqdm

from ..files.atomic import atomic_write
from ..files.opening import open_regular

HEADER = "step,loss,learning_rate"
LONGEST = 200  # characters of a line
NUMBER = r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?(?:e[+-]?[0-9]{1,3})?"
ROW = re.compile(rf"([0-9]{{1,12}}),({NUMBER}),({NUMBER})")


def line(step, loss, learning_rate):
    return f"{step},{loss!r},{learning_rate!r}\n"


def begin(path):
    """A log of no steps. Raises ValueError where there is one that has some: it is not ours."""
    if path.exists():
        losses, has_others = _read(path, lambda step: None)
        if losses or has_others:
            raise ValueError(
                f"{path}: expected no log where there is no checkpoint.npz, got one with lines; "
                "of another training? Move it away, or choose another --out"
            )
    _write(path, [])


def cut(path, step, learning_rate_at):
    """Cuts the log back to the first `step` steps: what came after will be computed again.

    learning_rate_at(step) is the rate that led from that step to the next. Lines of these steps
    that are whole are kept, whatever stands between them. Raises ValueError, with nothing changed,
    where one of them is missing or comes twice with different numbers.
    """
    if not path.exists() and step:
        _say(f"{path} is gone: a new one begins with step {step + 1}")
        return _write(path, [])
    losses, has_others = _read(path, learning_rate_at) if path.exists() else ({}, False)
    # Every step that is done must have its line, for only a training could make it again.
    missing = [n for n in range(1, step + 1) if losses.get(n) is None]
    if missing:
        raise ValueError(
            f"{path}: expected a line for each of the {step} steps that checkpoint.npz has done, "
            f"got none, a damaged one or different ones for step {missing[0]}; cut short, edited? "
            f"Restore it; or remove it, and a new one begins with step {step + 1}"
        )
    if has_others:
        _say(f"{path}: left out lines that are no steps of this training")
    _write(path, [line(n, losses[n], learning_rate_at(n - 1)) for n in range(1, step + 1)])


def _read(path, learning_rate_at):
    """(step -> loss, whether other lines are there). The loss of a step with two is None."""
    losses = {}
    has_others = False
    with open_regular(path) as file:
        # There is a limit, for not every file has lines.
        for octets in iter(lambda: file.readline(LONGEST), b""):
            text = octets.decode("utf-8", "replace").strip("\ufeff \r\n")
            found = _row(text, learning_rate_at)
            if found:
                step, loss = found
                losses[step] = loss if losses.get(step, loss) == loss else None
            # The last line of a process that was killed may be cut, where nobody needs it.
            elif text not in (HEADER, "") and (octets[-1:] == b"\n" or len(octets) == LONGEST):
                has_others = True
    return losses, has_others


def _row(text, learning_rate_at):
    """(step, loss) of a whole line, or None. A line that is cut has another learning rate."""
    match = ROW.fullmatch(text)
    if not match or int(match[1]) < 1:
        return None
    expected = learning_rate_at(int(match[1]) - 1)
    is_whole = expected is None or math.isclose(float(match[3]), expected, rel_tol=1e-9)
    return (int(match[1]), float(match[2])) if is_whole else None


def _write(path, lines):
    with atomic_write(path) as file:
        file.write("".join([HEADER + "\n", *lines]).encode())


def _say(text):
    tqdm.write(f"adf: {text}", file=sys.stderr)
