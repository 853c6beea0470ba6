"""A traced elementwise function on a CPU: a program of ufuncs that runs in buffers in the cache.

NumPy evaluates `a * x + b` as two passes, each into new memory; the moments of a kink are more than
fifty. The program runs block by block, every result in a buffer whose content is not needed any
more: the same operations, so the same bits, in two thirds of the time or less.
"""

import operator
import threading

import numpy

from . import memory

BLOCK = 1 << 17  # elements; a pass is so long that two threads rarely want the interpreter at once
_local = threading.local()  # every thread has buffers of its own, and keeps them


def as_number(comparison):
    """The comparison with results 0 and 1 among other numbers.

    Asked for these directly, NumPy takes five times as long.
    """

    def compared(a, b, out):
        numpy.copyto(out, comparison(a, b, out=buffers(1, bool)[0][: out.size]))

    return compared


def by_keyword(ufunc):
    """The ufunc where NumPy takes `out` as a keyword only."""
    return lambda a, b, out: ufunc(a, b, out=out)


INSTEAD = {u: as_number(u) for u in (numpy.equal, numpy.greater, numpy.greater_equal)}
INSTEAD |= {u: by_keyword(u) for u in (numpy.maximum, numpy.minimum)}


class Program:
    """The steps of a Trace, each a ufunc and what picks its operands and its result from `places`.

    The places are: arrays, results, constants, buffers. Between two ufuncs the other threads wait
    for the interpreter, so little is done there.
    """

    def __init__(self, trace):
        self.dtype = trace.dtype
        self.is_tuple = trace.is_tuple
        self.result_count = len(trace.results)
        operands = [o for _, operands, _ in trace.steps for o in operands]
        constants = list(dict.fromkeys(o for o in operands if type(o) is tuple))
        self.constants = [numpy.array(c, self.dtype) for (c,) in constants]  # faster than floats
        self._assign_places(trace, [*range(trace.arrays), *trace.results, *constants])

    def _assign_places(self, trace, fixed):
        """Gives every value a place: its own for what is `fixed`, else a buffer that is free.

        A buffer is free again as soon as its value is used for the last time, also for the result
        of that step.
        """
        # A place is known for what is fixed; `free` lists the buffers that hold nothing needed.
        place = {value: k for k, value in enumerate(fixed)}
        last_use = {o: n for n, (_, operands, _) in enumerate(trace.steps) for o in operands}
        free = []
        end = len(fixed)
        self.steps = []
        for n, (ufunc, operands, value) in enumerate(trace.steps):
            ending = (o for o in dict.fromkeys(operands) if last_use[o] == n)
            free += [place[o] for o in ending if place[o] >= len(fixed)]
            if value not in place:
                place[value] = free.pop() if free else end
                end = max(end, place[value] + 1)
            pick = operator.itemgetter(*(place[o] for o in operands), place[value])
            self.steps.append((INSTEAD.get(ufunc, ufunc), pick))
        self.buffers = end - len(fixed)

    def run(self, arrays):
        """The results for arrays of one shape."""
        flat = [a.reshape(-1) for a in arrays]
        size = flat[0].size
        results = [memory.empty((size,), self.dtype) for _ in range(self.result_count)]
        for start in range(0, size, BLOCK):
            blocks = [a[start : start + BLOCK] for a in (*flat, *results)]
            spare = [b[: blocks[0].size] for b in buffers(self.buffers, self.dtype)]
            places = [*blocks, *self.constants, *spare]
            for ufunc, operands_and_result in self.steps:
                ufunc(*operands_and_result(places))
        results = tuple(r.reshape(arrays[0].shape) for r in results)
        return results if self.is_tuple else results[0]


def buffers(count, dtype):
    """So many buffers of this thread, of BLOCK elements each; their content is anyone's."""
    kept = vars(_local).setdefault(dtype, [])
    kept += [memory.empty((BLOCK,), dtype) for _ in range(count - len(kept))]
    return kept[:count]
