"""Do both compute the same? python benchmarks/same.py --torch-python PATH

The weights of adf.UNet go into the textbook PyTorch network, in float64 and without its floors. The
table has the largest differences of logits, loss and gradients, each relative to the largest value
of its array. Images are 32 x 32, and noise has variance 0.001 as elsewhere. With batch norm only
predictions are compared, with random running statistics: in training the textbook takes other
statistics (see torch_unet.py). The exit status is 1 where a difference is above 1e-6.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

TOLERANCE = 1e-6  # E[y^2] - E[y]^2 loses digits, even in float64
CASES = {"ADF": (True, False), "deterministic": (False, False), "ADF, batch norm": (True, True)}


def ours(adf_on, norm, folder):
    """Writes the weights and the images, and returns our answers by name."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    import adf

    rng = np.random.default_rng(0)
    images = rng.standard_normal((2, 1, 32, 32))
    labels = rng.integers(0, 3, (2, 32, 32))
    segmenter = adf.Segmenter(adf.UNet(1, 3, norm=norm), noise_var=1e-3 if adf_on else None)
    for p in segmenter.parameters():
        p.value = p.value.astype("float64") + 0.01 * rng.standard_normal(p.value.shape)
    for s in segmenter.network.statistics():
        s.value = rng.uniform(0.5, 1.5, s.value.shape)
    weights = {f"weight{i}": p.value for i, p in enumerate(segmenter.parameters())}
    statistics = {f"statistic{i}": s.value for i, s in enumerate(segmenter.network.statistics())}
    np.savez(folder / "task.npz", images=images, labels=labels, **weights, **statistics)
    y = segmenter.network.predict(segmenter.input(images))
    answers = {"logits, mean": y.mean} | ({"logits, variance": y.var} if adf_on else {})
    if norm:
        return answers
    loss, backward = segmenter.loss(segmenter.input(images), labels)
    backward(1 / labels.size)
    gradients = {f"gradient {i}": p.grad for i, p in enumerate(segmenter.parameters())}
    return answers | {"loss": np.array(loss / labels.size)} | gradients


def theirs(adf_on, norm, folder):
    """The worker: reads the task, writes PyTorch's answers by the same names."""
    import torch
    from torch_unet import TorchUNet

    task = {name: torch.from_numpy(array) for name, array in np.load(folder / "task.npz").items()}
    network = TorchUNet(1, 3, norm=norm, adf=adf_on, floor=0.0).double()
    parameters = list(network.parameters())
    statistics = [b for name, b in network.named_buffers() if "running" in name]
    with torch.no_grad():
        for kind, arrays in ("weight", parameters), ("statistic", statistics):
            if len(arrays) != sum(name.startswith(kind) for name in task):
                raise ValueError(
                    f"the networks differ: {len(arrays)} arrays of kind {kind} in PyTorch's"
                )
            for i, array in enumerate(arrays):
                array.view_as(task[f"{kind}{i}"]).copy_(task[f"{kind}{i}"])
        mean, var = network.eval()(task["images"])
    answers = {"logits, mean": mean} | ({"logits, variance": var} if adf_on else {})
    if not norm:
        loss = network.train().loss(task["images"], task["labels"])
        loss.backward()
        answers |= {"loss": loss.detach()} | {
            f"gradient {i}": p.grad for i, p in enumerate(parameters)
        }
    np.savez(folder / "answers.npz", **{name: array.numpy() for name, array in answers.items()})


def differences(case, python):
    """name -> the largest difference over the largest value; all gradients share one name."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mine = ours(*CASES[case], folder)
        if subprocess.run([python, __file__, "--worker", case, name]).returncode:
            sys.exit("no answer from the interpreter of --torch-python: has it PyTorch and NumPy?")
        with np.load(folder / "answers.npz") as other:
            found = {
                key: np.abs(mine[key] - other[key]).max() / np.abs(mine[key]).max() for key in mine
            }
    gradients = [found.pop(key) for key in list(found) if key.startswith("gradient")]
    return found | ({"gradients": max(gradients)} if gradients else {})


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--torch-python",
        default=sys.executable,
        help="an interpreter with PyTorch and NumPy (this)",
    )
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return theirs(*CASES[args.worker[0]], Path(args.worker[1]))
    rows = [{"": case} | differences(case, args.torch_python) for case in CASES]
    from adf.files.tables import markdown_table

    print(markdown_table(rows))
    return not all(value < TOLERANCE for row in rows for value in list(row.values())[1:])


if __name__ == "__main__":
    sys.exit(main())
