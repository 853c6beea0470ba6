"""What `fused` makes of an elementwise function on a CPU: a program of ufuncs that runs in buffers in the cache.

NumPy evaluates `a * x + b` as two passes, each into new memory; the moments of a kink are more than fifty. Here the
function is called once, with symbols that write down what is asked of them. The program runs block by block, every
result in a buffer whose content is not needed any more: the same operations, so the same bits, in two thirds of the
time or less.
"""

import operator
import threading

import numpy

from . import memory

BLOCK = 1 << 17  # elements: a pass over a block is long enough that two threads rarely want the interpreter together
_local = threading.local()  # every thread has buffers of its own, and keeps them


def as_number(comparison):
    """The comparison with results 0 and 1 among other numbers. (Asked for these, NumPy takes five times as long.)"""

    def compared(a, b, out):
        numpy.copyto(out, comparison(a, b, out=buffers(1, bool)[0][: out.size]))

    return compared


def by_keyword(ufunc):
    """The ufunc where NumPy takes `out` as a keyword only."""
    return lambda a, b, out: ufunc(a, b, out=out)


INSTEAD = {u: as_number(u) for u in (numpy.equal, numpy.greater, numpy.greater_equal)}
INSTEAD |= {u: by_keyword(u) for u in (numpy.maximum, numpy.minimum)}


class Symbol(numpy.lib.mixins.NDArrayOperatorsMixin):
    """An array while a function is traced. Comparisons give 0 and 1 in the dtype of the program."""

    def __init__(self, program, value):
        self.program, self.value = program, value

    @property
    def dtype(self):
        return self.program.dtype

    def astype(self, dtype):
        return self

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if method != "__call__" or kwargs:
            raise TypeError(f"a fused function is made of plain expressions, got {ufunc.__name__}, {kwargs or method}")
        return self.program.record(ufunc, inputs)

    def __array_function__(self, function, *_):
        raise TypeError(f"a fused function is made of ufuncs, got {function.__name__}")


class Program:
    """The ufuncs of function(*arrays, *scalars) for so many arrays of this dtype, in their order.

    Values are numbered: the arrays, then what each step computes; a constant is (constant,). While the function is
    traced, a step is a ufunc, its operands and its result; then a ufunc and what picks these from the list of places:
    arrays + results + constants + buffers. Between two ufuncs the other threads wait, so little is done there.
    """

    def __init__(self, function, dtype, arrays, scalars):
        self.dtype, self.arrays, self.steps, self.known = dtype, arrays, [], {}
        returned = function(*(Symbol(self, value) for value in range(arrays)), *scalars)
        self.several = isinstance(returned, tuple)
        self.results = [symbol.value for symbol in (returned if self.several else (returned,))]
        if len(set(self.results)) < len(self.results) or min(self.results) < arrays:
            raise TypeError("a fused function computes each of its results, and each once")
        self.constants = list(dict.fromkeys(o for _, operands, _ in self.steps for o in operands if type(o) is tuple))
        self._assign_places()

    def record(self, ufunc, inputs):
        """The symbol of ufunc(*inputs); the same one where that was asked before."""
        operands = tuple(i.value if isinstance(i, Symbol) else (i,) for i in inputs)
        ufunc = INSTEAD.get(ufunc, ufunc)
        if (ufunc, operands) not in self.known:
            value = self.arrays + len(self.steps)
            self.steps.append((ufunc, operands, value))
            self.known[ufunc, operands] = Symbol(self, value)
        return self.known[ufunc, operands]

    def _assign_places(self):
        """A buffer is free again as soon as its value is used for the last time: also for the result of that step."""
        fixed = [*range(self.arrays), *self.results, *self.constants]
        place, free, end = {value: k for k, value in enumerate(fixed)}, [], len(fixed)
        last_use = {o: n for n, (_, operands, _) in enumerate(self.steps) for o in operands}
        for n, (ufunc, operands, value) in enumerate(self.steps):
            free += [place[o] for o in dict.fromkeys(operands) if last_use[o] == n and place[o] >= len(fixed)]
            if value not in place:
                place[value] = free.pop() if free else end
                end = max(end, place[value] + 1)
            self.steps[n] = ufunc, operator.itemgetter(*(place[o] for o in operands), place[value])
        self.constants = [numpy.array(constant, self.dtype) for (constant,) in self.constants]  # faster than floats
        self.buffers = end - len(fixed)

    def run(self, arrays):
        """The results for arrays of one shape."""
        flat = [a.reshape(-1) for a in arrays]
        results = [memory.empty(flat[0].shape, self.dtype) for _ in self.results]
        for start in range(0, flat[0].size, BLOCK):
            blocks = [a[start : start + BLOCK] for a in (*flat, *results)]
            places = [*blocks, *self.constants, *(b[: blocks[0].size] for b in buffers(self.buffers, self.dtype))]
            for ufunc, operands_and_result in self.steps:
                ufunc(*operands_and_result(places))
        results = tuple(r.reshape(arrays[0].shape) for r in results)
        return results if self.several else results[0]


def buffers(count, dtype):
    """So many buffers of this thread, of BLOCK elements each; their content is anyone's."""
    kept = vars(_local).setdefault(dtype, [])
    kept += [memory.empty((BLOCK,), dtype) for _ in range(count - len(kept))]
    return kept[:count]
