"""The package as it is installed: one list of dependencies, one version, a command."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import adf

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_pyproject_is_the_only_list_of_dependencies():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert [line for line in lines if line and line[0] != "#"] == ["-e .[test,notebooks]"]
    assert set(PROJECT["project"]["optional-dependencies"]) == {
        "test",
        "notebooks",
        "cuda12",
        "cuda13",
    }


def test_the_oldest_versions_that_are_claimed_are_those_that_are_tested():
    """What pyproject.toml claims is what `make test-oldest` installs."""
    project = PROJECT["project"]
    claims = project["dependencies"] + project["optional-dependencies"]["test"]
    claimed = dict(claim.split(">=") for claim in claims)
    lines = (ROOT / "tests" / "oldest.txt").read_text().splitlines()
    tested = dict(line.split("==") for line in lines if line and line[0] != "#")
    for name, version in claimed.items():
        assert f"{tested.get(name)}.".startswith(f"{version}."), name


def test_what_the_package_imports_is_a_dependency():
    """Every top-level import of adf/ is of the standard library, of adf, or of a dependency."""
    named = {re.split(r"[><=\[]", d)[0] for d in PROJECT["project"]["dependencies"]}
    known = named - {"pillow"} | {"PIL", "adf", "cupy", "cupyx"} | set(sys.stdlib_module_names)
    for path in (ROOT / "adf").rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        modules = [a.name for node in nodes if isinstance(node, ast.Import) for a in node.names]
        modules += [n.module for n in nodes if isinstance(n, ast.ImportFrom) and not n.level]
        found = {module.split(".")[0] for module in modules}
        assert found <= known, (path, found - known)


def test_one_version():
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {adf.__version__}\n" in citation
    assert f"\n## {adf.__version__}\n" in (ROOT / "CHANGELOG.md").read_text()
    assert PROJECT["project"]["dynamic"] == ["version"]


def test_the_command_is_the_module():
    assert PROJECT["project"]["scripts"] == {"adf": "adf.__main__:main"}


def test_every_file_of_the_package_is_kept_by_git():
    """A pattern in .gitignore may match a room by its name."""
    if not (ROOT / ".git").exists():
        pytest.skip("no repository")
    command = ["git", "ls-files", "--others", "--ignored", "--exclude-standard", "adf"]
    ignored = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [name for name in ignored.split() if name.endswith((".py", ".npz"))] == []
