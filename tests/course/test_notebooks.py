"""The notebooks of the course.

Every one runs, is committed as it ran, keeps to its form, and has the equations the code cites.
"""

import re
from pathlib import Path

import nbformat
import pytest
from equations import TABLE, TAG, Place, cited, derived, orphans, places
from execute import execute

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"
PATHS = sorted(
    path for path in NOTEBOOKS.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts
)
LESSONS = [path for path in PATHS if path.parent == NOTEBOOKS]
MAX_LINES, MAX_MINUTES, MAX_BYTES = 15, 45, 1 << 20

each = pytest.mark.parametrize("path", PATHS, ids=lambda path: str(path.relative_to(NOTEBOOKS)))


def read(path):
    return nbformat.read(path, as_version=4)


def prose(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(paths):
    """The tags of all equations, in reading order, repeated where they are repeated."""
    return [tag for path in paths for tag in TAG.findall(prose(read(path)))]


def minutes(notebook):
    """The time of a fresh reader, which the first cell states."""
    return int(re.search(r"\*\*Time:\*\* (\d+) minutes to read", notebook.cells[0].source)[1])


def test_there_are_notebooks():
    assert LESSONS


@pytest.mark.slow
@each
def test_every_cell_runs(path):
    """It runs from the top, in the working directory notebooks/, on NumPy.

    The cells hand NumPy arrays to the layers. With FAST, the books, the biography and the training
    are shorter.
    """
    notebook = execute(path, FAST="1")
    assert len(notebook.cells) == len(read(path).cells)


@each
def test_is_committed_as_it_ran(path):
    notebook = read(path)
    assert notebook.metadata.kernelspec.name == "python3"
    assert [cell.execution_count for cell in code(notebook)] == list(
        range(1, 1 + len(code(notebook)))
    )
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    for output in outputs:
        assert output.output_type != "error" and output.get("name") != "stderr", output
        assert " at 0x" not in str(output.get("data", {}).get("text/plain")), (
            "the address of an object: end with ;"
        )
    assert path.stat().st_size < MAX_BYTES
    texts = [cell.source for cell in notebook.cells] + [
        str(output.get("text")) for output in outputs
    ]
    assert not re.search(r"/(home|root|Users|work|tmp)/", "\n".join(texts)), (
        "a path of the machine it was made on"
    )


@each
def test_keeps_to_its_form(path):
    notebook = read(path)
    for before, cell in zip([None, *notebook.cells], notebook.cells, strict=False):
        if cell.cell_type == "code":
            assert len(cell.source.splitlines()) <= MAX_LINES, cell.source
            assert before is not None and before.cell_type == "markdown", (
                f"no prose before:\n{cell.source}"
            )
    assert path not in LESSONS or minutes(notebook) <= MAX_MINUTES


@each
def test_links_to_files_that_exist(path):
    for target in re.findall(r"\]\(([^)#]+)\)", prose(read(path))):
        assert target.startswith("https://") or (path.parent / target).exists(), target


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.name)
def test_every_lesson_has_solutions_and_every_equation_a_line_of_code(path):
    assert (NOTEBOOKS / "solutions" / path.name).exists()
    notebook = read(path)
    lines = "\n".join(cell.source for cell in code(notebook))
    missing = [tag for tag in tags([path]) if not re.search(rf"#.*\({re.escape(tag)}\)", lines)]
    assert not missing, f"equations without a line of code: {missing}"


def test_no_two_equations_share_a_tag():
    found = tags(LESSONS)
    assert sorted(found) == sorted(set(found))
    assert not tags(path for path in PATHS if path not in LESSONS), (
        "solutions cite equations, they number none"
    )


def test_every_citation_is_of_an_equation_and_every_equation_of_the_code_is_tested():
    assert not list(orphans(derived(LESSONS), places("adf"), places("tests")))


def test_orphans_are_found():
    here, place = (Path("01.ipynb"), "Section"), Place("adf/a.py", 3)
    assert not list(
        orphans({"1.1": [here], "1.2": [here]}, {"1.1": [place]}, {"1.1": [place], "1.2": [place]})
    )
    (problem,) = orphans({"1.1": [here]}, {}, {"1.2": [place]})
    assert problem == "adf/a.py, line 3 cites (1.2), which no lesson has"
    (problem,) = orphans({"1.1": [here]}, {"1.1": [place]}, {})
    assert problem == "adf/a.py, line 3 cites (1.1), which no test does"
    (problem,) = orphans({"1.1": [here, here]}, {}, {})
    assert "numbers 2 equations" in problem


def test_citations_are_found():
    source = (
        '"""A docstring.\n\n    y = x    (1.1)\n    f(2.1)\n"""\n'
        "y = 1  # f (4.1), (4.2)\n# (5.1) not last\n"
    )
    assert cited(source) == [("1.1", 3), ("4.1", 6), ("4.2", 6)]
    assert "3.5" in places("adf"), "moments.py cites its equations"


def test_the_table_of_the_equations_is_complete():
    """Its lines and numbers are those of the last `make equations`."""
    rows = re.findall(r"^\| \(([\d.]+)\) \|", TABLE.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == list(derived(LESSONS)), "run make equations"
