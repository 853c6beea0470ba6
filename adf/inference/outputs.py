"""What `adf predict` writes for an image: NAME_labels.png, NAME_std.tif, NAME_overview.png.

Each of them says in its description that it comes from this program, and from which image. So a
second prediction may replace it, and nobody else's file is written over.
"""

import contextlib
import hashlib
import io
import os

from PIL import Image, PngImagePlugin

from .. import figures
from ..files.together import write_together

SAYS = "adf predict"  # how every description begins
DESCRIPTION = 270  # the TIFF tag ImageDescription


class Guard:
    """It knows which files a call of `adf predict` must not write over."""

    def __init__(self, images, overwrite=False):
        """images: all inputs of the call; overwrite: files that are none of them may go."""
        self.overwrite = overwrite
        self.taken = {identity for path in images for identity in _identities(path)}

    def check(self, image, paths):
        """Raises ValueError where an output of this image would replace what is not its own."""
        for path in paths:
            if not os.path.lexists(path):
                continue
            if _identity(os.lstat(path)) in self.taken:
                raise ValueError(
                    f"{path} is an image, or a prediction, of this very call: choose another --out"
                )
            if not self.overwrite and not _is_of(path, image):
                raise ValueError(
                    f"{path} is there and may be yours, for adf predict did not write it for "
                    f"{image}: move it, choose another --out, or allow it with --overwrite"
                )

    def written(self, paths):
        """No later image of the call may replace these: names may be equal but for their case."""
        self.taken |= {_identity(os.lstat(path)) for path in paths}


def _identities(path):
    """Of the file and, where the path is a link, of the link; none where nothing is there."""
    for ask in (os.stat, os.lstat):
        with contextlib.suppress(OSError):
            yield _identity(ask(path))


def _identity(status):
    return status.st_dev, status.st_ino


def outputs(folder, name):
    """The paths: class indices; mean class standard deviation, float32; the four pictures."""
    return [folder / f"{name}_{kind}" for kind in ("labels.png", "std.tif", "overview.png")]


def write_prediction(folder, name, image, prediction, class_names, source):
    """Writes the three outputs of the image that lies in the file `source`, or none  -> paths."""
    labels = Image.fromarray(prediction.labels[0])
    std = Image.fromarray(prediction.class_std[0].mean(axis=0))
    figure = figures.overview(image[None], prediction, class_names=class_names, titles=[name])
    # All that can fail while drawing fails here, in memory.
    info = PngImagePlugin.PngInfo()
    info.add_text("Description", description(source, labels))
    contents = (
        _bytes(lambda file: labels.save(file, format="PNG", pnginfo=info)),
        _bytes(lambda file: std.save(file, "TIFF", description=description(source, std))),
        _bytes(lambda file: figures.save(figure, file, description=description(source))),
    )
    folder.mkdir(parents=True, exist_ok=True)
    paths = outputs(folder, name)
    write_together(dict(zip(paths, contents, strict=True)))
    return paths


def _bytes(save):
    file = io.BytesIO()
    save(file)
    return file.getvalue()


def description(source, picture=None):
    """What an output says: the image's name, a digest of its place and, but of drawings, of pixels.

    So an output that somebody corrected by hand is no longer ours, whatever its description says.
    """
    place = os.fsencode(os.path.realpath(source))
    name = ascii(os.path.basename(source))
    said = f"{SAYS}: {name}, place {hashlib.sha256(place).hexdigest()[:16]}"
    if picture is None:
        return said
    return f"{said}, pixels {hashlib.sha256(picture.tobytes()).hexdigest()[:16]}"


def is_output(path):
    """Whether `adf predict` wrote this file, for whichever image."""
    return _said(path)[0].startswith(SAYS)


def _is_of(path, source):
    """Whether `adf predict` wrote this file for the image `source`, and nobody changed it since."""
    said, picture = _said(path)
    return said in (description(source), picture and description(source, picture))


def _said(path):
    """(description, picture) of an output; ("", None) for any other file, and for a link."""
    if path.suffix not in (".png", ".tif") or path.is_symlink() or not path.is_file():
        return "", None
    try:
        with Image.open(path, formats=("PNG", "TIFF")) as picture:
            tags = getattr(picture, "tag_v2", {})
            said = str(picture.info.get("Description") or tags.get(DESCRIPTION))
            # Strangers' pictures, which may be large or damaged, are not decoded.
            if not said.startswith(SAYS):
                return "", None
            picture.load()
            return said, picture
    except Exception:  # whatever a stranger's file makes Pillow raise: it is not ours
        return "", None
