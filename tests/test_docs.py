"""The documentation tells the truth: its commands and examples run, its links and paths lead somewhere."""

import ast
import re
import shlex
from pathlib import Path
from pkgutil import resolve_name

import pytest
from command_lines import check_line, every_option

from genlab.cli.main import main

ROOT = Path(__file__).parents[1]
FILES = [*ROOT.glob("*.md"), *(path for top in ("genlab", "attacks", "recipes") for path in (ROOT / top).rglob("*.md"))]
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in sorted(FILES)}
README = PAGES["README.md"]
DOCSTRINGS = [ast.get_docstring(ast.parse(path.read_text())) or "" for path in (ROOT / "recipes").glob("*.py")]
PLACEHOLDER = re.compile(r"\b(DIR|PATH|FOLDER|CIFAR|RUN)\b")  # stands for something that the reader has


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.S | re.M)


def commands(texts, program):
    """The command lines of `texts` that start with `program`, continuation lines joined."""
    text = "\n".join(texts).replace("\\\n", " ")
    return [line.split("  #")[0].strip() for line in text.splitlines() if line.startswith(program)]


def runs(page, line):
    """Is this command run? Measured figures took hours: their commands are only held against the options."""
    return "results/" not in page and not PLACEHOLDER.search(line)


def anchors(text):
    """The names that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_first_two_blocks_install_and_run_and_install_and_test():
    first, second = blocks("README.md", "bash")[:2]
    assert README.index(first) == README.index("```bash\n") + len("```bash\n")  # no block of another kind before
    assert "pip install" in first and "recipes/quickstart.py" in first
    assert "pip install" in second and "pytest" in second
    assert "README.md" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("page", [p for p in PAGES if any(runs(p, line) for line in commands(p, "genlab "))])
def test_the_genlab_commands_run_in_their_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for line in commands(blocks(page, "bash"), "genlab "):
        words = shlex.split(line)[1:]
        if not runs(page, line):
            continue
        if words[0] == "train":
            words += ["--images", "640"]
        if words[0] == "resume":
            words[words.index("--images") + 1] = "1280"
        if words[0] == "attack":
            words += ["--n", "10"]
        if words[0] == "evaluate":
            words += ["--features", "pixels"]  # the classifier takes its time
        assert main(words) == 0, line


ONLY_READ = sorted(
    {line for page in PAGES for line in commands(blocks(page, "bash"), "genlab ") if not runs(page, line)}
)


@pytest.mark.parametrize("line", ONLY_READ)
def test_the_other_genlab_commands_have_options_that_exist(line, monkeypatch):
    check_line(line, monkeypatch)


RECIPES = sorted(
    {line for page in PAGES for line in commands(blocks(page, "bash"), "python recipes/")}
    | {line for text in DOCSTRINGS for line in commands([text], "python recipes/")}
)


@pytest.mark.parametrize("line", RECIPES)
def test_recipes_that_are_named_exist_and_know_their_options(line, monkeypatch):
    check_line(line, monkeypatch)


@pytest.mark.parametrize("page", PAGES)
def test_options_that_are_named_exist(page):
    text = re.sub(r"^```.*?^```", "", PAGES[page], flags=re.S | re.M)
    code = " ".join(re.findall(r"`((?:--|genlab |python recipes/)[^`]*)`", text))
    assert [name for name in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", code) if name not in every_option()] == []


def test_every_command_is_of_a_kind_that_is_tested():
    for page in PAGES:
        for block in blocks(page, "bash")[2 if page == "README.md" else 0 :]:
            lines = [line for line in block.replace("\\\n", " ").splitlines() if line]
            assert all(line.startswith(("genlab ", "python recipes/")) for line in lines), (page, block)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_python_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks(page, "python"):
        code = re.sub(r"images=[\d_]+", "images=640", block)
        exec(compile(code, page, "exec", dont_inherit=True), names)


def test_every_recipe_is_in_the_index_once_and_nothing_else():
    listed = re.findall(r"^- \[(\w+)\]\((\w+)\.py\): ", PAGES["recipes/README.md"], re.M)
    assert sorted(listed) == sorted((path.stem, path.stem) for path in (ROOT / "recipes").glob("*.py"))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)]+)\)", PAGES[page]):
        path, _, anchor = target.partition("#")
        found = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found.read_text()), target


@pytest.mark.parametrize("page", PAGES)
def test_files_and_modules_that_are_named_exist(page):
    for path in re.findall(r"`((?:genlab|attacks|recipes|tests)/[\w/]+\.py)`", PAGES[page]):
        assert (ROOT / path).is_file(), path
    for module in re.findall(r"`((?:genlab|attacks)(?:\.\w+)+)`", PAGES[page]):
        assert resolve_name(module), module


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_narrow(page):
    assert [line for line in PAGES[page].splitlines() if len(line) > 120] == []


def test_pages_are_where_one_looks_for_them_and_short():
    assert {"README.md", "CHANGELOG.md", "genlab/README.md", "attacks/README.md", "recipes/README.md"} <= PAGES.keys()
    assert len(README.splitlines()) <= 200
    assert len(PAGES["CHANGELOG.md"].splitlines()) <= 34  # a version of at most 30
    measured = {f"recipes/{page}" for page in re.findall(r"\((results/\w+\.md)\)", PAGES["recipes/README.md"])}
    assert measured == {page for page in PAGES if page.startswith("recipes/results/")}


def test_pictures_are_small():
    for path in (ROOT / "recipes" / "results").glob("*.png"):
        assert path.stat().st_size < 150_000, path
