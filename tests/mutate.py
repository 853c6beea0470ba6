"""Breaks a module in every small way, one at a time: which of the breaks do the tests not notice?

    python tests/mutate.py adf/layers/linear.py tests/layers -m "not slow" --sample 40

Each mutant is tested in a copy of the working tree by `pytest -x`, two at a time; a mutant that
hangs counts as noticed. Survivors are printed with their line. One that changes nothing that can be
seen (a tie that is broken the other way, an error message) is no gap in the tests: judge each.
"""

import argparse
import ast
import copy
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
AT_ONCE = 2
SWAPS = ("Lt LtE", "Gt GtE", "Eq NotEq", "Is IsNot", "In NotIn", "Add Sub", "Mult Div")
SWAPS += ("And Or", "BitAnd BitOr", "FloorDiv Mult", "Pow Mult", "Mod Mult")
OPERATORS = {a: b for line in reversed(SWAPS) for a, b in (line.split(), line.split()[::-1])}
NAMES = {"min": "max", "minimum": "maximum", "any": "all", "zeros_like": "ones_like"}
NAMES |= {b: a for a, b in NAMES.items()}


def alternatives(node):
    """What this node may be replaced by: new nodes."""
    changed = copy.deepcopy(node)
    if isinstance(node, ast.Compare | ast.BinOp | ast.BoolOp | ast.AugAssign):
        operators = [node.ops[0]] if isinstance(node, ast.Compare) else [node.op]
        other = OPERATORS.get(type(operators[0]).__name__)
        if other and isinstance(node, ast.Compare):
            changed.ops[0] = getattr(ast, other)()
        elif other:
            changed.op = getattr(ast, other)()
        yield from [changed] * bool(other)
    elif isinstance(node, ast.UnaryOp):  # not, - and ~ are dropped
        yield node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield from (ast.Constant(node.value + 1), ast.Constant(node.value - 1))
    elif isinstance(node, ast.Constant) and isinstance(node.value, float):
        yield from (ast.Constant(2 * node.value), ast.Constant(node.value + 1))
    elif isinstance(node, ast.Name) and node.id in NAMES:
        yield ast.Name(NAMES[node.id], node.ctx)
    elif isinstance(node, ast.Attribute) and node.attr in NAMES:
        changed.attr = NAMES[node.attr]
        yield changed
    # A statement for its effect alone: it is left out.
    if isinstance(node, ast.AugAssign) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        yield ast.Pass()


def places(tree):
    """(node, how to put another in its place) everywhere but in words and annotations."""
    skipped = (ast.JoinedStr, ast.arg, ast.Import, ast.ImportFrom)
    for field, value in ast.iter_fields(tree):
        children = value if isinstance(value, list) else [value]
        for i, child in enumerate(children):
            if not isinstance(child, ast.AST) or isinstance(child, skipped):
                continue
            if isinstance(value, list):
                yield child, lambda new, value=value, i=i: value.__setitem__(i, new)
            else:
                yield child, lambda new, field=field: setattr(tree, field, new)
            yield from places(child)


def mutants(source):
    """(line, what was, what is, the source of the mutant) of every mutant of a module."""
    tree = ast.parse(source)
    for node, replace in list(places(tree)):
        for new in alternatives(node):
            replace(ast.copy_location(new, node))
            yield node.lineno, ast.unparse(node), ast.unparse(new), ast.unparse(tree)
            replace(node)


def copied(folder):
    """A copy of the working tree, without what git ignores."""
    command = ("git", "ls-files", "-co", "--exclude-standard")
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(lambda name: (ROOT / name).is_file(), names.splitlines()):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    return folder


def passes(folder, tests, timeout):
    """Whether the tests pass there: True, False, or None where they take too long."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}  # else a stale one may be used
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, timeout=timeout, capture_output=True, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    return done.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("module", type=Path, help="as adf/layers/linear.py")
    parser.add_argument("--sample", type=int, help="so many mutants, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    args, tests = parser.parse_known_args()  # the rest is pytest's
    chosen = list(mutants((ROOT / args.module).read_text()))
    if args.sample and args.sample < len(chosen):
        chosen = sorted(random.Random(args.seed).sample(chosen, args.sample))
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(AT_ONCE) as pool:
        free = queue.SimpleQueue()
        for i in range(AT_ONCE):
            free.put(copied(Path(temporary) / str(i)))
        # The tests must pass on what is right, and say how long that takes.
        folder = free.get()
        start = time.perf_counter()
        if not passes(folder, tests, None):
            sys.exit("the tests fail on the module as it is")
        timeout = 10 + 4 * (time.perf_counter() - start)
        free.put(folder)

        def survives(mutant):
            folder = free.get()
            (folder / args.module).write_text(mutant[-1])
            alive = passes(folder, tests, timeout)
            free.put(folder)
            return alive

        verdicts = []
        for (line, was, now, _), survived in zip(chosen, pool.map(survives, chosen), strict=True):
            verdicts.append(survived)
            if survived:
                print(f"{args.module}:{line}: {was}  ->  {now}", flush=True)
    noticed = len(chosen) - verdicts.count(True)
    print(f"{args.module}: {noticed} of {len(chosen)} noticed, {verdicts.count(None)} of them hung")


if __name__ == "__main__":
    main()
