"""Times the kernels by themselves: python benchmarks/kernels.py

First comes a prediction of one large image, with the peak memory of the process. Then, on one
thread:

  - matrix products of the shapes of a U-Net's convolutions, in one call of BLAS and in the tiles of
    adf.engine.products;
  - the moments of a kink and of a maximum, as NumPy evaluates them and as the programs of
    adf/engine/program.py;
  - what the same numbers cost where an array does not begin at a cache line, and where they are
    subnormal.

The times on one thread are medians of alternating repetitions. All come as Markdown tables.
"""

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm
from worker import peak

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import adf
from adf import moments
from adf.engine import memory, products
from adf.files.tables import markdown_table

# channels out and in
SHAPES = ((16, 16), (16, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128))
ELEMENTS = 1 << 20


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=9, help="after one warm-up (9)")
    parser.add_argument(
        "--large", type=int, default=4096, metavar="PIXELS", help="a side of the large image (4096)"
    )
    args = parser.parse_args()
    print(markdown_table([large(args.large)]), end="\n\n")  # first: the others leave memory behind
    with threadpool_limits(1):
        print(
            markdown_table(
                list(tqdm(convolutions(args.repetitions), total=len(SHAPES), unit=" shapes"))
            ),
            end="\n\n",
        )
        print(
            markdown_table(list(tqdm(elementwise(args.repetitions), total=5, unit=" functions"))),
            end="\n\n",
        )
        print(markdown_table(list(pitfalls(args.repetitions))))


def alternating(calls, repetitions):
    """Median seconds of each of some calls (function, *arguments), which take turns."""
    seconds = []
    for _ in range(repetitions + 1):
        for function, *arguments in calls:
            start = time.perf_counter()
            function(*arguments)
            seconds.append(time.perf_counter() - start)
    return np.median(np.reshape(seconds, (-1, len(calls)))[1:], axis=0)


def random(rng, shape, offset=0):
    """Numbers from 1 to 2 in an array that begins so many bytes behind a cache line."""
    size = math.prod(shape)
    array = memory.empty((size + 16,), "float32")[offset // 4 :][:size].reshape(shape)
    array[...] = rng.random(shape, "float32") + 1
    return array


def convolutions(repetitions):
    """GFLOP/s of a kernel row of 3 taps.

    "forward" is the product of the forward pass and of the gradient by the input; "by weights" is
    that of the gradient by the weights.
    """
    rng = np.random.default_rng(0)
    for out, channels in SHAPES:
        pixels = (128 * 16 // out) ** 2  # as in the U-Net: half the size, twice the channels
        w, x, y = (
            random(rng, s) for s in ((out, 3 * channels), (3 * channels, pixels), (out, pixels))
        )
        forward, by_weights = (
            ((np.matmul, w, x), (products.matmul, w, x)),
            ((np.matmul, y, x.T), (products.contraction, y, x)),
        )
        speeds = 2e-9 * w.size * pixels / alternating([*forward, *by_weights], repetitions)
        names = ("forward, one call", "in tiles", "by weights, one call", "in tiles ")
        yield {"channels out": str(out), "in": str(channels)} | dict(
            zip(names, map(float, speeds), strict=True)
        )


def elementwise(repetitions):
    """ns an element."""
    rng = np.random.default_rng(0)
    means, variances = ([random(rng, (ELEMENTS,)) for _ in range(3)] for _ in range(2))
    for mean in means:
        mean -= 1.5
    pairs = (*zip(means, variances, strict=True),)
    kink, window = pairs[0], (*pairs[0], *pairs[1])
    for function, arguments in (
        (moments.leaky_relu, (*kink, 0.2)),
        (moments.leaky_relu_with_derivatives, (*kink, 0.2)),
        (moments.maximum, window),
        (moments.maximum_with_derivatives, window),
        (moments.vector_jacobian_product, (*window, *pairs[2])),
    ):
        seconds = alternating(
            [(f, *arguments) for f in (function.__wrapped__, function)], repetitions
        )
        ns = [float(1e9 * s / ELEMENTS) for s in seconds]
        yield {
            "function": function.__name__,
            "as NumPy evaluates it, ns": ns[0],
            "as a program, ns": ns[1],
        }


def pitfalls(repetitions):
    """ns a multiply-add or an element: as it should be, and as it may come."""
    rng = np.random.default_rng(0)
    m, k, p, n = 32, 192, 4096, 1 << 16

    def at(offset, *shape):
        return random(rng, shape, offset)

    def rows(name, operations, function, calls):
        good, bad = (
            1e9 * alternating([(function, *call) for call in calls], 20 * repetitions) / operations
        )
        return {"": name, "ns": float(good), "instead, ns": float(bad), "times": float(bad / good)}

    w = at(0, m, k)
    calls = [(w, at(offset, k, p), at(offset, m, p)) for offset in (0, 16)]
    yield rows("matmul, 16 bytes behind a cache line", w.size * p, products.matmul, calls)
    yield rows(
        "contraction, likewise", w.size * p, lambda w, x, y: products.contraction(y, x), calls
    )
    calls = [(at(offset, n), at(offset, n), at(offset, n)) for offset in (0, 16)]
    yield rows(
        "a product of elements, likewise", n, lambda a, b, out: np.multiply(a, b, out=out), calls
    )
    a, b, out = calls[0]
    calls = [(a, b, out), (a * np.float32(1e-39), b, out)]
    yield rows(
        "a product of elements, subnormal", n, lambda a, b, out: np.multiply(a, b, out=out), calls
    )


def large(size):
    """One image by tiles. The peak is that of the whole process."""
    segmenter = adf.Segmenter(adf.UNet(1, 3, norm=True), noise_var=0.05)
    image = np.random.default_rng(0).standard_normal((1, 1, size, size), "float32")
    start = time.perf_counter()
    adf.predict(segmenter, image)
    return {
        "image": f"{size} x {size}",
        "seconds": time.perf_counter() - start,
        "peak, MiB": peak(),
    }


if __name__ == "__main__":
    main()
