"""What an elementwise function does, written down: the function is called once, with symbols.

The trace is the one source of everything that runs such a function faster than NumPy would.
"""

import numpy


class Symbol(numpy.lib.mixins.NDArrayOperatorsMixin):
    """An array while a function is traced. Comparisons give 0 and 1 in the dtype of the trace."""

    def __init__(self, trace, value):
        self.trace = trace
        self.value = value

    @property
    def dtype(self):
        return self.trace.dtype

    def astype(self, dtype):
        return self

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if method != "__call__" or kwargs:
            raise TypeError(
                f"a fused function is made of plain expressions, "
                f"got {ufunc.__name__}, {kwargs or method}"
            )
        return self.trace.record(ufunc, inputs)

    def __array_function__(self, function, *_):
        raise TypeError(f"a fused function is made of ufuncs, got {function.__name__}")


class Trace:
    """The ufuncs of function(*arrays, *scalars) for so many arrays of this dtype, in their order.

    Values are numbered: first the arrays, then what each step computes. A constant is (constant,).
    `steps` lists (ufunc, operands, value); `results` the values that the function returns;
    `is_tuple` says whether it returns a tuple.
    """

    def __init__(self, function, dtype, arrays, scalars):
        self.dtype = dtype
        self.arrays = arrays
        self.steps = []
        self._known = {}
        returned = function(*(Symbol(self, value) for value in range(arrays)), *scalars)
        self.is_tuple = isinstance(returned, tuple)
        self.results = [symbol.value for symbol in (returned if self.is_tuple else (returned,))]
        if len(set(self.results)) < len(self.results) or min(self.results) < arrays:
            raise TypeError("a fused function computes each of its results, and each once")

    def record(self, ufunc, inputs):
        """The symbol of ufunc(*inputs); the same one where that was asked before."""
        operands = tuple(i.value if isinstance(i, Symbol) else (i,) for i in inputs)
        if (ufunc, operands) not in self._known:
            value = self.arrays + len(self.steps)
            self.steps.append((ufunc, operands, value))
            self._known[ufunc, operands] = Symbol(self, value)
        return self._known[ufunc, operands]
