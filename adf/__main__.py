"""The command line, `adf COMMAND`: what each takes, and what it prints."""

import argparse
import dataclasses
import os
import sys
from pathlib import Path

from tqdm import tqdm

from . import __version__, runs
from .engine.threads import thread_count
from .evaluation.data import data_name, parse_names, samples_for
from .evaluation.evaluate import evaluate as evaluate_samples
from .files.atomic import remove_stale
from .files.image_file import read_image
from .files.together import check_writable
from .inference.inputs import find_images, places
from .inference.outputs import Guard, outputs, write_prediction
from .inference.predict import predict as predict_image
from .runs.settings import CLAIM_HELP, DATA_HELP, NOISE_HELP, Settings
from .studies.commands import ALL as studies

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
    for add in (add_train, add_calibrate, add_evaluate, add_predict, *studies):
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


if __name__ == "__main__":
    sys.exit(main())
