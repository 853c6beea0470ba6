"""Times every layer and pass of one training step and one prediction.

    python benchmarks/layer_times.py --help

Every layer of the U-Net is given timers around `forward`, the `backward` that it returns, and
`predict`; the places where branches join are given them around `join` and `split`. All runs on one
thread, on the micro-batch that a thread works on, and each time is the median of some repetitions.
The row "rest" is what is outside the layers: normalisation, head, loss, Adam. It prints a Markdown
table.

This file is not called profile.py: PyTorch imports Python's module of that name, and would find
this one beside the worker.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from shapes import leaves

import adf
from adf.engine import memory
from adf.files.tables import markdown_table
from adf.layers.fold import fold

PASSES = ("forward", "backward", "predict")


class Clock:
    """Seconds of one layer: in one repetition, by pass; `shape` is that of its output."""

    def __init__(self, name):
        self.name, self.shape, self.seconds = name, None, dict.fromkeys(PASSES, 0.0)

    def timed(self, which, function):
        def wrapper(*args):
            start = time.perf_counter()
            result = function(*args)
            self.seconds[which] += time.perf_counter() - start
            return result

        return wrapper


def watch_layer(layer):
    """Puts timers around the layer's methods, in place.

    `predict` is timed only where `forward` is not what calls it.
    """
    clock, forward, predict = Clock(type(layer).__name__), layer.forward, layer.predict

    def timed_forward(x):
        layer.predict = predict
        y, backward = clock.timed("forward", forward)(x)
        layer.predict = timed_predict
        clock.shape = y.mean.shape
        return y, clock.timed("backward", backward)

    def timed_predict(x):
        layer.forward = forward
        y = clock.timed("predict", predict)(x)
        layer.forward = timed_forward
        return y

    layer.forward, layer.predict = timed_forward, timed_predict
    return clock


def watch_joints(network):
    """Puts timers around `join` and `split` of all that has branches.

    `join` serves two passes: `mode` says which.
    """
    joints = []
    fold(network, None, lambda *_: None, lambda layer, _: joints.append(layer))
    return [watch_joint(layer) for layer in joints]


def watch_joint(layer):
    clock, join = Clock(f"{type(layer).__name__} (join, split)"), layer.join

    def timed_join(outputs):
        y = clock.timed(watch_joints.mode, join)(outputs)
        clock.shape = y.mean.shape
        return y

    layer.join, layer.split = timed_join, clock.timed("backward", layer.split)
    return clock


def step(segmenter, optimizer, images, labels):
    """Seconds of each pass as a whole, of one training step and one prediction, unthreaded."""
    for p in segmenter.parameters():
        p.grad = np.zeros_like(p.value)
    ticks = [time.perf_counter()]
    watch_joints.mode = "forward"
    _, backward = segmenter.loss(segmenter.input(images), labels)
    ticks.append(time.perf_counter())
    backward(1 / labels.size)
    optimizer.step()
    ticks.append(time.perf_counter())
    watch_joints.mode = "predict"
    segmenter.predict(segmenter.input(images))
    ticks.append(time.perf_counter())
    return dict(zip(PASSES, np.diff(ticks), strict=True))


def measure(args):
    """(clocks, milliseconds): a Clock a layer and one for the rest; medians, (rows, passes)."""
    segmenter = adf.Segmenter(
        adf.UNet(1, 3, norm=args.norm), noise_var=None if args.deterministic else 1e-3
    )
    optimizer = adf.Adam(segmenter.parameters())
    clocks = [watch_layer(layer) for layer in leaves(segmenter.network)] + watch_joints(
        segmenter.network
    )
    rng = np.random.default_rng(0)
    images = rng.standard_normal((args.batch, 1, args.size, args.size), "float32")
    labels = rng.integers(0, 3, (args.batch, args.size, args.size))
    repetitions = []
    for _ in tqdm(range(args.repetitions + 1), unit="step"):
        for clock in clocks:
            clock.seconds = dict.fromkeys(PASSES, 0.0)
        whole = step(segmenter, optimizer, images, labels)
        rows = [[clock.seconds[p] for p in PASSES] for clock in clocks]
        rest = [[whole[p] - sum(clock.seconds[p] for clock in clocks) for p in PASSES]]
        repetitions.append(rows + rest)
    return [*clocks, Clock("rest")], 1000 * np.median(repetitions[1:], axis=0)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--batch", type=int, default=4, help="images in a micro-batch (4, as in a training step)"
    )
    parser.add_argument(
        "--size", type=int, default=128, help="height and width, a multiple of 8 (128)"
    )
    parser.add_argument("--repetitions", type=int, default=5, help="after one warm-up (5)")
    parser.add_argument("--norm", action="store_true", help="with batch norm")
    parser.add_argument(
        "--deterministic", action="store_true", help="point masses instead of Gaussians"
    )
    args = parser.parse_args()
    memory.keep()  # as a training step does
    with threadpool_limits(1):
        clocks, milliseconds = measure(args)
    total = milliseconds.sum(axis=0)
    rows = []
    for label, shape, row in zip(
        [clock.name for clock in clocks] + ["all"],
        [" x ".join(map(str, clock.shape or ())) for clock in clocks] + [""],
        [*milliseconds, total],
        strict=True,
    ):
        times = {f"{p}, ms": float(ms) for p, ms in zip(PASSES, row, strict=True)}
        share = {"share of training": f"{row[:2].sum() / total[:2].sum():.1%}"}
        rows.append({"layer": label, "output": shape} | times | share)
    print(markdown_table(rows))


if __name__ == "__main__":
    main()
