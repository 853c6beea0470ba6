"""The scores of all networks as tables, claims that are tested, and pictures."""

import io
import platform

import numpy as np
from PIL import Image

from ... import figures, runs
from ...engine.threads import thread_count
from ...evaluation.evaluate import overview, spread
from ...evaluation.metrics import reliability
from ...evaluation.rankings import risk_coverage, sparsification
from ...files.atomic import atomic_write
from ...files.tables import markdown_table
from ...runs.settings import WARM_UP
from . import scores
from .claims import TITLES, claims
from .noise_figure import against_noise
from .rows import read, values
from .tuning import CRITERION, START, STEPS, chosen

OF_ADF = {  # what a deterministic network does not have
    "noise variance": "noise_var",
    "label smoothing": "label_smoothing",
    "density weight": "density_weight",
    "raw c1, c2": "raw_c",
}
METRICS = (
    "Dice",
    "IoU",
    "NLL",
    "NLL T",
    "Brier",
    "ECE",
    "ECE T",
    "AUSE",
    "AUSE std",
    "AURC",
    "AUROC",
)
TEXT = """# Three systems, measured side by side

Written by `{command}` on {machine}.
{networks} networks, {minutes:.0f} minutes of training. {seeds}. The table of all scores: [scores.csv](scores.csv).

## The systems

{systems}

All are trained with Adam on batches of 8, the learning rate rising for {warm_up} steps and falling along half a
cosine. Images are mirrored left to right (nuclei: any symmetry of the square) and given a random gamma. The settings
were chosen on the validation images of (a), below; nothing was chosen on (b) or (c).

Dice and IoU are means over the classes, from counts over all pixels. AUSE, AURC and AUROC rank the pixels by the
entropy of the mean probabilities; *AUSE std* by the standard deviation of the class probabilities, the mean over the
classes (of the Dirichlet; of a softmax, sqrt(p (1 - p))). *T*: of softmax(logits / T), with the temperature T that has
the least NLL on the validation images of the same data. Every metric: `adf/metrics.py`.

{sections}

## Noise

White noise is added to the test images of (a); *sigma* is its standard deviation in units of the image's own. *told*:
the network's input variance is set to the true one, which a deterministic network cannot be told.

{noise}

![Four metrics against the noise](noise.png)

## Tuning

`python -m adf compare --tune`: {tuning_steps} steps on the training images of (a), scored on its validation images.
Each row changes one thing, or two, in where the search started: {start}.
Chosen is the row of least {criterion} of each system. Noise variance 0 and density weight 0 are not chosen from: they
are there to find out what makes a difference, [discussion.md](discussion.md). All settings and scores:
[tuning.csv](tuning.csv).

{tuning}

## The claims of the slides

Means over the seeds; then their difference, with the 95 % interval of Student's t over paired seeds where there are
several. A claim holds if the means say so; beyond its interval is what is not put down to the seeds.

{claims}

What lies behind these numbers, and what was tried: [discussion.md](discussion.md).
"""


def write(out, folder, studies, rows, real):
    """README.md and all pictures into `out`. rows: of scores.csv; real: samples of real yeast, or None."""
    parts = [(s.name, "test") for s in studies] + (
        [("synthetic", "boxes"), ("synthetic", "masks")] if real else []
    )
    sections = []
    for study, condition in parts:
        chosen = [r for r in rows if r["study"] == study and r["condition"] == condition]
        pictures = draw(out, folder / study, condition, real) if condition != "masks" else ""
        sections.append(f"## {TITLES[study, condition]}\n\n{_table(chosen)}\n\n{pictures}".rstrip())
    figures.save(against_noise(rows), out / "noise.png")
    text = TEXT.format(
        command=_command(studies, real),
        machine=f"{thread_count()} threads ({platform.machine()}) with Python {platform.python_version()}, "
        f"NumPy {np.__version__}",
        networks=len({(r["study"], r["system"], r["seed"]) for r in rows}),
        minutes=sum({(r["study"], r["system"], r["seed"]): r["training s"] for r in rows}.values())
        / 60,
        seeds="One seed: no spread is known"
        if studies[0].seeds == 1
        else f"Means and standard deviations over {studies[0].seeds} seeds on synthetic images, one on others",
        systems=_systems(rows, folder / studies[0].name),
        warm_up=WARM_UP,
        sections="\n\n".join(sections),
        noise=_noise_table(rows),
        tuning_steps=STEPS,
        start=", ".join(f"{key.replace('_', ' ')} {value}" for key, value in START.items()),
        criterion=CRITERION,
        tuning=_tuning(out / "tuning.csv"),
        claims=markdown_table(claims(rows)),
    )
    with atomic_write(out / "README.md") as file:
        file.write(text.encode())


def draw(out, folder, condition, real):
    """The four pictures of every system on the same images, and three curves of all systems  -> their Markdown."""
    curves, lines = {"reliability": {}, "sparsification": {}, "risk_coverage": {}}, []
    name = f"{folder.name}-{condition}"
    for system in runs.SYSTEMS:
        run = runs.load(folder / f"{system}-0")
        source = runs.open_data(run, run.settings.data)
        asked = next(c for c in scores.conditions(source.test(0), real) if c.name == condition)
        prediction, _ = scores.predict(run.segmenter, asked)
        chosen = spread(len(asked.samples))
        samples = [
            s._replace(labels=None if scores.UNKNOWN in s.labels else s.labels)
            for s in asked.samples
        ]
        picture = overview(samples, prediction, source.class_names, chosen)
        _save_small(picture, out / f"{name}-{system}.png")
        lines.append(
            f"![{system}: segmentation, errors and uncertainty of {len(chosen)} images]({name}-{system}.png)"
        )
        labels = np.stack([s.labels for s in asked.samples])
        truth, probabilities, entropy, _, wrong = scores.known_pixels(labels, prediction)
        curves["reliability"][system] = reliability(truth, probabilities)
        curves["sparsification"][system] = sparsification(wrong, entropy)
        curves["risk_coverage"][system] = risk_coverage(wrong, entropy)
    for kind, curve in curves.items():
        figures.save(getattr(figures, kind)(curve), out / f"{name}-{kind}.png", dpi=80)
        lines.append(f"![{kind.replace('_', ' and ')} of the three systems]({name}-{kind}.png)")
    return "\n\n".join(lines)


def _save_small(figure, path):
    """In 256 colours, a quarter of the size: nine of these are kept with the source."""
    buffer = io.BytesIO()
    figures.save(figure, buffer, dpi=70)
    with atomic_write(path) as file:
        Image.open(buffer).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
            file, format="PNG"
        )


def _command(studies, real):
    folders = " --nuclei FOLDER" * (len(studies) > 1) + " --yeast FOLDER" * (real is not None)
    return f"python -m adf compare{folders} --seeds {studies[0].seeds}"


def _table(rows):
    """Mean and spread over the seeds for each system; the classes' IoU behind."""
    names = [key for key in rows[0] if key.startswith("IoU ") and rows[0][key] is not None]
    table = []
    for system in runs.SYSTEMS:
        chosen = [r for r in rows if r["system"] == system]
        table.append(
            {"": system} | {m: _spread([r[m] for r in chosen]) for m in (*METRICS, *names)}
        )
    return markdown_table(table)


def _spread(numbers):
    numbers = np.array([np.nan if n is None else n for n in numbers], float)
    if np.isnan(numbers).any():
        return "-"
    digits = 4 if numbers.mean() < 0.1 else 3
    return f"{numbers.mean():.{digits}f}" + (
        f" ± {numbers.std(ddof=1):.{digits}f}" if len(numbers) > 1 else ""
    )


def _noise_table(rows):
    table = []
    for noise in scores.NOISE:
        for system in runs.SYSTEMS:
            for told in (False, True):
                found = {
                    m: values(rows, "synthetic", f"noise {noise:g}", system, m, told)
                    for m in METRICS
                }
                if found["Dice"]:
                    name = system + (", told" if told else "")
                    table.append(
                        {"sigma": f"{noise:g}", "system": name}
                        | {m: _spread(v) for m, v in found.items()}
                    )
    return markdown_table(table)


def _tuning(path):
    if not path.exists():
        return "Not done."
    shown, rows, table = ("IoU", "NLL", "NLL T", "ECE", "ECE T", "AUSE", "AUROC"), read(path), []
    best = chosen(rows).values()
    for r in rows:
        numbers = {m: _spread([r[m]]) for m in shown} | {"chosen": "yes" if r in best else ""}
        table.append({"": r["system"], "changed": r["changed"].replace("_", " ")} | numbers)
    return markdown_table(table)


def _systems(rows, folder):
    table = []
    for system in runs.SYSTEMS:
        run = runs.load(folder / f"{system}-0")
        s = run.settings
        chosen = [r for r in rows if r["system"] == system and r["study"] == folder.name]
        table.append(
            {
                "": system,
                "parameters": f"{sum(p.value.size for p in run.segmenter.parameters()):,}",
                "steps": s.steps,
                "peak learning rate": f"{s.learning_rate:g}",
                **{
                    word: None if s.noise_var is None else f"{getattr(s, name):g}"
                    for word, name in OF_ADF.items()
                },
                "training, min": f"{np.mean([r['training s'] for r in chosen]) / 60:.1f}",
                "ms per image": f"{np.median([r['ms per image'] for r in chosen]):.0f}",
            }
        )
    return markdown_table(table)
