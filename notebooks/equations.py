"""`make equations`: writes notebooks/EQUATIONS.md, the table of the equations of the course.

It says where every equation is derived, computed and tested. Lessons number equations by
\\tag{3.5}. A line of adf/ or tests/ cites one where (3.5), or (3.4), (3.5), is what its comment or
the line of its docstring ends with. It fails on orphans: a citation of what no lesson has, and what
adf/ cites and no test does. The numbers are those of tests/course/test_equations.py: what the
equation gives beside quadrature, beside samples.
"""

import collections
import io
import re
import sys
import tokenize
from pathlib import Path
from typing import NamedTuple

import nbformat
import numpy as np
from execute import NOTEBOOKS, paths
from tqdm import tqdm

ROOT = NOTEBOOKS.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "course")]

TAG = re.compile(r"\\tag\{([^}]*)\}")
# a citation at the end of a line, by itself or behind others
CITED = re.compile(r"(?<!\S)((?:\(\d+\.\d+\),? ?)*\(\d+\.\d+\))$")
TABLE = NOTEBOOKS / "EQUATIONS.md"
HEAD = """# The equations of the course

Made by `make equations`, which fails where a line cites an equation that no lesson has, or where no
test cites what adf/ does. Error: of what the line computes in float64, against quadrature or sums
over the definition, of E[y] in true standard deviations σ and of Var[y] = σ² relative to itself,
the largest of all outputs. Sampling: Var[y] sampled divided by Var[y] computed, of the output where
the two differ most, with an interval so wide that a right equation leaves it once in a thousand
million runs of all; a million samples. Both by
[tests/course/test_equations.py](../tests/course/test_equations.py).

| equation | derived in | computed in | tested in | error | sampling |
|---|---|---|---|---|---|
"""


class Place(NamedTuple):
    """A line of a file that cites an equation."""

    path: str  # from the root of the repository
    line: int


def derived(lessons):
    """tag -> (path, section) of all equations, in reading order.

    Where a tag is there twice, the list has both.
    """
    found = collections.defaultdict(list)
    for path in lessons:
        section = ""
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type != "markdown":
                continue
            for line in cell.source.splitlines():
                section = line.lstrip("# ") if re.match(r"#+ ", line) else section
                for tag in TAG.findall(line):
                    found[tag].append((path, section))
    return dict(found)


def cited(source):
    """[(tag, line)] of all citations in the docstrings and comments of a Python source."""
    found = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            for line, text in enumerate(token.string.splitlines(), token.start[0]):
                run = CITED.search(text.rstrip(" \"'"))
                found += [(tag, line) for tag in re.findall(r"\d+\.\d+", run[1])] if run else []
    return found


def places(folder):
    """tag -> the Places in the files of a folder that cite it."""
    found = collections.defaultdict(list)
    for path in sorted((ROOT / folder).rglob("*.py")):
        for tag, line in cited(path.read_text(encoding="utf-8")):
            found[tag].append(Place(str(path.relative_to(ROOT)), line))
    return found


def orphans(equations, code, tests):
    """What is wrong, a sentence each."""
    for tag, sources in equations.items():
        if len(sources) > 1:
            yield f"({tag}) numbers {len(sources)} equations"
    for found in code, tests:
        for tag, (place, *_) in found.items():
            if tag not in equations:
                yield f"{place.path}, line {place.line} cites ({tag}), which no lesson has"
    for tag, (place, *_) in code.items():
        if tag not in tests:
            yield f"{place.path}, line {place.line} cites ({tag}), which no test does"


def measured():
    """tag -> (error, sampling), as text."""
    import test_equations

    found = {}
    for equation in tqdm(test_equations.TABLE, unit=" equations", desc="equations"):
        c, limit = test_equations.sampling(equation)
        worst = np.unravel_index(abs(c.var_z).argmax(), c.var.shape)
        ratio, half = (
            field[worst] / c.var[worst] for field in (c.sampled_var, limit * c.var_error)
        )
        size = f"{test_equations.error(equation):.0e}" + (
            "" if equation.exact else ", an approximation"
        )
        found[equation.tag] = size, f"{ratio:.3f} [{ratio - half:.3f}, {ratio + half:.3f}]"
    return found


def written(equations, code, tests, numbers):
    """The text of EQUATIONS.md."""
    lines = []
    for tag in equations:
        path, section = equations[tag][0]
        cells = [
            f"[{path.stem[:2]}]({path.name}), {section}",
            *(links(found.get(tag, ())) for found in (code, tests)),
        ]
        lines.append(f"| ({tag}) | " + " | ".join((*cells, *numbers.get(tag, ("", "")))) + " |\n")
    return HEAD + "".join(lines)


def links(found):
    return ", ".join(
        f"[{Path(place.path).name}:{place.line}](../{place.path}#L{place.line})" for place in found
    )


def main():
    lessons = [path for path in paths() if path.parent == NOTEBOOKS]
    equations, code, tests = derived(lessons), places("adf"), places("tests")
    problems = list(orphans(equations, code, tests))
    if problems:
        sys.exit("\n".join(problems))
    TABLE.write_text(written(equations, code, tests, measured()), encoding="utf-8")
    print(f"{len(equations)} equations, {len(code)} of them in adf/:", TABLE.relative_to(ROOT))


if __name__ == "__main__":
    main()
