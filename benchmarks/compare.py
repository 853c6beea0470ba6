"""Compares the library with a textbook PyTorch ADF U-Net, and with itself.

    python benchmarks/compare.py --help

Every measurement is a process of its own (worker.py); the sides take turns, A B A B, for several
rounds, so that a machine that slows down slows both. Times are medians over all repetitions of all
rounds; peaks are the largest of the rounds. It prints Markdown tables to stdout and progress to
stderr, and writes no file.

    training    seconds of a training step (loss, gradients, Adam), ADF and deterministic
    inference   seconds of a prediction (probabilities, concentrations, standard deviations,
                entropy, labels)
    memory      peak memory of both, beyond that of the imports
    growth      how the time grows with batch, image size and width
    limit       our time over that of the bare matrix products of its convolutions, and ADF over
                deterministic

Batches have 8 images of 128 x 128, and widths go from 16 to 128, unless a table says otherwise.
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
from pathlib import Path

from tqdm import tqdm
from worker import ROOT, Spec, median

sys.path.insert(0, str(ROOT))
from adf.files.tables import markdown_table

PARTS = ("training", "inference", "memory", "growth", "limit")
MODES = ("training", "inference")
TORCH_PIXELS = 32 * 128**2  # PyTorch's training step takes 11 GiB for so many; more are left out
QUICK = {"batch": 2, "size": 16, "widths": (4, 8)}


def main():
    args = parse()
    sides = ["ours", "torch"] if versions(args) else ["ours"]
    parts = [args.only] if args.only else PARTS
    base = (QUICK if args.quick else {}) | {"flush_denormal": args.flush_denormal}
    tables = [
        t
        for part in parts
        for t in (growth(base, args.quick) if part == "growth" else [plan(part, base)])
    ]
    limits = plan("limit", base)[2] if "limit" in parts else []
    specs = [spec for _, _, rows in tables for spec in wanted(rows, sides)]
    results = run(dict.fromkeys(specs + [spec._replace(side="products") for spec in limits]), args)
    for title, write, specs in tables:
        print(f"\n## {title}\n\n{markdown_table([write(spec, results) for spec in specs])}")
    if any(math.isnan(seconds) for seconds, _ in results.values()):
        sys.exit("some workers failed: what they were to measure is a dash")


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--torch-python",
        default=sys.executable,
        help="an interpreter with PyTorch and NumPy (this)",
    )
    parser.add_argument("--only", choices=PARTS, help="one part (all)")
    parser.add_argument("--rounds", type=int, default=3, help="how often the sides take turns (3)")
    parser.add_argument(
        "--repetitions", type=int, default=3, help="repetitions in a round, after one warm-up (3)"
    )
    parser.add_argument(
        "--flush-denormal", action="store_true", help="PyTorch with torch.set_flush_denormal(True)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, one repetition: does it run?"
    )
    args = parser.parse_args()
    if min(args.rounds, args.repetitions) < 1:
        parser.error("--rounds and --repetitions expect 1 or more")
    if args.quick:
        args.rounds = args.repetitions = 1
    return args


def versions(args):
    """Prints what is compared on what; whether there is a PyTorch."""
    import numpy

    print(
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
        f"NumPy {numpy.__version__}"
    )
    ask = [
        args.torch_python,
        "-c",
        "import torch; print(torch.__version__, torch.get_num_threads())",
    ]
    try:
        answer = subprocess.run(ask, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        print(
            "PyTorch is missing in the interpreter of --torch-python: only our own figures follow."
        )
        return False
    print("PyTorch {}, {} threads".format(*answer.split()))
    return True


def plan(part, base):
    """A table: its title, the function that writes a row, and the specs of its rows.

    The function writes the row of a spec from all results.
    """
    modes = [part] if part in MODES else MODES
    titles = {
        "memory": "Peak memory beyond the imports, MiB",
        "limit": "Distance to the limit, seconds",
    }
    title, row = (
        titles.get(part, f"{part.capitalize()}, seconds"),
        {"memory": memory, "limit": limit}.get(part, times),
    )
    return title, row, [Spec("ours", mode, adf, **base) for mode in modes for adf in (True, False)]


def growth(base, quick):
    """Tables of how the time of ADF grows: each with the one setting that it varies."""
    widths = (
        [(f, 2 * f) for f in (2, 4)]
        if quick
        else [(f, 2 * f, 4 * f, 8 * f) for f in (4, 8, 16, 32)]
    )
    settings = {
        "batch": (1, 2) if quick else (1, 2, 4, 8, 16, 32),
        "size": (8, 16) if quick else (64, 128, 256, 512),
        "widths": widths,
    }
    for mode in MODES:
        for name, values in settings.items():
            specs = [Spec("ours", mode, True, **{**base, name: value}) for value in values]
            yield (
                f"{mode.capitalize()} with ADF by {name}, seconds",
                lambda s, r, n=name: grown(s, r, n),
                specs,
            )


def wanted(specs, sides):
    """What the rows of these specs need: each on every side, and the bare products."""
    for spec in specs:
        for side in sides:
            if (
                side == "ours"
                or spec.mode == "inference"
                or spec.batch * spec.size**2 <= TORCH_PIXELS
            ):
                yield spec._replace(side=side)


def run(specs, args):
    """spec -> (median seconds, peak MiB), the specs measured in turn, round after round."""
    results = {spec: [] for spec in specs}
    for spec in tqdm([*specs] * args.rounds, unit="worker"):
        python = args.torch_python if spec.side == "torch" else sys.executable
        request = json.dumps({"spec": spec._asdict(), "warmup": 1, "repetitions": args.repetitions})
        worker = [python, str(Path(__file__).with_name("worker.py")), request]
        answer = subprocess.run(worker, stdout=subprocess.PIPE, text=True)
        failed = {"seconds": [math.nan], "mib": math.nan}  # it has said why on stderr
        results[spec].append(failed if answer.returncode else json.loads(answer.stdout))
    return {spec: median(result) for spec, result in results.items()}


def versus(spec, results, quantity):
    """A quantity (0: seconds, 1: MiB) of both sides and the ratio; dashes without a PyTorch."""
    mine = results[spec][quantity]
    other = results.get(spec._replace(side="torch"), (math.nan, math.nan))[quantity]
    return {"ours": mine, "PyTorch": other, "ratio": mine / other}


def name(spec):
    return {"": f"{spec.mode}, {'ADF' if spec.adf else 'deterministic'}"}


def times(spec, results):
    return name(spec) | versus(spec, results, 0)


def memory(spec, results):
    return name(spec) | versus(spec, results, 1)


def grown(spec, results, setting):
    """A row with the time for one pixel of one image, too.

    That time is constant where the time of a step grows in proportion to the pixels.
    """
    value = getattr(spec, setting)
    mine = results[spec][0]
    pixel = {"ours, µs per pixel": 1e6 * mine / (spec.batch * spec.size**2)}
    return (
        {setting: "-".join(map(str, value)) if setting == "widths" else str(value)}
        | versus(spec, results, 0)
        | pixel
    )


def limit(spec, results):
    """Our time over the bare products, and over the deterministic network's (both ours)."""
    mine, bare = results[spec][0], results[spec._replace(side="products")][0]
    plain = results[spec._replace(adf=False)][0]
    return name(spec) | {
        "ours": mine,
        "products": bare,
        "over products": mine / bare,
        "over deterministic": mine / plain,
    }


if __name__ == "__main__":
    main()
