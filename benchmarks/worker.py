"""One measurement in a process of its own: `PYTHON worker.py JSON`.

It prints seconds and memory as JSON. compare.py starts it, with the interpreter of the side that is
measured; only what that side needs is imported. Every side gets the same random images (its kernels
do not ask what is on them) and labels, and all cores.

Seconds are those of each repetition, after the warm-up. Memory is the peak of the whole process
(getrusage: ru_maxrss) minus the peak right after the imports, before there is a network or an
image; so it counts weights, optimizer, batch, activations and buffers.
"""

import json
import platform
import resource
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
CLASSES = 3


class Spec(NamedTuple):
    """What is measured.

    side is "ours", "torch", or "products": the bare matrix products of our convolutions, timed once
    each and counted twice with ADF (mean, variance), three times in training (forward, dx, dw).
    """

    side: str
    mode: str  # "training" or "inference"
    adf: bool  # or deterministic
    batch: int = 8
    size: int = 128
    widths: tuple = (16, 32, 64, 128)
    norm: bool = False
    # PyTorch takes subnormal numbers as 0, which it does not of itself; adf makes none
    flush_denormal: bool = False


def ours(spec):
    sys.path.insert(0, str(ROOT))
    import adf

    def prepare(images, labels):
        segmenter = adf.Segmenter(
            adf.UNet(1, CLASSES, spec.widths, spec.norm), noise_var=1e-3 if spec.adf else None
        )
        if spec.mode == "training":
            optimizer = adf.Adam(segmenter.parameters())
            return lambda: adf.train_step(segmenter, optimizer, images, labels)
        return lambda: adf.predict(segmenter, images).entropy.mean()

    return prepare


def torch(spec):
    import torch
    from torch_unet import TorchUNet

    torch.set_flush_denormal(spec.flush_denormal)
    # imports PyTorch's compiler, 90 MiB: no memory of the network
    torch.optim.Adam([torch.zeros(1)])

    def prepare(images, labels):
        torch.manual_seed(0)
        network = TorchUNet(1, CLASSES, spec.widths, spec.norm, spec.adf)
        images, labels = torch.from_numpy(images), torch.from_numpy(labels)
        if spec.mode == "training":
            optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
            return lambda: network.train_step(optimizer, images, labels)
        return lambda: network.predict(images)[-1].mean().item()

    return prepare


def products(spec):
    sys.path.insert(0, str(ROOT))
    from shapes import convolutions

    def prepare(images, labels):
        shapes = convolutions(CLASSES, spec.widths, images.shape)
        times = (2 if spec.adf else 1) * (3 if spec.mode == "training" else 1)

        def step():
            step.seconds = sum(times * product(*shape) for shape in shapes)
            return 0.0

        return step

    return prepare


def product(o, k, p):
    """Seconds for (o, k) x (k, p) by BLAS on all cores, into memory that was touched before."""
    w, x, y = np.ones((o, k), "float32"), np.ones((k, p), "float32"), np.ones((o, p), "float32")
    start = time.perf_counter()
    np.matmul(w, x, out=y)
    return time.perf_counter() - start


def measure(spec, warmup, repetitions):
    prepare = {"ours": ours, "torch": torch, "products": products}[spec.side](spec)
    imported = peak()
    rng = np.random.default_rng(0)
    images = rng.standard_normal((spec.batch, 1, spec.size, spec.size), "float32")
    step = prepare(images, rng.integers(0, CLASSES, (spec.batch, spec.size, spec.size)))
    seconds = []
    for _ in range(warmup + repetitions):
        start = time.perf_counter()
        answer = step()  # a loss or a mean entropy
        elapsed = time.perf_counter() - start
        # the products leave out the making of their operands
        seconds.append(getattr(step, "seconds", elapsed))
        if not np.isfinite(answer):
            raise SystemExit(f"{spec}: the answer is {answer}, so its time says nothing")
    return {"seconds": seconds[warmup:], "mib": peak() - imported}


def peak():
    """The most memory this process has held so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1 << (20 if platform.system() == "Darwin" else 10)
    )


def median(results):
    """The median of the seconds and the largest of the peaks of several results.

    Both are NaN where one failed.
    """
    return float(np.median([s for r in results for s in r["seconds"]])), float(
        np.max([r["mib"] for r in results])
    )


if __name__ == "__main__":
    request = json.loads(sys.argv[1])
    print(json.dumps(measure(Spec(**request["spec"]), request["warmup"], request["repetitions"])))
