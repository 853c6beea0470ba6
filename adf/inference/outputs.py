"""What `adf predict` writes for an image: NAME_labels.png, NAME_std.tif, NAME_overview.png."""

from PIL import Image

from .. import figures
from ..files.atomic import atomic_write


def outputs(folder, name):
    """The paths: class indices; mean class standard deviation, float32; the four pictures."""
    return [folder / f"{name}_{kind}" for kind in ("labels.png", "std.tif", "overview.png")]


def write_prediction(folder, name, image, prediction, class_names):
    """Writes the three outputs of an image, or, where one cannot be written, none."""
    labels = Image.fromarray(prediction.labels[0])
    std = Image.fromarray(prediction.class_std[0].mean(axis=0))
    figure = figures.overview(image[None], prediction, class_names=class_names, titles=[name])
    writers = (
        lambda file: labels.save(file, format="PNG"),
        lambda file: std.save(file, format="TIFF"),
        lambda file: figures.save(figure, file),
    )
    # What was written before one of them failed is taken away again.
    folder.mkdir(parents=True, exist_ok=True)
    done = []
    try:
        for path, write in zip(outputs(folder, name), writers, strict=True):
            with atomic_write(path) as file:
                write(file)
            done.append(path)
    except OSError:
        for path in done:
            path.unlink(missing_ok=True)
        raise
