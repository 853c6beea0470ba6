"""The commands that ask something of the library, `adf compare` and others.

What a command needs is imported when it is called: `adf predict` waits for none of it.
"""

import sys
import time
from pathlib import Path

from .. import figures, runs
from ..files.atomic import atomic_write
from ..files.together import check_writable
from ..runs.settings import DATA_HELP, Settings


def add_compare(commands):
    p = commands.add_parser(
        "compare", help="train all systems, measure them side by side; finished runs stay"
    )
    # What to train and test on, then how much, then where it goes.
    nuclei = "images/ and labels/ to train on as well; with --methods to be doubted, unseen"
    p.add_argument("--nuclei", type=Path, metavar="FOLDER", help=nuclei)
    yeast = "the published format, to test on without training"
    p.add_argument("--yeast", type=Path, metavar="FOLDER", help=yeast)
    p.add_argument("--seeds", type=int, default=3, help="on the synthetic images; default 3")
    p.add_argument("--steps", type=int, help="of each training, for a quick look")
    tune = "compare settings of each system on validation images instead"
    methods = "compare the ways to doubt weights instead, one seed: methods.csv, methods.md"
    instead = p.add_mutually_exclusive_group()
    instead.add_argument("--tune", action="store_true", help=tune)
    instead.add_argument("--methods", action="store_true", help=methods)
    folder = Path("runs/compare")
    p.add_argument("--runs", type=Path, default=folder, metavar="FOLDER", help=f"default {folder}")
    p.add_argument(
        "--out", type=Path, default=Path("results"), metavar="FOLDER", help="default results"
    )
    p.set_defaults(command=compare)


def add_budget(commands):
    p = commands.add_parser(
        "budget", help="a network's variances against the true ones, layer by layer"
    )
    p.add_argument("run", type=Path, metavar="RUN")
    p.add_argument("--images", type=int, default=2, help="how many test images; default 2")
    samples = "of each image; default 256, which takes 2 GiB"
    p.add_argument("--samples", type=int, default=256, help=samples)
    p.add_argument("--data", help=DATA_HELP + "; default: the run's data")
    seeds = "of small networks that are trained at two weights of the density; default none"
    p.add_argument("--seeds", type=int, default=0, metavar="N", help=seeds)
    p.add_argument("--out", type=Path, metavar="FOLDER", help="default RUN")
    p.set_defaults(command=error_budget)


def add_promise(commands):
    p = commands.add_parser(
        "promise", help="what variances are good for: labels that flip, pixels that are wrong"
    )
    p.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="alike but for their seeds")
    told = "they also learn on, on images of any noise, told of it or not: 10 minutes a run"
    p.add_argument("--told", action="store_true", help=told)
    real = "of real images, on which variances are learned anew, without their labels"
    p.add_argument("--data", metavar="FOLDER", help=real)
    p.add_argument("--out", type=Path, metavar="FOLDER", help="default: the first RUN")
    p.set_defaults(command=promise)


def add_variants(commands):
    p = commands.add_parser(
        "variants", help="every way to true variances that was tried, in one table; rows stay"
    )
    p.add_argument("run", type=Path, metavar="RUN")
    default = Settings.calibration_steps
    steps = f"of learning; further ones are of the default alone; default {default}"
    p.add_argument("--steps", type=int, nargs="+", default=[default], metavar="N", help=steps)
    p.add_argument("--data", metavar="FOLDER", help="of real images, to score on as well")
    p.add_argument("--out", type=Path, metavar="FOLDER", help="default RUN")
    p.set_defaults(command=variants)


def add_verify(commands):
    p = commands.add_parser(
        "verify", help="every layer against exact arithmetic, samples, differences: a table"
    )
    file = Path("VERIFICATION.md")
    p.add_argument("--out", default=file, type=Path, metavar="FILE", help=f"default {file}")
    p.set_defaults(command=verify)


def add_pbp(commands):
    what = "regression by probabilistic backpropagation: error and likelihood on published splits"
    p = commands.add_parser("pbp", help=what)
    files = (
        "data.txt, index_features.txt, index_target.txt, index_train_0.txt, index_test_0.txt ..."
    )
    p.add_argument("folder", type=Path, metavar="FOLDER", help=files)
    p.add_argument("--hidden", type=int, default=50, help="units; default 50")
    p.add_argument("--epochs", type=int, default=40, help="passes over the data; default 40")
    p.add_argument("--splits", type=int, help="only the first so many")
    p.add_argument("--out", type=Path, metavar="FILE", help="default runs/pbp/NAME.csv")
    p.set_defaults(command=pbp)


def compare(args):
    from . import comparison

    for folder in (args.runs, args.out):
        check_writable(folder)  # said now, not after hours
    if args.tune:
        comparison.tune(args.runs.parent / "tune", args.out)
    elif args.methods:
        comparison.compare_methods(args.runs, args.out, args.nuclei, args.steps)
    else:
        comparison.compare(args.runs, args.out, args.nuclei, args.yeast, args.seeds, args.steps)
    return 0


def error_budget(args):
    from .budget.report import report as budget_report
    from .budget.two_weights import two_weights

    run = runs.load(args.run)
    # What cannot be asked, or not be written, is refused before anything is sampled.
    folder = args.out or args.run
    if args.images < 1 or args.samples < 2 or args.seeds < 0:
        raise ValueError(
            "expected --images of 1 or more, --samples of 2 or more and --seeds of 0 or more, "
            f"got {args.images}, {args.samples} and {args.seeds}"
        )
    check_writable(folder)
    report, pictures = budget_report(run, args.images, args.samples, args.data)
    folder.mkdir(parents=True, exist_ok=True)
    report += two_weights(run, args.seeds, args.data)
    for name, figure in pictures.items():
        figures.save(figure, folder / name)
    with atomic_write(folder / "error_budget.md") as file:
        file.write(report.encode())
    print(f"look at {folder / 'error_budget.md'} and {' and '.join(pictures)}")
    return 0


def promise(args):
    from .promise.report import report as promise_report

    # What cannot be asked, or not be written, is refused before anything is measured.
    folder = args.out or args.runs[0]
    check_writable(folder)
    command = f"python -m adf promise {' '.join(map(str, args.runs))}"
    command += " --told" if args.told else ""
    command += f" --data {args.data}" if args.data else ""
    folder.mkdir(parents=True, exist_ok=True)
    found = [runs.load(path) for path in args.runs]
    text = promise_report(found, command, args.told, args.data, folder)
    with atomic_write(folder / "promise.md") as file:
        file.write(text.encode())
    print(f"look at {folder / 'promise.md'}")
    return 0


def variants(args):
    from .variants.table import variants as measure_variants

    run = runs.load(args.run)
    folder = args.out or args.run
    if min(args.steps) < 1:
        raise ValueError(f"expected --steps of 1 or more, got {min(args.steps)}")
    check_writable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    measure_variants(run, args.steps, args.data, folder)
    print(f"look at {folder / 'variants.md'}")
    return 0


def verify(args):
    try:
        from .verification import SAMPLES, verify  # needs mpmath, which nothing else does
    except ModuleNotFoundError as error:
        raise ValueError(
            f"verify needs the package {error.name}: pip install {error.name}"
        ) from None
    # What cannot be written is said now, not after a minute.
    if not args.out.resolve().parent.is_dir() or args.out.is_dir():
        raise ValueError(f"expected --out to be a file in a folder that exists, got {args.out}")
    check_writable(args.out.resolve().parent)
    # The table is written whatever it says; a row outside its bound is an error of its own.
    start = time.perf_counter()
    report = verify(SAMPLES)
    with atomic_write(args.out) as file:
        file.write(report.text.encode())
    print(f"{report.rows} rows in {time.perf_counter() - start:.0f} s; look at {args.out}")
    if report.outside:
        outside = "; ".join(report.outside)
        what = f"{len(report.outside)} rows OUTSIDE their bounds: {outside}"
        print(f"adf: error: {what}", file=sys.stderr)
    return 1 if report.outside else 0


def pbp(args):
    from . import regression

    for name in ("hidden", "epochs", "splits"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"expected --{name} of 1 or more, got {value}")
    # What cannot be written is said now, not after a split.
    out = args.out or Path("runs/pbp") / f"{args.folder.resolve().name}.csv"
    check_writable(out.parent)
    out.parent.mkdir(parents=True, exist_ok=True)
    print(regression.study(args.folder, out, args.hidden, args.epochs, args.splits))
    print(f"look at {out}")
    return 0


ALL = (add_compare, add_budget, add_variants, add_promise, add_verify, add_pbp)
