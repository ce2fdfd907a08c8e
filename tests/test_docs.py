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


NUMBERS = (
    "1 2 3 4 5 6 10 14 15 16 17 18 19 21 24 26 29 32 33 34 35 36 37 38 40 41 42 43 45 47 49 50 51 53 54 55 56 57 58 59 "
    "60 61 62 63 64 66 68 69 70 72 73 74 75 76 77 79 80 81 82 83 84 85 86 87 88 89 90 91 92 93 94 95 96 97 98 100 102 "
    "104 105 106 109 111 112 113 114 115 116 118 119 120 121 122 123 123b 123c 123d 123e 123f 123g 123h 123i 123j 123k "
    "123l 123m 124 125 126 127 128 129 130 131 132 133 134 135 136 137 138 139 142 143 145 146 147 152 153 154 156 159 "
    "161 162 163 164 165 166 171 172 173 174 175 176 177 178 179 180 181 182 183"
).split()
NOT_SHOWN = 0  # rows with an open claim; may only become fewer
WITHOUT_NUMBER = {"quickstart", "reproduce", "generative_table", "diffusion_mnist"}  # what the notes do not ask for
INDEX = PAGES["recipes/README.md"].partition("## By number of the notes\n")[2].partition("\n## ")[0]
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\| \d.*\|$", INDEX, re.M)]
SHOWN_BY = dict(re.findall(r"^\[(\w+)\]: (\S+)$", INDEX, re.M))


def test_every_number_of_the_notes_is_in_its_index_once_and_in_order():
    assert [row[0] for row in ROWS] == NUMBERS


def test_every_number_has_a_system_a_result_and_where_it_is_shown():
    for number, system, where, result in ROWS:
        names = re.findall(r"\[(\w+)\]", where)
        assert system and result, number
        assert where == ", ".join(f"[{name}]" for name in names), number
        assert names or result == "not shown yet", number
        assert set(names) <= SHOWN_BY.keys(), f"{number}: below the table a line [NAME]: FILE is missing"


def test_the_files_below_the_index_exist_are_named_like_them_and_used():
    for name, target in SHOWN_BY.items():
        path = (ROOT / "recipes" / target).resolve()
        assert path.is_file() and path.stem == name
    assert set(SHOWN_BY) == {name for row in ROWS for name in re.findall(r"\[(\w+)\]", row[2])}


def test_every_experiment_has_a_number_and_ever_fewer_claims_are_open():
    recipes = {path.stem for path in (ROOT / "recipes").glob("*.py")}
    missing = {name for name in recipes - WITHOUT_NUMBER - set(SHOWN_BY) if not name.startswith("benchmark_")}
    assert not missing, missing
    assert sum("not shown yet" in row[3] for row in ROWS) <= NOT_SHOWN
