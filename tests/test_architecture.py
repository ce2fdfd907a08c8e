"""The rules of the house that a machine can check."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "genlab": ("attacks", "recipes", "tests"),
    "genlab/nets": ("genlab.methods", "genlab.training", "genlab.data"),
    "genlab/data": ("genlab.methods", "genlab.training", "genlab.nets", "genlab.run"),
    "attacks": ("genlab.methods", "recipes", "tests"),
}


FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for top in ("genlab", "attacks")
    for path in (ROOT / top).rglob("*.py")
}


@cache
def syntax(path):
    return ast.parse(path.read_text())


def imports(path):
    for node in ast.walk(syntax(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def needs(tree, known):
    """The modules of `known` that a syntax tree imports, also within functions, but for what only a type checker reads.

    The package of a module is imported by Python itself and does not count.
    """
    if isinstance(tree, ast.If) and ast.unparse(tree.test) == "TYPE_CHECKING":
        return set()
    if isinstance(tree, ast.Import):
        return {alias.name for alias in tree.names} & {*known}
    if isinstance(tree, ast.ImportFrom) and tree.module:
        names = (f"{tree.module}.{alias.name}" for alias in tree.names)
        return {name if name in known else tree.module for name in names} & {*known}
    return {name for child in ast.iter_child_nodes(tree) for name in needs(child, known)}


@cache
def file_graph():
    """file -> the files that it imports."""
    return {name: needs(syntax(path), FILES) - {name} for name, path in FILES.items()}


def circle(graph):
    """Nodes of `graph` (node -> the nodes it needs), each of which needs the next and the last one the first."""
    done = set()

    def search(node, way):
        if node in way:
            return way[way.index(node) :]
        found = [] if node in done else next(filter(None, (search(each, [*way, node]) for each in graph[node])), [])
        done.add(node)
        return found

    return next(filter(None, (search(node, []) for node in graph)), [])


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_point_one_way(package):
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        bad = [m for m in imports(path) if any(m == f or m.startswith(f + ".") for f in FORBIDDEN[package])]
        assert not bad, f"{path} imports {bad}"


def test_no_file_imports_itself_by_way_of_others():
    assert file_graph()["genlab.run"] >= {"genlab.core.lock", "genlab.training.checkpoint"}
    assert not circle(file_graph())


def packages(top):
    """What the packages of `top` import of each other; a file beside them counts as one."""

    def package(name):  # the table of names `METHODS` also counts as one
        return "METHODS" if name == "genlab.methods" else ".".join(name.split(".")[:2])

    graph = {package(name): set() for name in FILES if name.startswith(f"{top}.")}
    for name, found in file_graph().items():
        if name.startswith(f"{top}."):
            graph[package(name)] |= {package(each) for each in found}
    return {name: {each for each in found if each in graph} - {name} for name, found in graph.items()}


def test_no_package_imports_itself_by_way_of_others():
    lab, attacks = packages("genlab"), packages("attacks")
    assert not lab["genlab.core"] and "genlab.metrics" in lab["genlab.methods"]
    assert not attacks["attacks.core"] and "attacks.defences" in attacks["attacks.evaluation"]
    assert not circle(lab) and not circle(attacks)


def test_circles_are_found_wherever_the_import_stands():
    files = {
        "p.a": "from p import b",
        "p.b": "def f():\n    if True:\n        from p.c import x",
        "p.c": "import p.a",
        "p.d": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p import e",
        "p.e": "import p.d",
    }
    graph = {name: needs(ast.parse(text), files) for name, text in files.items()}
    assert graph == {"p.a": {"p.b"}, "p.b": {"p.c"}, "p.c": {"p.a"}, "p.d": set(), "p.e": {"p.d"}}
    assert circle(graph) == ["p.a", "p.b", "p.c"] and not circle({"a": {"b"}, "b": set(), "c": {"a", "b"}})


def test_recipes_leave_descending_to_the_lab():
    for path in (ROOT / "recipes").glob("*.py"):
        text = path.read_text()
        if not path.name.startswith("benchmark_"):  # a benchmark's floor is a bare loop
            assert ".backward(" not in text and "torch.optim" not in text, path


def test_recipes_print_what_they_measured_before_they_write_it():
    for path in (ROOT / "recipes").glob("*.py"):
        for function in [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]:
            lines = [ast.unparse(statement) for statement in function.body]
            writes = [n for n, line in enumerate(lines) if line.startswith("write_atomically(") or ".html" in line]
            late = [line for line in lines[min(writes, default=len(lines)) + 1 :] if "print(" in line]
            assert all(line.startswith("print(f'report ") for line in late), f"{path}: {late}"


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
