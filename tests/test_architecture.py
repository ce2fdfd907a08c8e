"""The rules of the house that a machine can check."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "genlab": ("attacks", "recipes", "tests"),
    "genlab/nets": ("genlab.methods", "genlab.training", "genlab.data"),
    "genlab/data": ("genlab.methods", "genlab.training", "genlab.nets", "genlab.run"),
    "attacks": ("genlab.methods", "recipes", "tests"),
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_point_one_way(package):
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        bad = [m for m in imports(path) if any(m == f or m.startswith(f + ".") for f in FORBIDDEN[package])]
        assert not bad, f"{path} imports {bad}"


def test_recipes_leave_descending_to_the_lab():
    for path in (ROOT / "recipes").glob("*.py"):
        text = path.read_text()
        if not path.name.startswith("benchmark_"):  # a benchmark's floor is a bare loop
            assert ".backward(" not in text and "torch.optim" not in text, path


def test_recipes_print_what_they_measured_before_they_write_it():
    for path in (ROOT / "recipes").glob("*.py"):
        lines = path.read_text().splitlines()
        writes = [n for n, line in enumerate(lines) if line.startswith("    write_atomically(") or ".html" in line]
        late = [line for line in lines[min(writes, default=len(lines)) + 1 :] if "print(" in line]
        assert all(line.startswith('    print(f"report ') for line in late), f"{path}: {late}"


def test_nothing_else_stands_at_the_top():
    allowed = {"genlab", "attacks", "recipes", "tests", "pyproject.toml", "README.md", ".ci", "LICENSE",
               "CHANGELOG.md", ".gitignore"}  # fmt: skip
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a checkout")
    assert {name.split("/")[0] for name in listed.stdout.splitlines()} == allowed


def test_heavy_imports_wait_until_they_are_used():
    code = "import sys, genlab, attacks, genlab.data, genlab.cli.main, attacks.plugin; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
