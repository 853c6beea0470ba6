"""The numeric core under a stand-in that is as strict as CuPy.

What a GPU would refuse is refused without one.
"""

import ast
import inspect
import json
import operator
import os
import re
import subprocess
import sys
from itertools import product

import numpy as np
import pytest
import strict_cupy
from cases import CASES, make
from strict_cupy import ATTRIBUTES, FUNCTIONS, METHODS, OTHERS, SPECIAL, UFUNCS, signature, waits
from test_backend import CORE, PACKAGE

import adf
from adf import backend, calibration, dirichlet
from adf.backend import to_host, xp
from adf.engine import columns
from adf.layers.gradients import cast, random_like
from adf.layers.paths import held
from adf.methods.dropout import Dropout2d, add_dropout, thinned
from adf.methods.mixture import Mixture
from adf.methods.weights import WeightsSegmenter

TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
ADVICE = (
    "check that CuPy has it (dir(cupy) and inspect.signature work without a GPU), "
    "then add it to strict_cupy.py"
)
NETWORKS = {
    "UNet": lambda: adf.UNet(1, 3, widths=(3, 4), norm=True),
    "DeepLabV3Plus": lambda: adf.DeepLabV3Plus(1, 3, widths=(4, 4, 6), pyramid=4, decoder=4),
}
# images and micro-batches of a training step; images of a prediction
IMAGES, BATCHES, PREDICTED = 6, 2, 2
MODULES = strict_cupy.modules()
FAKE, FAKE_SPECIAL = MODULES["cupy"], MODULES["cupyx.scipy.special"]


# The names


def used(library):
    """The dotted names of a library that adf uses -> where."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for name in re.findall(rf"(?<![.\w]){library}\.(\w+(?:\.\w+)*)", path.read_text()):
            found.setdefault(name, path.name)
    return found


@pytest.mark.parametrize(
    "library, names", [("xp", {*UFUNCS, *FUNCTIONS, *OTHERS}), ("special", {*SPECIAL})]
)
def test_cupy_has_every_name_that_adf_uses(library, names):
    assert len(used(library)) >= 3
    unknown = {name: where for name, where in used(library).items() if name not in names}
    assert not unknown, f"{library}: {unknown}: {ADVICE}"


def test_cupy_has_every_attribute_of_an_array_that_the_core_uses():
    """By its name alone: whatever a NumPy array has too, but for the fields of Gaussian."""
    nodes = [(path.name, node) for path in CORE for node in ast.walk(ast.parse(path.read_text()))]
    found = {
        n.attr: where
        for where, n in nodes
        if isinstance(n, ast.Attribute) and ast.unparse(n.value) != "math"
    }
    suspects = {name for name in found if hasattr(np.ndarray, name) and not name.startswith("__")}
    unknown = {
        name: found[name] for name in suspects - {*METHODS, *ATTRIBUTES, *adf.Gaussian._fields}
    }
    assert len(suspects) > 10 and not unknown, f"{unknown}: {ADVICE}"


def test_the_names_are_those_of_cupy():
    cupy = pytest.importorskip("cupy", exc_type=ImportError)
    import cupyx.scipy.special

    ufuncs = [getattr(cupy, name) for name in UFUNCS] + [
        getattr(cupyx.scipy.special, name) for name in SPECIAL
    ]
    assert all(isinstance(f, cupy.ufunc) for f in ufuncs) and all(
        hasattr(cupy, name) for name in OTHERS
    )
    assert all(hasattr(cupy.ndarray, name) for name in ATTRIBUTES)
    for name, parameters in (FUNCTIONS | METHODS).items():
        if name in FUNCTIONS:
            theirs = list(inspect.signature(operator.attrgetter(name)(cupy)).parameters)
        else:  # compiled: the signature is the first line of the docstring
            theirs = re.findall(
                r"(\w+)(?==|, |\))", getattr(cupy.ndarray, name).__doc__.splitlines()[0]
            )
        ours = list(signature(parameters).parameters)
        assert ours == [p for p in theirs if p in ours], (name, ours, theirs)


# The core


def answers():
    """Name -> array of layers, head, losses and networks, and what waited.

    Each array is checked to be the backend's.
    """
    found = {}

    def note(name, *arrays):
        for i, array in enumerate(arrays):
            assert backend.name == "numpy" or array is None or type(array) is xp.ndarray, (
                name,
                i,
                type(array),
            )
            if array is not None:
                found[f"{name} {i}"] = to_host(array)

    for name, dtype, point in product(CASES, TOLERANCE, (False, True)):
        layer, x, _ = make(name, dtype, point)
        y, backward = layer.forward(x)
        dx = backward(random_like(np.random.default_rng(1), y))
        state = [p.grad for p in layer.parameters()] + [s.value for s in layer.statistics()]
        note(f"{dtype} {name}{', point mass' * point}", *y, *dx, *layer.predict(x), *state)
    for dtype in TOLERANCE:
        note(f"{dtype} sampled dropout", *sampled_dropout(dtype))
        note(f"{dtype} head", *head(dtype))
        note(f"{dtype} mixture", *mixed(dtype))
        note(f"{dtype} Gaussian weights", *weighed(dtype))
        for name in NETWORKS:
            note(f"{dtype} {name}", *step(name, dtype, found))
            note(f"{dtype} calibration of {name}", *calibrated(name, dtype))
    return found


def sampled_dropout(dtype):
    _, x, _ = make("Dropout", dtype)
    y, backward = adf.Dropout(0.3, sample=True, rng=1).forward(x)
    return (*y, *backward(y))


def mixed(dtype):
    """Monte Carlo dropout: a step, and what three thinned networks say together."""
    network = adf.UNet(1, 3, (3, 4), norm=True).to(dtype)
    add_dropout(network, 0.3)
    rng, model = np.random.default_rng(5), adf.Segmenter(network, None)
    for layer in held(network, Dropout2d):
        layer.rng = rng
    x = model.input(rng.normal(size=(2, 1, 8, 8)))
    loss, backward = model.loss(x, xp.asarray(rng.integers(0, 3, (2, 8, 8))))
    backward(0.1)
    found = Mixture(thinned(model, rng) for _ in range(3)).predict(x)
    return (loss, *(p.grad for p in model.parameters()), *found)


def weighed(dtype):
    """Gaussian weights: a step, and what the points in place of the logits say."""
    rng = np.random.default_rng(6)
    model = WeightsSegmenter(adf.UNet(1, 3, (3, 4), norm=True).to(dtype), 128)
    x = model.input(rng.normal(size=(2, 1, 8, 8)))
    loss, backward = model.loss(x, xp.asarray(rng.integers(0, 3, (2, 8, 8))))
    backward(0.1)
    return (loss, *(p.grad for p in model.parameters()), *model.predict(x))


def head(dtype):
    """DirichletHead, the uncertainties, and the three losses with their gradients."""
    rng, layer = np.random.default_rng(1), cast(adf.DirichletHead(-1.0), "float64")
    logits = adf.Gaussian(*(xp.asarray(f.astype(dtype)) for f in rng.random((2, 2, 3, 4, 5))))
    labels = xp.asarray(rng.integers(0, 3, (2, 4, 5)))
    y, backward = layer.forward(logits)
    log_alpha = y.mean
    d = adf.Dirichlet(xp.exp(log_alpha))
    yield from (log_alpha, layer.predict(logits).mean, d.strength, d.probabilities, d.class_std)
    yield from (d.entropy, d.expected_entropy, d.mutual_information)
    loss, loss_backward = dirichlet.dirichlet_nll(log_alpha, labels, 0.01)
    dx = backward(adf.Gaussian(loss_backward(0.1)))
    yield from (loss, loss_backward(0.1), *dx, layer.c1.grad, layer.c2.grad)
    for noise_var in (0.1, None):
        model = adf.Segmenter(
            cast(adf.Conv2d(3, 3, 1, rng=1), "float64"), noise_var, density_weight=0.5
        )
        x = model.input(logits.mean)
        loss, backward = model.loss(x, labels)
        yield from (loss, *backward(0.1), *model.predict(x))


def step(name, dtype, found):
    """A step of training from NumPy images, then a prediction.

    What waited for the host goes into `found`.
    """
    rng, model = np.random.default_rng(2), adf.Segmenter(NETWORKS[name](), 1e-2)
    for p in (*model.parameters(), *model.network.statistics()):
        p.value = p.value.astype(dtype)
    optimizer = adf.Adam(model.parameters(), 1e-3)
    images = rng.integers(0, 256, (IMAGES, 1, 16, 8), "uint8")
    waits.clear()
    loss = adf.train_step(model, optimizer, images, rng.integers(0, 3, (IMAGES, 16, 8)))
    found[f"waits, train_step of {name}"] = np.array(json.dumps(waits))
    for p in model.parameters():
        yield from (p.value, p.grad)
    yield from (*optimizer.m, *optimizer.v, *(s.value for s in model.network.statistics()))
    waits.clear()
    prediction = adf.predict(model, rng.normal(size=(PREDICTED, 1, 13, 9)))
    found[f"waits, predict of {name}"] = np.array(json.dumps(waits))
    assert type(loss) is float and all(type(field) is np.ndarray for field in prediction)
    found |= {f"{dtype} {name} loss": np.array(loss)}
    found |= {f"float32 {name} of {dtype}, prediction {i}": f for i, f in enumerate(prediction)}


def calibrated(name, dtype):
    """The variances of a network are freed and learn a step; then its head does."""
    rng, model = np.random.default_rng(3), adf.Segmenter(NETWORKS[name](), 1e-2)
    for layer in (model.network, model.head):
        layer.to(dtype)
    x = model.input(rng.normal(size=(IMAGES, 1, 16, 8)))
    calibration.begin(model, x, rng)
    weights = calibration.variance_weights(model)
    true = calibration.measured(model, x, rng)
    loss = calibration.calibrate_step(model, adf.Adam(weights, 0.03), x, true)
    logits = model.network.predict(x)
    labels = xp.asarray(rng.integers(0, 3, (IMAGES, 16, 8)))
    fitted = calibration.fit_head(model, adf.Adam(model.head.parameters(), 0.1), logits, labels)
    assert type(loss) is type(fitted) is float
    for p in (*weights, *model.head.parameters()):
        yield from (p.value, p.grad)
    yield from (*logits, xp.asarray([loss, fitted]))


def convolve_as_on_a_gpu():
    """From here on layers are built with the kernel that serves CuPy, whose sums have its order."""
    for name, module in list(sys.modules.items()):
        if name.startswith("adf.layers") and hasattr(module, "Correlation"):
            module.Correlation = columns.Correlation


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The answers of both backends, each in a process of its own."""
    folder, found = tmp_path_factory.mktemp("answers"), {}
    code = "import sys; sys.path.insert(0, 'tests'); import strict_cupy; strict_cupy.install(); "
    code += "import numpy, test_strict_cupy as test; test.convolve_as_on_a_gpu(); "
    code += "numpy.savez(sys.argv[1], **test.answers())"
    for name in ("numpy", "cupy"):
        environment = {**os.environ, "ADF_BACKEND": name, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-W", "error", "-c", code, folder / f"{name}.npz"]
        subprocess.run(command, cwd=PACKAGE.parent, env=environment, check=True)
        with np.load(folder / f"{name}.npz") as arrays:
            found[name] = dict(arrays)
    return found


def test_the_stand_in_agrees_with_numpy(found):
    """It does so in dtypes and shapes, too.

    It computes with NumPy: what may differ is what depends on the backend.
    """
    assert found["numpy"].keys() == found["cupy"].keys() and len(found["numpy"]) > 1000
    for name, want in found["numpy"].items():
        if not name.startswith("waits"):
            got, tolerance = found["cupy"][name], TOLERANCE[name.split()[0]]
            assert (got.dtype, got.shape) == (want.dtype, want.shape), name
            np.testing.assert_allclose(
                got, want, tolerance, tolerance * np.abs(want).max(), err_msg=name
            )


@pytest.mark.parametrize("name, upsamples", [("UNet", 0), ("DeepLabV3Plus", 2)])
def test_what_waits_for_the_host(found, name, upsamples):
    """Images and labels are checked on the host, where they come from.

    train_step waits once, for the loss; predict waits for the fields of a Prediction. To the device
    go images, the labels of every micro-batch, and two matrices per Upsample and pass.
    """
    seen = json.loads(str(found["cupy"][f"waits, train_step of {name}"]))
    assert seen == {"get": 1, "upload": 2 + 2 * upsamples * BATCHES}
    seen = json.loads(str(found["cupy"][f"waits, predict of {name}"]))
    assert seen == {"get": 6, "upload": 1 + 2 * upsamples}


# The stand-in


def array(*shape, dtype="float32"):
    return FAKE.ones(shape, dtype)


HOST = np.ones((2, 3), "float32")
VIOLATIONS = {
    "np.asarray": (lambda: np.asarray(array(2)), TypeError, "Implicit conversion"),
    "np.array": (lambda: np.array([array(2)]), TypeError, "Implicit conversion"),
    "a ufunc of NumPy": (lambda: np.sqrt(array(2)), TypeError, "does not support ufuncs"),
    "a function of NumPy": (
        lambda: np.concatenate([array(2)]),
        TypeError,
        "numpy.concatenate of a CuPy array",
    ),
    "into a NumPy array": (lambda: HOST.__setitem__(0, array(3)), TypeError, "Implicit conversion"),
    "NumPy right": (lambda: array(2, 3) + HOST, TypeError, "Unsupported type"),
    "NumPy left": (lambda: HOST * array(2, 3), TypeError, "Unsupported type"),
    "NumPy compared": (lambda: array(2, 3) == HOST, TypeError, "Unsupported type"),
    "NumPy in place": (lambda: operator.iadd(array(2, 3), HOST), TypeError, "Unsupported type"),
    "NumPy in place, left": (
        lambda: operator.iadd(HOST, array(2, 3)),
        TypeError,
        "does not support ufuncs",
    ),
    "NumPy as an argument": (
        lambda: FAKE.maximum(array(2, 3), HOST),
        TypeError,
        "Unsupported type",
    ),
    "NumPy in a list": (
        lambda: FAKE.concatenate([array(2, 3), HOST]),
        TypeError,
        "Unsupported type",
    ),
    "NumPy alone": (lambda: FAKE.zeros_like(HOST), TypeError, "Unsupported type"),
    "NumPy, special": (lambda: FAKE_SPECIAL.digamma(HOST), TypeError, "Unsupported type"),
    "NumPy assigned": (lambda: array(2, 3).__setitem__(..., HOST), TypeError, "Unsupported type"),
    "NumPy as an index": (lambda: array(2, 3)[np.array([0])], TypeError, "Unsupported type"),
    "out= of NumPy": (lambda: FAKE.exp(array(2, 3), out=HOST), TypeError, "Unsupported type"),
    "where= of a ufunc": (lambda: FAKE.exp(array(2), where=True), TypeError, "where"),
    "order= of a ufunc": (lambda: FAKE.exp(array(2), order="C"), TypeError, "order"),
    "out= of where": (lambda: FAKE.where(array(2) > 0, 1, 2, out=array(2)), TypeError, "out"),
    "where= of a method": (lambda: array(2).sum(where=True), TypeError, "where"),
    "initial= of a method": (lambda: array(2).max(initial=0), TypeError, "initial"),
    "objects": (lambda: FAKE.zeros(2, object), ValueError, "Unsupported dtype object"),
    "strings": (lambda: FAKE.asarray(["a"]), ValueError, "Unsupported dtype <U1"),
    "long doubles": (lambda: array(2).astype(np.longdouble), ValueError, "Unsupported dtype"),
    "times": (lambda: FAKE.asarray(np.zeros(2, "M8[s]")), ValueError, "Unsupported dtype"),
    "an operand of no number": (lambda: array(2) == "a", TypeError, "Unsupported type"),
    "None": (lambda: array(2) * None, TypeError, "Unsupported type"),
    "a name not listed": (lambda: FAKE.nanargmax, AttributeError, "nanargmax"),
    "a submodule not listed": (lambda: FAKE.lib.recfunctions, AttributeError, "recfunctions"),
    "a special function not listed": (lambda: FAKE_SPECIAL.hyp2f1, AttributeError, "hyp2f1"),
    "a method not listed": (lambda: array(2).newbyteorder(), AttributeError, "newbyteorder"),
    "an attribute of one's own": (lambda: setattr(array(2), "name", 1), AttributeError, "name"),
    "float() of two": (lambda: float(array(2)), TypeError, "only"),
    "an index": (lambda: range(2)[array(dtype="int64")], TypeError, "indices must be integers"),
    "a hash": (lambda: hash(array(2)), TypeError, "unhashable"),
    "a narrower kind, in place": (
        lambda: operator.iadd(array(2, dtype="int64"), 0.5),
        TypeError,
        "same_kind",
    ),
}
FUSED = {
    "a shape": (lambda a: a.reshape(a.shape), AttributeError, "shape"),
    "a choice": (lambda a: a if a else -a, TypeError, "Cannot convert"),
    "an element": (lambda a: a[0], TypeError, "not subscriptable"),
    "a sum": (lambda a: a.sum(), AttributeError, "sum"),
    "abs()": (abs, TypeError, "bad operand"),
    "an array from outside": (lambda a: a + array(2), TypeError, "Unsupported type"),
    "a NumPy array from outside": (lambda a: a + HOST[0], TypeError, "Unsupported type"),
    "no elementwise function": (
        lambda a: FAKE.zeros_like(a),
        TypeError,
        "cupy.zeros_like of a variable",
    ),
    "no variable": (lambda a: 1.0, TypeError, "can't return"),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_refused(name):
    violation, kind, message = VIOLATIONS[name]
    with pytest.raises(kind, match=message):
        violation()


@pytest.mark.parametrize("name", FUSED)
def test_refused_inside_a_fused_function(name):
    function, kind, message = FUSED[name]
    with pytest.raises(kind, match=message):
        FAKE.fuse(kernel_name="kernel")(function)(array(2))


def test_fuse_wants_a_name_and_arrays_of_the_device():
    with pytest.raises(ValueError, match='Invalid kernel name: "<lambda>"'):
        FAKE.fuse(kernel_name="<lambda>")
    with pytest.raises(TypeError, match="Invalid argument"):
        FAKE.fuse(kernel_name="kernel")(lambda a: -a)(HOST)


def test_numpy_scalars_are_taken():
    for scalar in (np.float64(2), np.float32(2), np.int64(2), np.bool_(True), 2, 2.0, True):
        a = array(3)
        for got in (a * scalar, scalar * a, FAKE.maximum(scalar, a)):
            assert type(got) is FAKE.ndarray and got.dtype == np.result_type(np.float32(1), scalar)
        a[0] = scalar
        assert float(a[0]) == scalar


def test_what_cupy_returns():
    """Reductions and elements are arrays, and an element is a view."""
    a = array(2, 3)
    for reduced in (
        a.sum(),
        a.max(axis=(0, 1)),
        a.all(),
        a.argmax(),
        a[0, 0],
        a[..., 0, 0],
        FAKE.exp(1.0),
    ):
        assert type(reduced) is FAKE.ndarray and reduced.shape == ()
    a[1, 2][...] = 5
    a[0] += a[1]
    assert a.get().tolist() == [[2, 2, 6], [1, 1, 5]] and a.T.shape == (3, 2) and len(list(a)) == 2
    assert FAKE.result_type(a, a.sum().astype("float64")) == "float64"  # CuPy 14, as NumPy 2
    copied, b = FAKE.asarray(HOST), FAKE.fuse(kernel_name="kernel")(lambda a: (a * 2, a > 0))(a)
    copied += 1
    assert (
        (HOST == 1).all()
        and [f.dtype.char for f in b] == ["f", "?"]
        and FAKE.asarray(a) is not HOST
    )


def test_every_wait_is_counted():
    one, kinds = (
        array(),
        {"float": float, "int": int, "bool": bool, "get": lambda a: a.get(), "repr": repr},
    )
    kinds |= {"mask": lambda a: a[a > 0], "upload": lambda a: FAKE.asarray([1.0])}
    for kind, wait in kinds.items():
        waits.clear()
        wait(one)
        assert waits == {kind: 1}
    waits.clear()
    (one + 1).sum().reshape(1).astype("float64").copy()
    assert not waits
