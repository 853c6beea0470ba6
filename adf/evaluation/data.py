"""What a run is measured on: its name, and its classes in words of the run."""

import hashlib
import os

import numpy as np

from ..data import folder
from ..data.source import open_source


def samples_for(settings, data, classes=None, names=None):
    """Samples to test a run of these settings on, whose labels index the run's classes.

    data: as of `open_source`; classes, names: of the data's labels, None where they are as the
    run's were. Raises ValueError on data without images, and on classes that the run does not know.
    """
    known = settings.class_names
    kind = choose_classes(classes, names, settings.classes)
    source = open_source(data, kind, settings.augment)
    nothing_said = classes is None and names is None
    # Labels of a folder have no names of their own: as many as the run's, they are the run's.
    if nothing_said and source.class_names == folder.class_names(kind):
        names = known if len(source.class_names) == len(known) else None
    return in_classes_of(source.test(settings.seed), names or source.class_names, known)


def parse_names(text):
    """`background,trap,cell`  -> its names. Raises ValueError on an empty name or one twice."""
    names = [name.strip() for name in text.split(",")]
    if len(names) < 2 or not all(names) or len(set(names)) < len(names):
        raise ValueError(
            "expected --class-names as two or more different names with commas between, "
            f"as in background,trap,cell, got {text!r}"
        )
    return names


def data_name(text):
    """A name for results on some data: its own and, of a folder, a digest of where it lies.

    For there may be siteA/cells and siteB/cells.
    """
    if text.partition(":")[0] == "synthetic":
        return text.replace(":", "-")
    path = os.path.realpath(text)
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
    return f"{os.path.basename(path)[:60]}-{digest}"


def choose_classes(classes, names, default):
    """How many classes labels hold, None for instances, from what is given of number and names.

    Two names without a number fit instances as well as indices, which are 0 and 1 then: instances.
    """
    if names is None:
        return default if classes is None else classes
    if classes is not None and classes != len(names):
        raise ValueError(f"expected a name for each of {classes} classes, got {', '.join(names)}")
    return classes if len(names) == 2 else len(names)


def in_classes_of(samples, names, known):
    """The samples, whose classes have `names`, with labels and box classes that index `known`.

    Raises ValueError, with both lists, where `known` lacks one of the names.
    """
    if list(names) == list(known):
        return samples
    if not set(names) <= set(known):
        raise ValueError(
            f"the run knows the classes {', '.join(known)}; the data holds {', '.join(names)}: "
            "name the data's by --class-names, in their order, in words of the run"
        )
    # Both kinds of truth become numbers of the run's classes.
    index = np.array([list(known).index(name) for name in names], np.uint8)
    return [
        sample._replace(
            labels=None if sample.labels is None else index[sample.labels],
            box_classes=None if sample.box_classes is None else index[sample.box_classes],
        )
        for sample in samples
    ]
