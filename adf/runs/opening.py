"""How a run is begun, loaded, resumed and locked: what has to fit before it goes on."""

import dataclasses
import math
from pathlib import Path

from ..data.sample import changed, is_fingerprint
from ..data.source import open_source
from ..files import checkpoint
from ..files.atomic import remove_stale
from ..files.lock import Lock
from . import log
from .run import Run, stamp
from .settings import BEFORE, Settings, shown
from .state import check_shapes


def start(folder, given, resume):
    """(run, source): the Run to train, and where its images come from. Writes nothing.

    The run is new with the given settings, or the one in the folder, which must have been made with
    them and with these images; a folder of images may have moved. Raises ValueError on settings out
    of range or not the run's, on a checkpoint in the way, and on data that are not the run's,
    without images or with other classes.
    """
    path = Path(folder) / "checkpoint.npz"
    if path.exists() and resume:
        return _resumed(path, given)
    if path.exists():
        raise ValueError(
            f"{path} exists already: --resume goes on with it, another --out starts anew"
        )
    settings = Settings.of(given)
    source = open_source(settings.data, settings.classes, settings.augment)
    settings = dataclasses.replace(settings, class_names=source.class_names)
    return Run(folder, settings, source.fingerprint()), source


def _resumed(path, given):
    """(run, source) where a run is: it has one set of settings, and one set of images."""
    run = load(path.parent)
    before = dataclasses.asdict(run.settings)
    changes = {k: f"{k} {before[k]!r} (now {v!r})" for k, v in given.items() if before[k] != v}
    other_place = changes.pop("data", None)
    _refuse(path, changes)
    # Images are known again by their content, unless an older adf wrote the checkpoint.
    if other_place and run.fingerprint is None:
        _refuse(path, {"data": other_place})
    data = given.get("data", before["data"])
    source = _open_moved(run, data, "data" in given)
    found = source.fingerprint()
    difference = changed(run.fingerprint or found, found)
    if difference and other_place:
        _refuse(path, {"data": f"{other_place}, which holds {difference}"})
    if difference:
        raise ValueError(
            f"{path} was made with other images in {data}: it holds {difference}; "
            "restore them, or start anew with another --out"
        )
    run.settings = dataclasses.replace(run.settings, data=data)
    run.fingerprint = found
    return run, source


def _refuse(path, changes):
    if changes:
        raise ValueError(
            f"{path} was made with other settings: {', '.join(changes.values())}; "
            "leave them out, or give the same"
        )


def _open_moved(run, data, is_given):
    """The source; where it cannot be opened, a ValueError that says what to do if it has moved."""
    try:
        return open_data(run, data)
    except ValueError as error:
        hint = "" if is_given or Path(data).exists() else "; if it has moved, --data says where"
        raise ValueError(f"{error}{hint}") from None


def open_data(run, data):
    """The source of that name. Raises ValueError on other classes than the run's network knows."""
    source = open_source(data, run.settings.classes, run.settings.augment)
    if list(source.class_names) != run.settings.class_names:
        known = ", ".join(run.settings.class_names)
        there = ", ".join(source.class_names)
        raise ValueError(f"{run.path} knows the classes {known}; {data} holds {there}")
    return source


def prepare(run):
    """Makes the folder fit to go on: leftovers removed, the log cut back, a checkpoint there.

    The folder is then locked until `run.train` ends, or until nobody has the run. Raises ValueError
    where another process trains it or has trained it since it was read, and where the log lacks
    lines.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    try:
        run.lock = run.lock or Lock(run.folder)
    except BlockingIOError:
        raise ValueError(
            f"{run.folder}: expected a run that is not being trained, got one that another process "
            "trains now; wait for its end, or choose another --out"
        ) from None
    # A run that is refused keeps nobody else out.
    try:
        _prepare_locked(run)
    except BaseException:
        run.release()
        raise


def _prepare_locked(run):
    """From here on nobody else writes to the folder."""
    if stamp(run.path) != run.seen:
        raise ValueError(f"{run.path} was written by another process just now: try again")
    remove_stale(run.folder)
    if run.seen:
        log.cut(run.log, run.step, run.settings.rate_at)
    else:
        log.begin(run.log)
        run.save()


def load(folder):
    """The Run in a folder, every array of its checkpoint verified. ValueError on any other file."""
    path = Path(folder) / "checkpoint.npz"
    seen = stamp(path)
    run = None

    # Nothing is read before it is known to fit a network, nor is one built to a mere claim.
    def check(about, described):
        nonlocal run
        run = _claimed(folder, about, described)
        check_shapes(described, run.described())

    arrays, about = checkpoint.load(path, check)
    try:
        run.restore(arrays, about["step"])
    except ValueError as error:
        raise ValueError(f"{path}: expected a checkpoint of `adf train`, but: {error}") from None
    run.seen = seen
    return run


def _claimed(folder, about, described):
    """The untrained Run that a checkpoint claims to be of. ValueError where it cannot be."""
    about = dict(about)
    step = about.pop("step", None)
    fingerprint = about.pop("fingerprint", None)
    settings = Settings(**BEFORE | about)
    if type(step) is not int or not 0 <= step <= settings.all_steps:
        raise ValueError(f"expected a step from 0 to {settings.all_steps}, got {shown(step)}")
    if fingerprint is not None and not is_fingerprint(fingerprint):
        raise ValueError(f"expected a fingerprint of images, got {shown(fingerprint)}")
    stored = sum(math.prod(shape) for shape, _ in described.values())
    if settings.least_numbers() > stored:
        raise ValueError(f"expected the weights of widths {settings.widths}, got {stored} numbers")
    return Run(folder, settings, fingerprint, step)
