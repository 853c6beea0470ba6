"""On a GPU (ADF_BACKEND=cupy) every layer and a training step agree with NumPy's.

They do so to the tolerance of the dtype.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import CASES, make
from test_training import batch, segmenter

import adf
from adf.backend import name as backend_name
from adf.backend import to_host
from adf.layers.gradients import random_like

TOLERANCE = {"float32": 1e-4, "float64": 1e-10}


def answers():
    """Name -> array: outputs and gradients of every layer case in both dtypes.

    Losses and values of three steps follow.
    """
    found = {}
    for name in CASES:
        for dtype in TOLERANCE:
            layer, x, _ = make(name, dtype)
            y, backward = layer.forward(x)
            dx = backward(random_like(np.random.default_rng(1), y))
            fields = (*y, *dx, *layer.predict(x), *(p.grad for p in layer.parameters()))
            found |= {f"{dtype} {name} {i}": to_host(field) for i, field in enumerate(fields)}
    model, (images, labels) = segmenter(), batch()
    optimizer = adf.Adam(model.parameters(), 1e-3)
    found["float32 losses"] = np.array(
        [adf.train_step(model, optimizer, images, labels) for _ in range(3)]
    )
    found["float32 probabilities"] = adf.predict(model, images).probabilities
    return found


@pytest.mark.skipif(backend_name != "cupy", reason="needs a GPU and ADF_BACKEND=cupy")
def test_cupy_agrees_with_numpy(tmp_path):
    code = "import sys; sys.path.insert(0, 'tests'); from test_cupy import answers; import numpy; "
    code += "numpy.savez(sys.argv[1], **answers())"
    root, environment = Path(__file__).parents[1], {**os.environ, "ADF_BACKEND": "numpy"}
    subprocess.run(
        [sys.executable, "-c", code, tmp_path / "numpy.npz"], cwd=root, env=environment, check=True
    )
    reference, got = np.load(tmp_path / "numpy.npz"), answers()
    assert set(reference.files) == set(got) and len(got) > 300
    for name, want in reference.items():
        tolerance = TOLERANCE[name.split()[0]]
        np.testing.assert_allclose(
            got[name], want, rtol=tolerance, atol=tolerance * np.abs(want).max(), err_msg=name
        )


def test_the_comparison_has_something_to_compare():
    found = answers()
    assert len(found) > 300 and all(np.isfinite(array).all() for array in found.values())
