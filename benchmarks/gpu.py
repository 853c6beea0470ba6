"""How fast on a GPU, beside PyTorch:  python benchmarks/gpu.py  from the project's root.

A U-Net of widths 16 to 128 without batch norm, batches of 32 images of 256 x 256, training and
inference, ADF and deterministic; each side is a process of its own, in turn, and its time the
median of ten after three. Ours runs with ADF_BACKEND=cupy, PyTorch (torch_unet.py) eagerly, with
autograd. Memory is what either's pool holds. It needs CuPy and a PyTorch with CUDA.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

BATCH, SIZE, WIDTHS, ROUNDS = 32, 256, (16, 32, 64, 128), 2


def ours(mode, adf_on, images, labels):
    """(a step, wait for the device, peak MiB)."""
    import cupy

    import adf

    segmenter = adf.Segmenter(adf.UNet(1, 3, WIDTHS), noise_var=1e-3 if adf_on else None)
    optimizer = adf.Adam(segmenter.parameters())

    def step():
        if mode == "training":
            return adf.train_step(segmenter, optimizer, images, labels)
        return adf.predict(segmenter, images)

    pool = cupy.get_default_memory_pool()
    return step, cupy.cuda.Device().synchronize, lambda: pool.total_bytes() / 2**20


def theirs(mode, adf_on, images, labels):
    """The same of PyTorch; images and answers travel as ours do."""
    import torch
    from torch_unet import TorchUNet

    network = TorchUNet(1, 3, WIDTHS, False, adf_on).cuda()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)

    def step():
        x = torch.from_numpy(images).cuda()
        if mode == "training":
            return network.train_step(optimizer, x, torch.from_numpy(labels).cuda())
        return [None if field is None else field.cpu() for field in network.predict(x)]

    return step, torch.cuda.synchronize, lambda: torch.cuda.max_memory_reserved() / 2**20


def measure(side, mode, kind):
    """Prints (seconds, MiB) of one side, as JSON."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((BATCH, 1, SIZE, SIZE), "float32")
    labels = rng.integers(0, 3, (BATCH, SIZE, SIZE))
    make = {"ours": ours, "PyTorch": theirs}[side]
    step, wait, peak = make(mode, kind == "ADF", images, labels)
    for _ in range(3):
        step()
    wait()
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        step()
        wait()
        seconds.append(time.perf_counter() - start)
    print(json.dumps([float(np.median(seconds)), peak()]))


def main():
    root = Path(__file__).parents[1]
    path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "ADF_BACKEND": "cupy", "PYTHONPATH": path}
    print("|                          | ours, ms | PyTorch, ms | ratio | MiB, ours | PyTorch |")
    print("| ------------------------ | -------: | ----------: | ----: | --------: | ------: |")
    for mode in ("training", "inference"):
        for kind in ("ADF", "deterministic"):
            found = {"ours": [], "PyTorch": []}
            for side in [*found] * ROUNDS:
                command = [sys.executable, __file__, side, mode, kind]
                done = subprocess.run(command, env=environment, capture_output=True, text=True)
                if done.returncode:
                    raise SystemExit(f"{' '.join(command)}: {done.stderr[-2000:]}")
                found[side].append(json.loads(done.stdout.splitlines()[-1]))
            (ms, mib), (their_ms, their_mib) = (min(rows) for rows in found.values())
            print(
                f"| {f'{mode}, {kind}':24} | {1e3 * ms:8.1f} | {1e3 * their_ms:11.1f} "
                f"| {ms / their_ms:5.2f} | {mib:9.0f} | {their_mib:7.0f} |"
            )


if __name__ == "__main__":
    measure(*sys.argv[1:]) if len(sys.argv) > 1 else main()
