"""The rows of all variants: measured once, kept as CSV, shown as Markdown."""

import functools
import math
import zlib

from tqdm import tqdm

from ...files.atomic import atomic_write
from ...files.tables import markdown_table
from ..budget.plain import strip
from ..budget.report import shown, two_digits
from ..budget.score import Score
from ..comparison.rows import read, write
from .bench import IMAGES, PIXELS, SAMPLES, Bench, learned, of_gradients, plain, sampled
from .text import VARIANTS
from .ways import OnePerLayer, layer_gain, loadings_alone, local_step

KEY = ("variant", "steps", "weights", "data")  # by which a row is known again
COUNTS = (4, 16)  # of samples; ADF costs about 4 passes
U = {"common_modes": math.inf, "is_finished": False}
U_R = U | {"common_modes": 0}
SCALAR = U | {"gain_of": layer_gain}
LEARNED = {  # name -> the options of `learned`
    "one scalar a layer, fitted to its outputs": SCALAR | {"steps": 0},
    "one gain a channel, fitted to its outputs": U | {"steps": 0},
    "one scalar a layer, learned": SCALAR | {"adam": OnePerLayer},
    "u, by local losses": U | {"step": local_step},
    "u": U,
    "r everywhere; u as it begins": U_R | {"adam": loadings_alone},
    "u and r everywhere": U_R,
    "u and gates": U | {"gates": 1 / 4},
    "u, gates, r in wide layers": U | {"gates": 1 / 4, "common_modes": 1 / 2},
    "u, r in wide layers, last layer too": {"common_modes": 1 / 2},
}
DEFAULT = "as `adf train`: u and r everywhere, last layer too"


def jobs(steps):
    """(name, steps, function of a Bench that measures it) of every variant."""
    yield "plain ADF", 0, plain
    for name, options in (*LEARNED.items(), *((DEFAULT, {"steps": count}) for count in steps)):
        options = {"steps": steps[0]} | options
        yield name, options["steps"], functools.partial(learned, **options)
    for kind in ("independent", "orthogonal"):
        for count in COUNTS:
            name = f"{count} samples, {kind}"
            yield name, 0, functools.partial(sampled, kind=kind, count=count)
    yield "linearised", 0, of_gradients


def variants(run, steps, data, out):
    """Measures all variants of a trained run -> variants.csv and variants.md in the folder `out`.

    steps: of learning, a list; all but the first are of the default alone. data: further images to
    score on, as of `open_source`, or None. A row that is in variants.csv is not measured again: it
    knows the run, but not the code. Raises ValueError where Bench does.
    """
    path = out / "variants.csv"
    rows = read(path, set(KEY)) if path.exists() else []
    weights = f"crc {zlib.crc32(run.path.read_bytes()):08x}"
    asked = [
        (dict(zip(KEY, (name, count, weights, data), strict=True)), measure)
        for name, count, measure in jobs(steps)
    ]
    missing = [job for job in asked if not answers(rows, job[0])]
    bench = Bench(run, data) if missing else None
    # Every variant begins with a network that has learned no variances.
    for key, measure in tqdm(missing, "variants", unit=" rows"):
        strip(bench.network)
        rows.append(key | measure(bench))
        write(path, rows)
    found = [row for key, _ in asked for row in answers(rows, key)]
    with atomic_write(out / "variants.md") as file:
        file.write(text(run, steps, data, found).encode())


def answers(rows, key):
    """The rows with these values, one or none."""
    return [row for row in rows if all(row[name] == key[name] for name in KEY)]


def text(run, steps, data, rows):
    """The rows as Markdown, with words that say how to read them."""
    options = f"--steps {' '.join(map(str, steps))}" + f" --data {data}" * bool(data)
    return VARIANTS.format(
        command=f"{run.folder} {options}",
        trained_on=run.settings.data,
        data=data or "none",
        images=IMAGES,
        samples=SAMPLES,
        pixels=IMAGES * PIXELS,
        table=markdown_table([line(row) for row in rows]),
    )


def line(row):
    """A row as cells; what it lacks has none."""
    cells = {"": row["variant"], "steps": int(row["steps"]), "price": two_digits(row["price"])}
    cells["seconds"] = None if row.get("seconds") is None else round(row["seconds"])
    # First the scores of the images held out, then those of further ones.
    for end in ("", ", real"):
        if row.get("worth" + end) is not None:
            scores = shown(Score(*(row[name + end] for name in Score._fields)), SAMPLES)
            if row.get("least worth" + end) is not None:
                ends = (two_digits(row[name + end]) for name in ("least worth", "most worth"))
                scores["worth"] += f" ({' to '.join(ends)})"
            cells |= {name + end: cell for name, cell in scores.items()}
    return cells
