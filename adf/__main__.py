"""The command line, `adf COMMAND`: what each takes, and what it prints."""

import argparse
import dataclasses
import os
import sys
import time
from pathlib import Path

from tqdm import tqdm

from . import __version__, figures, runs
from .engine.threads import thread_count
from .evaluation.data import data_name, parse_names, samples_for
from .evaluation.evaluate import evaluate as evaluate_samples
from .files.atomic import atomic_write, remove_stale
from .files.image_file import read_image
from .files.together import check_writable
from .inference.inputs import find_images, places
from .inference.outputs import Guard, outputs, write_prediction
from .inference.predict import predict as predict_image
from .runs.settings import CLAIM_HELP, DATA_HELP, NOISE_HELP, Settings

LARGE = 256  # twice the side of the images of training
SCALE_HINT = (
    "if its cells are more than 48 pixels across, what this network has seen, "
    "scale it down and predict again"
)


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message}\n")  # one line; the usage is a --help away


def main(argv=None):
    never_fail_to_print()
    args = parser().parse_args(argv)
    try:
        return args.command(args)
    except (ValueError, OSError) as error:
        return fail(error)
    except MemoryError as error:
        reason = error or "no more to be had"
        return fail(f"not enough memory ({reason}): a smaller image or --batch-size needs less")
    except KeyboardInterrupt:
        return fail("interrupted", 130)


def never_fail_to_print():
    """What a console cannot show is escaped; where there is no console nothing is shown."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def fail(error, status=2):
    """Prints an error in one line, not into the middle of a progress bar; returns the status."""
    tqdm.write(f"adf: error: {' '.join(str(error).split())}", file=sys.stderr)
    return status


def parser():
    top = Parser(
        prog="adf", description="Lightweight probabilistic deep networks for cell segmentation."
    )
    top.add_argument("--version", action="version", version=f"adf {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for add in (add_train, add_calibrate, add_evaluate, add_predict):
        add(commands)
    for add in (add_compare, add_budget, add_variants, add_promise, add_verify, add_pbp):
        add(commands)
    return top


def add_train(commands):
    p = commands.add_parser(
        "train",
        help="train a network; RUN gets checkpoint.npz, log.csv, overview.png",
        argument_default=argparse.SUPPRESS,
    )
    # Every setting that says what it is becomes an option. What is not given stays out of the
    # namespace, so that --resume takes it from the checkpoint.
    for field in dataclasses.fields(Settings):
        about = field.metadata
        if about["help"]:
            default = "" if field.default is None else f"; default {field.default}"
            p.add_argument(
                f"--{field.name.replace('_', '-')}",
                type=about["kind"],
                choices=about["choices"],
                help=about["help"] + default,
            )
    run = Path("runs/run")
    p.add_argument("--out", default=run, type=Path, metavar="RUN", help=f"default {run}")
    resume = "go on with the checkpoint in RUN, if any"
    p.add_argument("--resume", action="store_true", default=False, help=resume)
    p.set_defaults(command=train)


def add_calibrate(commands):
    what = "learn the weights of the variances anew, on images without labels"
    p = commands.add_parser("calibrate", help=what)
    p.add_argument("run", type=Path, metavar="RUN")
    images = "synthetic, a folder of images or of a data set, or a pattern; default: the run's data"
    p.add_argument("--data", metavar="IMAGES", help=images)
    default = Settings.calibration_steps
    p.add_argument("--steps", type=int, default=default, help=f"default {default}")
    p.add_argument("--out", type=Path, metavar="FOLDER", help="for the new run; default RUN")
    add_noise(p)
    p.set_defaults(command=calibrate)


def add_evaluate(commands):
    p = commands.add_parser("evaluate", help="the table of metrics, and the figures")
    p.add_argument("run", type=Path, metavar="RUN")
    p.add_argument("--data", default="synthetic", help=DATA_HELP)
    indices = "its labels are indices of that many classes; default: as the run was trained"
    p.add_argument("--classes", type=int, metavar="K", help=indices)
    names = "what its classes 0, 1, ... are called in the run, as in background,trap,cell"
    p.add_argument("--class-names", metavar="NAMES", help=names)
    add_noise(p)
    p.set_defaults(command=evaluate)


def add_predict(commands):
    what = "for each NAME: NAME_labels.png, NAME_std.tif, NAME_overview.png"
    p = commands.add_parser("predict", help=what)
    p.add_argument("run", type=Path, metavar="RUN")
    formats = (
        "images (.png, .tif, .npy or .pt; any size), folders of them, or patterns such as *.tif"
    )
    p.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help=formats)
    p.add_argument("--out", default=Path("predictions"), type=Path, metavar="FOLDER")
    anew = "replace files that are there, whoever wrote them, but no image of this call"
    p.add_argument("--overwrite", action="store_true", help=anew)
    add_noise(p)
    p.set_defaults(command=predict)


def add_noise(p):
    """What noise images have, where it is not the run's."""
    p.add_argument("--noise", help=f"{CLAIM_HELP}; default: as the run")
    p.add_argument("--noise-var", type=float, help=f"{NOISE_HELP}; default: as the run")


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
    p.add_argument("--out", type=Path, metavar="FOLDER", help="default RUN")
    p.set_defaults(command=error_budget)


def add_promise(commands):
    p = commands.add_parser(
        "promise", help="what variances are good for: labels that flip, pixels that are wrong"
    )
    p.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="alike but for their seeds")
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


def load(args):
    """The run that a command names, with the noise that it claims."""
    run = runs.load(args.run)
    given = {name: getattr(args, name) for name in ("noise", "noise_var")}
    run.claim(**{name: value for name, value in given.items() if value is not None})
    return run


def train(args):
    given = {f.name: getattr(args, f.name) for f in dataclasses.fields(Settings) if f.name in args}
    run, source = runs.start(args.out, given, args.resume)
    settings = run.settings
    # What cannot be trained on, and a wrong ADF_THREADS, are refused before anything is written.
    run.segmenter.input(source.training(0, 1, settings.seed)[0])
    thread_count()
    runs.prepare(run)
    size = sum(p.value.size for p in run.segmenter.parameters())
    left = f"{settings.all_steps - run.step} of {settings.all_steps} steps to go"
    print(f"{settings.system}: {size:,} parameters, {left}")
    run.train(source)
    samples = source.validation(settings.seed)
    names = source.class_names
    print(evaluate_samples(run.predictor(), samples, names, run.folder, "validation"))
    print(f"look at {run.folder / 'overview.png'}")
    return 0


def calibrate(args):
    run = load(args)
    thread_count()  # a wrong ADF_THREADS is refused before the work
    runs.recalibrate(run, args.data, args.steps, args.out)
    print(f"{run.path} has the new variances")
    return 0


def evaluate(args):
    run = load(args)
    names = args.class_names and parse_names(args.class_names)
    samples = samples_for(run.settings, args.data, args.classes, names)
    # Whether they were trained on is known of the run's own data alone.
    if not same_data(args.data, run.settings.data):
        samples = [sample._replace(trained_on=False) for sample in samples]
    folder = args.run / f"evaluate-{data_name(args.data)}"
    check_writable(folder)
    folder.mkdir(exist_ok=True)
    known = run.settings.class_names
    print(evaluate_samples(run.predictor(), samples, known, folder, args.data))
    print(f"this table is in {folder / 'metrics.csv'} and metrics.md, too")
    print(f"look at {folder / 'overview.png'}, reliability.png and sparsification.png")
    return 0


def same_data(one, other):
    return one == other or os.path.realpath(one) == os.path.realpath(other)


def predict(args):
    run = load(args)
    predictor = run.predictor()
    jobs, guard = plan(args)
    # One image that cannot be read or written does not keep the others from their predictions.
    status = 0
    written = 0
    for job in tqdm(jobs, unit=" images", desc="predict", disable=len(jobs) == 1):
        try:
            predict_one(predictor, run.settings.class_names, guard, *job)
            written += 1
        except (ValueError, OSError) as error:
            status = fail(error)
        except MemoryError:
            status = fail(f"{job[0]}: not enough memory for an image of this size")
    if written:
        print(f"look at {args.out}")
    return status


def plan(args):
    """(jobs, guard): the images, with the folder and name of the outputs of each.

    What would be lost, or cannot be written, is refused here, before the first prediction.
    """
    images, skipped = find_images(args.images)
    if skipped:
        print(f"{skipped} other files skipped, no images or predictions themselves")
    jobs = [(image, *place) for image, place in zip(images, places(images, args.out), strict=True)]
    guard = Guard(images, args.overwrite)
    for image, folder, name in jobs:
        guard.check(image, outputs(folder, name))
    # What killed calls have left in these folders is removed.
    for folder in {folder for _, folder, _ in jobs}:
        check_writable(folder)
        if folder.is_dir():
            remove_stale(folder)
    return jobs, guard


def predict_one(predictor, class_names, guard, path, folder, name):
    """Reads an image, predicts it and writes the three files, if they may be written."""
    image = read_image(path)
    prediction = predict_image(predictor, image[None, None])
    guard.check(path, outputs(folder, name))  # once more: some minutes may have passed
    guard.written(write_prediction(folder, name, image, prediction, class_names, path))
    if min(image.shape) > LARGE:
        tqdm.write(f"{path} is {image.shape[0]} x {image.shape[1]}: {SCALE_HINT}")


def compare(args):
    from .studies import comparison

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
    from .studies.budget.report import report as budget_report

    run = runs.load(args.run)
    # What cannot be asked, or not be written, is refused before anything is sampled.
    folder = args.out or args.run
    if args.images < 1 or args.samples < 2:
        raise ValueError(
            "expected --images of 1 or more and --samples of 2 or more, "
            f"got {args.images} and {args.samples}"
        )
    check_writable(folder)
    report, pictures = budget_report(run, args.images, args.samples, args.data)
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in pictures.items():
        figures.save(figure, folder / name)
    with atomic_write(folder / "error_budget.md") as file:
        file.write(report.encode())
    print(f"look at {folder / 'error_budget.md'} and {' and '.join(pictures)}")
    return 0


def promise(args):
    from .studies.promise.report import report as promise_report

    folder = args.out or args.runs[0]
    check_writable(folder)
    command = f"python -m adf promise {' '.join(map(str, args.runs))}"
    text = promise_report([runs.load(path) for path in args.runs], command)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / "promise.md") as file:
        file.write(text.encode())
    print(f"look at {folder / 'promise.md'}")
    return 0


def variants(args):
    from .studies.variants.table import variants as measure_variants

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
        from .studies.verification import SAMPLES, verify  # needs mpmath, which nothing else does
    except ModuleNotFoundError as error:
        return fail(f"verify needs the package {error.name}: pip install {error.name}")
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
        return fail(f"{len(report.outside)} rows OUTSIDE their bounds: {outside}", 1)
    return 0


def pbp(args):
    from .studies import regression

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


if __name__ == "__main__":
    sys.exit(main())
