"""All systems on all data, one network after the other."""

import time
from typing import NamedTuple

from ... import runs
from ...data.source import open_source
from ...evaluation.data import data_name
from . import report, scores
from .jobs import SYNTHETIC, scored, trained
from .rows import write


class Study(NamedTuple):
    """A data set on which all systems are trained, once for each seed."""

    name: str
    data: str
    seeds: int
    augment: str  # traps stand upright, nuclei lie anyhow

    def conditions(self, source, real, where):
        """What its networks are asked.

        It is all of `scores.conditions` for those of synthetic yeast; others get their test images.
        """
        test = scores.labelled(source.test(0))
        if self.data == SYNTHETIC:
            return scores.conditions(test, real, where)
        return [scores.Condition("test", test)]

    def check(self):
        """Raises ValueError on data without images to train on, to validate and to test with."""
        source = open_source(self.data)
        source.training(0, 1, 0)
        for what, samples in (("validate", source.validation(0)), ("test", source.test(0))):
            if not scores.labelled(samples):
                raise ValueError(f"{self.data}: expected labels of images to {what} with, got none")


class Job(NamedTuple):
    """One network to train and to score."""

    study: Study
    system: str
    seed: int

    def train(self, folder, steps, title):
        """Trains what is not trained yet  -> (run, source, seconds). folder: of all runs."""
        given = {
            "system": self.system,
            "data": self.study.data,
            "augment": self.study.augment,
            "seed": self.seed,
        }
        # Without a number of steps the system's own defaults hold.
        counts = {"steps", "swag_steps"} & {"steps", *runs.SYSTEMS[self.system].settings}
        given |= {} if steps is None else dict.fromkeys(counts, steps)
        return trained(folder / self.study.name / f"{self.system}-{self.seed}", given, title)

    def train_and_score(self, folder, steps, real, where, title):
        """Does what is not done yet  -> the rows of scores."""
        run, source, seconds = self.train(folder, steps, title)
        conditions = self.study.conditions(source, real, where)
        labels = {"study": self.study.name, "training s": seconds}
        return scored(run, conditions, source.validation(self.seed), labels)


def compare(folder, out, nuclei=None, yeast=None, seeds=3, steps=None):
    """Trains what is not trained yet, scores what is not scored yet, writes the report into `out`.

    folder: of the runs. nuclei: images/ and labels/ to train on as well, one seed; yeast: the
    published format, to test the networks of the synthetic images on. steps: None, or fewer than
    suit the systems, for a quick look.
    """
    studies = [Study("synthetic", SYNTHETIC, seeds, "flip")]
    studies += [Study("nuclei", str(nuclei), 1, "dihedral")] if nuclei else []
    # Everything that can be refused is refused here, before the first training.
    real, where = _real(yeast) if yeast else (None, None)
    for study in studies:
        study.check()
    if seeds < 1:
        raise ValueError(f"expected --seeds of 1 or more, got {seeds}")
    jobs = [
        Job(study, system, seed)
        for study in studies
        for seed in range(study.seeds)
        for system in runs.SLIDES
    ]
    rows = []
    start = time.perf_counter()
    for number, job in enumerate(jobs, 1):
        rows += job.train_and_score(folder, steps, real, where, f"{number} of {len(jobs)}: ")
    write(out / "scores.csv", rows)
    report.write(out, folder, studies, rows, real)
    minutes = (time.perf_counter() - start) / 60
    print(f"{len(jobs)} networks in {minutes:.0f} minutes; look at {out / 'README.md'}")


def _real(folder):
    """(samples, name) of real images. Raises ValueError where no class is known of any of them."""
    samples = open_source(str(folder)).test(0)
    if not any(s.labels is not None or s.box_classes is not None for s in samples):
        raise ValueError(f"{folder}: expected boxes with classes, or masks, got images alone")
    return samples, data_name(str(folder))
