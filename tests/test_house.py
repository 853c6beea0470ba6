"""The house: which room may know of which, what a reader is told to read, how the code is written.

CONTRIBUTING.md has the rules in words.
"""

import ast
import tokenize
from pathlib import Path

import pytest

import adf

PACKAGE = Path(adf.__file__).parent
ROOT = PACKAGE.parent
MODULES = sorted(PACKAGE.rglob("*.py"))
THEORY = [path for path in MODULES if path.parent.name in ("adf", "layers", "models")]
DOORS = {PACKAGE / "__init__.py", PACKAGE / "__main__.py"}  # they open every room
MOST_NAMES = 22  # at the top of adf/
MOST_LINES = 30  # of a function
UNCOMMENTED = 12  # lines of a function that needs no comment of its own
MOST_OF_METHODS = 450  # lines of all files in methods/

each_module = pytest.mark.parametrize(
    "path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE))
)


def room(module):
    """The room of a dotted module: adf.layers.linear lies in layers, adf.moments in moments."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "adf"


def imports(path):
    """The dotted modules of adf that a file imports, wherever it does."""
    package = ["adf", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        base = package[: len(package) - node.level + 1]
        target = [*base, *(node.module.split(".") if node.module else [])]
        for name in node.names:
            inner = PACKAGE.joinpath(*target[1:], name.name)
            is_module = inner.with_suffix(".py").exists() or inner.is_dir()
            yield ".".join([*target, name.name] if is_module else target)


# Walls. What stands on a floor may import what stands below it, and nothing beside or above.
FLOORS = [
    {"backend", "files"},
    {"engine"},
    {"gaussian", "normalisation"},
    {"moments", "data", "montecarlo", "figures"},
    {"layers"},
    {"models", "dirichlet"},
    {"segmenter"},
    {"training", "inference"},
    {"calibration"},
    {"methods"},
    {"evaluation", "runs"},
    {"studies"},
    {"__init__", "__main__"},
]


def floor(name):
    return next(i for i, rooms in enumerate(FLOORS) if name in rooms)


def test_every_room_has_a_floor():
    names = {path.stem if path.is_file() else path.name for path in PACKAGE.iterdir()}
    assert names - {"__pycache__"} == set().union(*FLOORS)
    assert len(names - {"__pycache__"}) <= MOST_NAMES


@each_module
def test_arrows_point_one_way(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for module in imports(path):
        if path not in DOORS and room(module) not in (own, "adf"):
            assert floor(room(module)) < floor(own), f"{own} imports {module}"


@pytest.mark.parametrize(
    "path", [path for path in THEORY if path not in DOORS], ids=lambda path: path.stem
)
def test_theory_knows_of_no_wing_but_the_engine(path):
    theory = {"adf"} | {p.stem for p in THEORY if p.parent == PACKAGE} | {"layers", "models"}
    assert {room(module) for module in imports(path)} <= theory | {"engine"}


def test_the_methods_are_few_lines():
    """What several methods share, or would be of use without them, stands below their room."""
    files = [path for path in MODULES if path.parent.name == "methods"]
    assert len(files) > 5
    assert sum(len(path.read_text().splitlines()) for path in files) <= MOST_OF_METHODS


def test_studies_are_imported_by_the_command_line_alone():
    users = {path for path in MODULES if any(room(m) == "studies" for m in imports(path))}
    inside = {path for path in users if "studies" in path.parts}
    assert users - inside <= {PACKAGE / "__main__.py"}


def test_an_arrow_that_points_up_is_found(tmp_path):
    wrong = PACKAGE / "layers" / "wrong.py"
    assert floor("layers") > floor("moments") and floor("layers") < floor("training")
    source = "from ..runs import Settings\nfrom .. import studies\n"
    assert list(_imports_of(source, wrong)) == ["adf.runs", "adf.studies"]


def _imports_of(source, path):
    """imports(path) as if this were the source of the file."""
    original = Path.read_text
    try:
        Path.read_text = lambda self, *a, **k: source if self == path else original(self, *a, **k)
        yield from imports(path)
    finally:
        Path.read_text = original


# Style


def functions(tree):
    """The functions and methods of a module that lie in no other function."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        else:
            yield from functions(node)


def code_lines(node, source):
    """(first, last) of a function's lines behind its signature and docstring."""
    has_docstring = ast.get_docstring(node) is not None
    first = node.body[0].end_lineno + 1 if has_docstring else node.body[0].lineno
    return first, node.end_lineno


def comment_lines(path):
    """The lines that hold a comment and nothing else."""
    with open(path, "rb") as file:
        return {
            token.start[0]
            for token in tokenize.tokenize(file.readline)
            if token.type == tokenize.COMMENT and token.line.strip().startswith("#")
        }


@each_module
def test_functions_are_short_and_narrated(path):
    source = path.read_text()
    comments = comment_lines(path)
    for node in functions(ast.parse(source)):
        length = node.end_lineno - node.lineno + 1
        assert length <= MOST_LINES, f"{path}:{node.lineno} {node.name} has {length} lines"
        first, last = code_lines(node, source)
        silent = last - first + 1 > UNCOMMENTED and not comments & set(range(first, last + 1))
        assert not silent, f"{path}:{node.lineno} {node.name} needs a comment of its own"


@each_module
def test_one_statement_a_line(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
            assert not isinstance(node.value, ast.Tuple), f"{path}:{node.lineno} assigns two things"
