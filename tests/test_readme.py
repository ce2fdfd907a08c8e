"""The README tells the truth: its commands exist and run, and its table of systems names what there is."""

import io
import re
import runpy
import shlex
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from genlab.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", README, re.S) for line in block.splitlines() if line]
GENLAB = [line.split("#")[0].strip() for line in COMMANDS if line.startswith("genlab ")]


def test_the_first_two_blocks_install_and_run_and_install_and_test():
    first, second = re.findall(r"```bash\n(.*?)```", README, re.S)[:2]
    assert "pip install" in first and "recipes/quickstart.py" in first
    assert "pip install" in second and "pytest" in second
    assert "README.md" in (ROOT / ".ci" / "run").read_text()


def test_the_genlab_commands_run_in_their_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(GENLAB) >= 5
    for line in GENLAB:
        words = shlex.split(line)[1:]
        if words[0] == "train":
            words += ["--images", "2000"]
        if words[0] == "attack":
            words += ["--n", "20"]
        if words[0] == "evaluate":
            words += ["--features", "pixels"]  # the classifier takes its time
        assert main(words) == 0, line


@pytest.mark.parametrize("line", [line for line in COMMANDS if "recipes/" in line])
def test_recipes_that_are_named_exist_and_know_their_options(line, monkeypatch):
    path = re.search(r"recipes/\w+\.py", line).group()
    printed = io.StringIO()
    monkeypatch.setattr(sys, "argv", [path, "--help"])
    with redirect_stdout(printed), pytest.raises(SystemExit) as done:
        runpy.run_path(str(ROOT / path), run_name="__main__")
    assert done.value.code == 0
    for option in re.findall(r"--[a-z-]+", line.split(path)[1]):
        assert re.search(rf"{option}[ ,]", printed.getvalue()), option  # a flag is followed by its --no-


def test_every_recipe_is_in_the_table_and_nothing_else():
    table = README.split("## Recipes\n")[1].split("\n## ")[0].split("|---|---|")[1]
    assert sorted(re.findall(r"`(\w+)`", table)) == sorted(path.stem for path in (ROOT / "recipes").glob("*.py"))


def test_python_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert blocks
    names: dict = {}
    for block in blocks:
        exec(re.sub(r"images=[\d_]+", "images=2000", block), names)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
