"""What the weight of the density in the loss does to plain ADF's variances, over some seeds.

The gradient of the density runs through the variances, so at weight 1 they learn to be what the
head wants of them: doubt, more than noise that was passed on.
"""

from ...files.tables import markdown_table
from ...montecarlo import sampled_output
from ..comparison.jobs import trained
from .report import middle_inputs, shown
from .score import score
from .stages import Stage, on_host
from .text import TWO_WEIGHTS

WEIGHTS = (1e-3, 1.0)
GIVEN = {"system": "adf-unet", "widths": [8, 16, 32], "steps": 200}
IMAGES = 4
SAMPLES = 128


def two_weights(run, seeds, data):
    """Trains networks as GIVEN on the run's data, in its folder -> a section of Markdown, or "".

    data: of further images to score on, as of `open_source`, or None. Networks that are there stay.
    """
    if not seeds:
        return ""
    # A line for each network.
    lines = []
    for weight in WEIGHTS:
        for seed in range(seeds):
            given = GIVEN | {"density_weight": weight, "seed": seed, "data": run.settings.data}
            small, _, _ = trained(run.folder / f"density-{weight:g}-{seed}", given, "")
            line = {"w": f"{weight:g}", "seed": seed} | cells(small, None, "")
            lines.append(line | (cells(small, data, ", real") if data else {}))
    return TWO_WEIGHTS.format(
        widths=", ".join(map(str, GIVEN["widths"])),
        steps=GIVEN["steps"],
        trained_on=run.settings.data,
        seeds=seeds,
        images=IMAGES,
        samples=SAMPLES,
        data=data or "none",
        table=markdown_table(lines),
    )


def cells(run, data, end):
    """A Score at the logits as cells of a table, whose columns end so."""
    network = run.segmenter.network
    found = []
    for number, x in enumerate(middle_inputs(run, IMAGES, data)):
        true = sampled_output(network, x, SAMPLES, (0, number))
        found.append(Stage(None, on_host(network.predict(x)), on_host(true), None))
    return {name + end: cell for name, cell in shown(score(found, SAMPLES), SAMPLES).items()}
