"""All systems on all data, one network after the other."""

import time
from typing import NamedTuple

from ... import runs
from ...data.source import open_source
from . import report, scores
from .jobs import SYNTHETIC, scored, trained
from .rows import write


class Study(NamedTuple):
    """A data set on which all systems are trained, once for each seed."""

    name: str
    data: str
    seeds: int
    augment: str  # traps stand upright, nuclei lie anyhow

    def asked(self, source, real):
        """Noise and real yeast for the networks of synthetic yeast; for others, their test images."""
        test = source.test(0)
        return (
            scores.conditions(test, real)
            if self.data == SYNTHETIC
            else [scores.Condition("test", test)]
        )


def compare(folder, out, nuclei=None, yeast=None, seeds=3, steps=None):
    """Trains what is not trained yet, scores what is not scored yet, writes the report into `out`.

    folder: of the runs. nuclei: images/ and labels/ to train on as well, one seed; yeast: the published format, to test
    the networks of the synthetic images on. steps: None, or fewer than suit the systems, for a quick look. Everything
    that can be refused is refused before the first training.
    """
    studies = [Study("synthetic", SYNTHETIC, seeds, "flip")]
    studies += [Study("nuclei", str(nuclei), 1, "dihedral")] if nuclei else []
    real = open_source(str(yeast)).test(0) if yeast else None
    for study in studies:
        open_source(study.data)
    jobs = [
        (study, system, seed)
        for study in studies
        for seed in range(study.seeds)
        for system in runs.SYSTEMS
    ]
    rows, start = [], time.perf_counter()
    for i, (study, system, seed) in enumerate(jobs, 1):
        given = {"system": system, "data": study.data, "augment": study.augment, "seed": seed}
        given |= {"steps": steps} if steps else {}
        run, source, seconds = trained(
            folder / study.name / f"{system}-{seed}", given, f"{i} of {len(jobs)}: "
        )
        asked = study.asked(source, real)
        labels = {"study": study.name, "training s": seconds}
        rows += scored(run, asked, source.validation(seed), labels)
    write(out / "scores.csv", rows)
    report.write(out, folder, studies, rows, real)
    print(
        f"{len(jobs)} networks in {(time.perf_counter() - start) / 60:.0f} minutes; look at {out / 'README.md'}"
    )
