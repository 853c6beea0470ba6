"""`make notebooks`: runs every lesson and every solution from the top, and stores the outputs.

It says how long each took. Notebooks run on NumPy, in the working directory notebooks/. With file
names behind it, only those run: `execute.py 03_leaky_relu.ipynb`.
"""

import argparse
import os
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from tqdm import tqdm

NOTEBOOKS = Path(__file__).resolve().parent
SECONDS = 600  # per cell, at most


def paths():
    """The lessons in reading order, each followed by its solutions."""
    lessons = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
    return [
        path
        for lesson in lessons
        for path in (lesson, NOTEBOOKS / "solutions" / lesson.name)
        if path.exists()
    ]


def execute(path, **variables):
    """The notebook at path as it runs now, with these environment variables.

    The file stays as it is. An error in a cell is raised.
    """
    notebook, where = nbformat.read(path, as_version=4), {"metadata": {"path": str(NOTEBOOKS)}}
    pictures = "module://matplotlib_inline.backend_inline"
    environment = {**os.environ, "ADF_BACKEND": "numpy", "MPLBACKEND": pictures, **variables}
    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        resources=where,
        record_timing=False,  # no dates in the file
        coalesce_streams=True,  # what a cell prints is one output, however slowly
    )
    return client.execute(env=environment)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="*", type=Path, help="notebooks; without any: all")
    with tqdm(parser.parse_args().paths or paths(), unit=" notebooks") as bar:
        for path in bar:
            name, start = path.resolve().relative_to(NOTEBOOKS), time.monotonic()
            bar.set_postfix_str(str(name))
            notebook = execute(path)
            nbformat.write(notebook, path)
            bar.write(f"{time.monotonic() - start:6.1f} s  {name}")


if __name__ == "__main__":
    main()
