"""The command line: python -m adf train | evaluate | predict | compare | budget | verify."""

import argparse
import sys
import time
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from . import evaluation, figures, files, runs
from .budget.report import report as budget_report
from .data.augment import SYMMETRIES
from .data.image_file import read_image
from .parallel import threads
from .segmenter import predict

NOISE_HELP = "variance (not standard deviation) of the noise, in units of the normalised image's variance"
DATA_HELP = "synthetic, synthetic:COUNT, a folder in the published format, or one with images/ and labels/"
LARGE = 256  # twice the side of the images of training
SCALE_HINT = "if its cells are more than 48 pixels across, what this network has seen, scale it down and predict again"


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message}\n")  # one line; the usage is a --help away


def main(argv=None):
    args = parser().parse_args(argv)
    try:
        return args.command(args)
    except (ValueError, OSError) as error:
        return fail(error)
    except MemoryError as error:
        return fail(f"not enough memory ({error or 'no more to be had'}): a smaller image or --batch-size needs less")
    except KeyboardInterrupt:
        return fail("interrupted", 130)


def fail(error, status=2):
    tqdm.write(f"adf: error: {' '.join(str(error).split())}", file=sys.stderr)  # not into the middle of a bar
    return status


def parser():
    defaults = runs.Settings()
    top = Parser(prog="adf", description="Lightweight probabilistic deep networks for cell segmentation.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    p = commands.add_parser(
        "train",
        help="train a network; RUN gets checkpoint.npz, log.csv, overview.png",
        argument_default=argparse.SUPPRESS,  # so that --resume takes what is not given from the checkpoint
    )
    p.add_argument("--system", choices=runs.SYSTEMS, help=f"default {defaults.system}")
    p.add_argument("--data", help=f"{DATA_HELP}; default {defaults.data}")
    p.add_argument("--classes", type=int, help="labels are indices of that many classes; without, 0 and objects")
    p.add_argument(
        "--augment", choices=SYMMETRIES, help=f"how images that come back change; default {defaults.augment}"
    )
    p.add_argument("--out", default=Path("runs/run"), type=Path, metavar="RUN", help="default runs/run")
    p.add_argument("--steps", type=int, help=f"default {defaults.steps}")
    p.add_argument("--batch-size", type=int, help=f"default {defaults.batch_size}")
    p.add_argument("--learning-rate", type=float, help=f"its peak; default {defaults.learning_rate}")
    p.add_argument("--noise-var", type=float, help=f"{NOISE_HELP}; default {defaults.noise_var}; unet-bn: none")
    p.add_argument("--seed", type=int, help=f"default {defaults.seed}")
    p.add_argument("--resume", action="store_true", default=False, help="go on with the checkpoint in RUN, if any")
    p.set_defaults(command=train)

    p = commands.add_parser("evaluate", help="the table of metrics, and the figures")
    p.add_argument("run", type=Path, metavar="RUN")
    p.add_argument("--data", default="synthetic", help=DATA_HELP)
    p.set_defaults(command=evaluate)

    p = commands.add_parser("predict", help="for each NAME: NAME_labels.png, NAME_std.tif, NAME_overview.png")
    p.add_argument("run", type=Path, metavar="RUN")
    p.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help=".png, .tif, .npy or .pt; any size")
    p.add_argument("--out", default=Path("predictions"), type=Path, metavar="FOLDER")
    p.set_defaults(command=predict_files)

    p = commands.add_parser("compare", help="train all systems, measure them side by side; finished runs stay")
    p.add_argument("--nuclei", type=Path, metavar="FOLDER", help="images/ and labels/ to train on as well")
    p.add_argument("--yeast", type=Path, metavar="FOLDER", help="the published format, to test on without training")
    p.add_argument("--seeds", type=int, default=3, help="on the synthetic images; default 3")
    p.add_argument("--steps", type=int, help="of each training, for a quick look")
    p.add_argument("--tune", action="store_true", help="compare settings of each system on validation images instead")
    p.add_argument("--runs", type=Path, default=Path("runs/compare"), metavar="FOLDER", help="default runs/compare")
    p.add_argument("--out", type=Path, default=Path("results"), metavar="FOLDER", help="default results")
    p.set_defaults(command=compare)

    p = commands.add_parser("budget", help="a network's variances against the true ones, layer by layer")
    p.add_argument("run", type=Path, metavar="RUN")
    p.add_argument("--images", type=int, default=2, help="how many test images; default 2")
    p.add_argument("--samples", type=int, default=256, help="of each image; default 256, which takes 2 GiB")
    p.add_argument("--out", type=Path, metavar="FOLDER", help="default RUN")
    p.set_defaults(command=error_budget)

    p = commands.add_parser("verify", help="every layer against exact arithmetic, samples, differences: a table")
    p.add_argument("--out", default=Path("VERIFICATION.md"), type=Path, metavar="FILE", help="default VERIFICATION.md")
    p.set_defaults(command=verify)
    return top


def train(args):
    names = ("system", "data", "classes", "augment", "steps", "batch_size", "learning_rate", "noise_var", "seed")
    given = {name: getattr(args, name) for name in names if name in args}
    run, source = runs.start(args.out, given, args.resume)
    settings = run.settings
    source.training(0, 1, settings.seed)  # what cannot be trained on is refused before anything is written
    threads()  # and so is a wrong ADF_THREADS
    runs.prepare(run)
    size = sum(p.value.size for p in run.segmenter.parameters())
    print(f"{settings.system}: {size:,} parameters, {settings.steps - run.step} of {settings.steps} steps to go")
    run.train(source)
    samples = source.validation(settings.seed)
    print(evaluation.evaluate(run.segmenter, samples, source.class_names, run.folder, "validation"))
    print(f"look at {run.folder / 'overview.png'}")
    return 0


def evaluate(args):
    run = runs.load(args.run)
    source = runs.open_data(run, args.data)
    samples = source.test(run.settings.seed)
    folder = args.run / ("evaluate-" + Path(args.data).resolve().name.replace(":", "-"))
    folder.mkdir(exist_ok=True)
    print(evaluation.evaluate(run.segmenter, samples, source.class_names, folder, args.data))
    print(f"look at {folder / 'overview.png'}, reliability.png and sparsification.png")
    return 0


def predict_files(args):
    run = runs.load(args.run)
    names = [path.stem for path in args.images]
    twice = sorted(name for name in set(names) if names.count(name) > 1)
    if twice:
        raise ValueError(f"expected images of different names, got {twice[0]} twice: one would overwrite the other")
    for path in args.images:
        there = [p for p in outputs(args.out, path.stem) if p.exists() and path.resolve().parent == args.out.resolve()]
        if there:
            raise ValueError(f"{there[0]} lies beside its image and may be yours: move it, or choose another --out")
    status, written = 0, 0
    for path in tqdm(args.images, unit=" images", desc="predict", disable=len(args.images) == 1):
        try:
            image = read_image(path)
            prediction = predict(run.segmenter, image[None, None])
            write_prediction(args.out, path.stem, image, prediction, run.settings.class_names)
            written += 1
            if min(image.shape) > LARGE:
                tqdm.write(f"{path} is {image.shape[0]} x {image.shape[1]}: {SCALE_HINT}")
        except (ValueError, OSError) as error:
            status = fail(error)
        except MemoryError:
            status = fail(f"{path}: not enough memory for an image of this size")
    if written:
        print(f"look at {args.out}")
    return status


def outputs(folder, name):
    """Class indices; mean class standard deviation, float32; the four pictures."""
    return [folder / f"{name}_labels.png", folder / f"{name}_std.tif", folder / f"{name}_overview.png"]


def compare(args):
    from . import comparison

    if args.tune:
        comparison.tune(args.runs.parent / "tune", args.out)
    else:
        comparison.compare(args.runs, args.out, args.nuclei, args.yeast, args.seeds, args.steps)
    return 0


def error_budget(args):
    run = runs.load(args.run)
    folder = args.out or args.run
    report, figure = budget_report(run, args.images, args.samples)
    folder.mkdir(parents=True, exist_ok=True)
    figures.save(figure, folder / "error_budget.png")
    with files.atomic_write(folder / "error_budget.md") as file:
        file.write(report.encode())
    print(f"look at {folder / 'error_budget.md'} and error_budget.png")
    return 0


def verify(args):
    try:
        from .verification import SAMPLES, verify  # needs mpmath, which nothing else does
    except ModuleNotFoundError as error:
        return fail(f"verify needs the package {error.name}: pip install {error.name}")
    if not args.out.resolve().parent.is_dir():
        raise ValueError(f"expected --out to lie in a folder that exists, got {args.out}")  # now, not after a minute
    start = time.perf_counter()
    report = verify(SAMPLES)
    with files.atomic_write(args.out) as file:
        file.write(report.text.encode())
    print(f"{report.rows} rows in {time.perf_counter() - start:.0f} s; look at {args.out}")
    if report.outside:
        return fail(f"{len(report.outside)} rows OUTSIDE their bounds: {'; '.join(report.outside)}", 1)
    return 0


def write_prediction(folder, name, image, prediction, class_names):
    """Writes the three outputs of an image, or, where one cannot be written, none."""
    labels, std = (Image.fromarray(a) for a in (prediction.labels[0], prediction.class_std[0].mean(axis=0)))
    figure = figures.overview(image[None], prediction, class_names=class_names, titles=[name])
    writers = (
        lambda file: labels.save(file, format="PNG"),
        lambda file: std.save(file, format="TIFF"),
        lambda file: figures.save(figure, file),
    )
    folder.mkdir(parents=True, exist_ok=True)
    done = []
    try:
        for path, write in zip(outputs(folder, name), writers, strict=True):
            with files.atomic_write(path) as file:
                write(file)
            done.append(path)
    except OSError:
        for path in done:
            path.unlink(missing_ok=True)
        raise


if __name__ == "__main__":
    sys.exit(main())
