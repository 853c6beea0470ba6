"""What `adf predict` is given: images, folders of them and patterns; and where each one's go."""

import glob
import os
from pathlib import Path

from .outputs import is_output

SUFFIXES = (".png", ".tif", ".tiff", ".npy", ".pt")  # of what files/image_file reads


def find_images(arguments):
    """(images, skipped): the files that arguments name, each once, and how many were left out.

    A folder stands for all images in it, a pattern that no shell expanded for what matches it,
    both sorted by name and without what `adf predict` wrote before. Raises ValueError where they
    hold no image. Any other argument stands for itself, be there such a file or not.
    """
    images = []
    skipped = 0
    for argument in arguments:
        found = _found(Path(argument))
        # Only what was found by a folder or pattern is sifted; what is named is wanted.
        if found is None:
            images.append(Path(argument))
            continue
        kept = [path for path in sorted(found) if _is_input(path)]
        if not kept:
            raise ValueError(
                f"{argument}: expected images ({', '.join(SUFFIXES)}), got none; "
                "a wrong folder or pattern?"
            )
        images += kept
        skipped += len(found) - len(kept)
    return list({os.path.abspath(path): path for path in images}.values()), skipped


def _found(path):
    """The files in a folder, or those that match a pattern; None for any other path."""
    if path.is_dir():
        return [file for file in path.iterdir() if not file.is_dir()]
    if os.path.lexists(path) or not glob.has_magic(str(path)):
        return None
    matches = (Path(match) for match in glob.glob(str(path), recursive=True))
    return [match for match in matches if not match.is_dir()]


def _is_input(path):
    hidden = path.name.startswith(".")
    return path.suffix.lower() in SUFFIXES and not hidden and not is_output(path)


def places(images, out):
    """(folder, name) of the outputs of every image: no two are the same.

    All lie in `out` under the images' names without suffix. Where two images have one name, all
    lie in subfolders of `out` as the images do below the folder that they share; where even then
    two have one name, the names keep their suffixes.
    """
    parents = [Path(os.path.abspath(path)).parent for path in images]
    shared = os.path.commonpath(parents)
    below = [out / parent.relative_to(shared) for parent in parents]
    flat = [(out, path.stem) for path in images]
    mirrored = [(folder, path.stem) for folder, path in zip(below, images, strict=True)]
    if len(set(flat)) == len(flat):
        return flat
    if len(set(mirrored)) == len(mirrored):
        return mirrored
    return [(folder, path.name) for folder, path in zip(below, images, strict=True)]
