"""CuPy without a GPU: a stand-in around NumPy, stricter than CuPy in what it takes.

It is for test_strict_cupy.py. It has the names below and no others, mixes with no NumPy array, and
counts what waits for the host. What it cannot show is CuPy's own arithmetic and kernels:
test_cupy.py shows them, on a GPU.
"""

import collections
import functools
import inspect
import sys
import types

import numpy as np
import scipy.special

# What the numeric core may use, with CuPy's own parameters. Verified one by one against CuPy 14.2.0
# (the wheel cupy-cuda13x imports without a GPU): inspect.signature for functions, the first line of
# the docstring for methods, isinstance(_, cupy.ufunc) for both kinds of ufunc. test_strict_cupy.py
# repeats this wherever CuPy is installed.
UNARY = "x, /, out=None, *, casting='same_kind', dtype=None"
BINARY = "x1, x2, /, out=None, *, casting='same_kind', dtype=None"
UFUNCS = dict.fromkeys(("abs", "exp", "isfinite", "log", "log1p", "sqrt"), UNARY)
UFUNCS |= dict.fromkeys(("copysign", "logaddexp", "maximum", "minimum"), BINARY)
SPECIAL = dict.fromkeys(("digamma", "expit", "gammaln"), UNARY)
FUNCTIONS = {
    "arange": "start, stop=None, step=1, dtype=None",
    "asarray": "a, dtype=None, order=None, *, copy=None, blocking=False",
    "ascontiguousarray": "a, dtype=None",
    "broadcast_to": "array, shape",
    "concatenate": "tup, axis=0, out=None, *, dtype=None, casting='same_kind'",
    "empty": "shape, dtype=float, order='C'",
    "eye": "N, M=None, k=0, dtype=float, order='C'",
    "full": "shape, fill_value, dtype=None, order='C'",
    "full_like": "a, fill_value, dtype=None, order='K', subok=None, shape=None",
    "lib.stride_tricks.as_strided": "x, shape=None, strides=None",
    "matmul": "*args, axes=None, axis=None, keepdims=False, casting='same_kind', dtype=None,"
    " signature=None, order='K', out=None",
    "ones": "shape, dtype=float, order='C'",
    "pad": "array, pad_width, mode='constant', **kwargs",
    "result_type": "*arrays_and_dtypes",
    "roll": "a, shift, axis=None",
    "sort": "a, axis=-1, kind=None",
    "stack": "tup, axis=0, out=None, *, dtype=None, casting='same_kind'",
    "take_along_axis": "a, indices, axis",
    "where": "condition, x=None, y=None",
    "zeros": "shape, dtype=float, order='C'",
    "zeros_like": "a, dtype=None, order='K', subok=None, shape=None",
}
METHODS = {
    "all": "axis=None, out=None, keepdims=False",
    "argmax": "axis=None, out=None, dtype=None, keepdims=False",
    "astype": "dtype, order='K', casting=None, subok=None, copy=True",
    "copy": "order='C'",
    "get": "stream=None, order='C', out=None, blocking=True",
    "max": "axis=None, out=None, keepdims=False",
    "mean": "axis=None, dtype=None, out=None, keepdims=False",
    "min": "axis=None, out=None, keepdims=False",
    "reshape": "*shape, order='C', copy=None",
    "sort": "axis=-1",
    "std": "axis=None, dtype=None, out=None, ddof=0, keepdims=False",
    "sum": "axis=None, dtype=None, out=None, keepdims=False",
    "swapaxes": "axis1, axis2",
    "transpose": "*axes",
}
ATTRIBUTES = ("T", "dtype", "ndim", "shape", "size", "strides")
OTHERS = ("fuse", "ndarray")  # written out below

# what works inside cupy.fuse; the other functions want an array and get a variable
FUSABLE = {*UFUNCS, *SPECIAL, "where"}
DTYPES = "?bhilqBHILQefdFD"  # cupy/_core/fusion.pyx: _dtype_list
SCALARS = (bool, int, float, complex, np.number, np.bool_)

OPERATORS = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.true_divide,
    "pow": np.power,
}
OPERATORS |= {
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "lshift": np.left_shift,
    "rshift": np.right_shift,
}
OPERATORS |= {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}
COMPARISONS = {"lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal}
COMPARISONS |= {"eq": np.equal, "ne": np.not_equal}

# how often the host waited for the device, by what it asked; and "upload"
waits = collections.Counter()


def call(function, *args, **kwargs):
    """A NumPy function of what is inside the arguments, its result wrapped again."""
    kinds = {type(a) for a in _variables((args, kwargs))} or {ndarray}
    if len(kinds) > 1:
        raise TypeError(f"Unsupported type {ndarray} inside a fused function")
    return _wrapped(kinds.pop(), function(*_inside(args), **_inside(kwargs)))


def _variables(value):
    if isinstance(value, Variable):
        yield value
    elif isinstance(value, tuple | list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _variables(item)


def _inside(value):
    if isinstance(value, Variable):
        return value._host
    if isinstance(value, np.ndarray) or (
        isinstance(value, np.generic) and not isinstance(value, SCALARS)
    ):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, dict):
        return {key: _inside(item) for key, item in value.items()}
    return type(value)(map(_inside, value)) if type(value) in (tuple, list) else value


def _wrapped(kind, result):
    if type(result) is tuple:
        return tuple(_wrapped(kind, item) for item in result)
    if not isinstance(result, np.ndarray | np.generic):
        return result  # a dtype, a length
    if result.dtype.char not in DTYPES:
        raise ValueError(f"Unsupported dtype {result.dtype}")
    return kind(np.asarray(result))  # never a scalar


def _operand(value):
    if not isinstance(value, (Variable, *SCALARS)):
        raise TypeError(f"Unsupported type {type(value)}")
    return value


class Variable:
    """What cupy.fuse hands to a function.

    It has operators, dtype, ndim, astype and copy; no shape, no values, no abs().
    """

    __slots__ = ("_host",)
    __hash__ = None
    # NumPy's functions raise TypeError, its scalars leave the operator to us
    __array_ufunc__ = None

    def __init__(self, host):
        self._host = host

    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)

    def __neg__(self):
        return call(np.negative, self)

    def __invert__(self):
        return call(np.invert, self)

    def __bool__(self):
        raise TypeError("Cannot convert to Python scalar in cupy.fuse")

    __int__ = __float__ = __bool__

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    # stricter than CuPy, which calls its own: but the core says xp
    def __array_function__(self, function, *args):
        raise TypeError(f"numpy.{function.__name__} of a CuPy array")


class ndarray(Variable):
    """An array that pretends to lie on the device.

    float(), int(), bool(), get(), repr() and masks wait for it.
    """

    __slots__ = ()

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key):
        return call(np.ndarray.__getitem__, self, _key(key))

    def __setitem__(self, key, value):
        call(np.ndarray.__setitem__, self, _key(key), _operand(value))

    def __abs__(self):
        return call(np.abs, self)

    def __bool__(self):
        return bool(self._waited("bool"))

    def __int__(self):
        return int(self._waited("int"))

    def __float__(self):
        return float(self._waited("float"))

    def __repr__(self):
        return f"device {self._waited('repr')!r}"

    def __deepcopy__(self, memo):
        return self.copy()

    def get(self):
        return self._waited("get").copy()

    def _waited(self, kind):
        waits[kind] += 1
        return self._host


def _key(key):
    """A key that makes a view even of one element, as in CuPy."""
    key = key if isinstance(key, tuple) else (key,)
    for array in _variables(key):
        if array.dtype == bool:  # how many it chooses decides the shape
            array._waited("mask")
    return key if any(k is ... for k in key) else (*key, ...)


def _operator(function, reflected=False):
    def operator(self, other):
        return call(function, *((_operand(other), self) if reflected else (self, _operand(other))))

    return operator


def _in_place(function):
    def operator(self, other):
        call(function, self, _operand(other), out=self)
        return self

    return operator


def _method(name):
    def method(self, *args, **kwargs):
        signature(METHODS[name]).bind(*args, **kwargs)
        return call(getattr(np.ndarray, name), self, *args, **kwargs)

    return method


for _name, _function in (OPERATORS | COMPARISONS).items():
    setattr(Variable, f"__{_name}__", _operator(_function))
for _name, _function in OPERATORS.items():  # 2 ** x is not for cupy.fuse
    setattr(
        ndarray if _name == "pow" else Variable,
        f"__r{_name}__",
        _operator(_function, reflected=True),
    )
    setattr(Variable, f"__i{_name}__", _in_place(_function))
for _name in METHODS.keys() - {"get"}:
    setattr(Variable if _name in ("astype", "copy") else ndarray, _name, _method(_name))
for _name in ("T", "shape", "size", "strides"):
    setattr(ndarray, _name, property(lambda self, name=_name: call(getattr, self, name)))


@functools.cache
def signature(parameters):
    return inspect.signature(eval(f"lambda {parameters}: None"))


def _function(name, numpy_function, parameters):
    def function(*args, **kwargs):
        signature(parameters).bind(*args, **kwargs)
        if name not in FUSABLE and any(type(v) is Variable for v in _variables((args, kwargs))):
            raise TypeError(f"cupy.{name} of a variable of a fused function")
        return call(numpy_function, *args, **kwargs)

    return function


def _asarray(a, dtype=None, order=None):
    if not any(True for _ in _variables(a)):
        waits["upload"] += 1
        a = ndarray(np.array(a))  # a copy, also of a NumPy array
    return call(np.asarray, a, dtype, order)


def fuse(kernel_name):
    """cupy.fuse, without its second, slower way for functions that the first cannot trace."""
    if not kernel_name.isidentifier():
        raise ValueError(f'Invalid kernel name: "{kernel_name}"')

    def decorate(function):
        def fused(*arrays):
            if not all(isinstance(a, ndarray) for a in arrays):
                raise TypeError(f"Invalid argument type for {kernel_name!r}")
            results = function(*(Variable(a._host) for a in arrays))
            if not all(
                type(r) is Variable for r in (results if isinstance(results, tuple) else (results,))
            ):
                raise TypeError("Fusion function can't return anything but its own variables")
            return (
                tuple(ndarray(r._host) for r in results)
                if isinstance(results, tuple)
                else ndarray(results._host)
            )

        return fused

    return decorate


def modules():
    """Name -> module: cupy and cupyx.scipy.special, with the names above and no others."""
    found = {
        name: types.ModuleType(name)
        for name in ("cupy", "cupyx", "cupyx.scipy", "cupyx.scipy.special")
    }
    cupy, special = found["cupy"], found["cupyx.scipy.special"]
    for name, parameters in (UFUNCS | FUNCTIONS).items():
        *path, last = name.split(".")
        library, home = np, cupy
        for part in path:
            library = getattr(library, part)
            vars(home).setdefault(part, types.SimpleNamespace())
            home = getattr(home, part)
        setattr(home, last, _function(name, getattr(library, last), parameters))
    for name, parameters in SPECIAL.items():
        setattr(special, name, _function(name, getattr(scipy.special, name), parameters))
    cupy.asarray, cupy.ndarray, cupy.fuse = _asarray, ndarray, fuse
    cupy.cuda = types.SimpleNamespace(runtime=types.SimpleNamespace(getDeviceCount=lambda: 1))
    found["cupyx"].scipy, found["cupyx.scipy"].special = found["cupyx.scipy"], special
    return found


def install():
    """From here on `import cupy` is the stand-in. Before adf is imported, with ADF_BACKEND=cupy."""
    sys.modules.update(modules())
