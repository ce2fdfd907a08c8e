"""Plugins: the templates of the docs work from a file, packages add to the same tables, one that fails is skipped."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import genlab.plugins
from genlab.cli.main import main
from genlab.core.registry import resolve
from genlab.data import load
from genlab.plugins import gather, plugin_files

ROOT = Path(__file__).parents[1]


def template(page, table):
    """The block of `page` that ends with `table`."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.S | re.M)
    (found,) = (block for block in blocks if re.search(rf"^{table} = ", block, re.M))
    return found


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("genlab.reporting.plots.png", lambda figure: b"")


def test_the_templates_of_the_docs_are_plugins(capsys):
    for name, page, table in (
        ("method", "genlab/README.md", "METHODS"),
        ("data", "genlab/README.md", "DATA"),
        ("attack", "attacks/README.md", "ATTACKS"),
        ("defence", "attacks/README.md", "DEFENCES"),
    ):
        Path(f"{name}.py").write_text(template(page, table))
    files = [word for name in ("method", "data", "attack", "defence") for word in ("--plugin", f"{name}.py")]
    assert main([*files, "list"]) == 0
    out = capsys.readouterr().out
    assert all(
        f"  {name} " in out for name in ("restore", "stripes", "rows", "random", "threshold", "gan", "digits", "pgd")
    )
    assert main([*files, *"train restore --sigma 0.2 --data stripes --images 64 --out r".split()]) == 0
    assert json.loads(Path("r/config.json").read_text())["experiment"]["shape"] == [1, 8, 8]
    assert main(["report", "r"]) == 0
    assert main([*files, *"train classifier --net mlp --width 8 --images 640 --data stripes --out net".split()]) == 0
    words = "attack net --attacks random:tries=3,fgsm --defence threshold --eps 0.3 --n 50"
    assert main([*words.split(), *files]) == 0
    rows = json.loads(Path("net/attack.json").read_text())["rows"]
    assert {row["attack"] for row in rows} == {"random:tries=3", "fgsm", "noise-linf"}
    assert not any(row["error"] for row in rows)
    assert {row["model"] for row in rows} == {"none", "threshold", "threshold, adaptive"}
    assert main("train gan --hidden 8 --data stripes --images 64 --out gan --plugin=data.py".split()) == 0
    capsys.readouterr()
    assert main("evaluate gan --n 40 --features rows --plugin data.py".split()) == 0
    assert "FID[rows]" in capsys.readouterr().out
    assert main("attack net --attacks random --overwrite".split()) == 2  # the file is a plugin of its command only


def test_a_method_of_a_file_needs_its_file_to_be_loaded(capsys, monkeypatch):
    Path("method.py").write_text(template("genlab/README.md", "METHODS"))
    assert main("--plugin method.py train restore --images 64 --out r".split()) == 0
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "genlab_plugin_method")  # as in another process
        assert main(["sample", "r"]) == 2 and "--plugin FILE adds those of a file" in capsys.readouterr().err
    assert main("--plugin method.py train restore --images 128 --out r".split()) == 0  # and goes on


@pytest.mark.parametrize(
    "code, sentence",
    [
        (None, "there is no such file"),
        ("1 / 0", "fails: ZeroDivisionError: division by zero"),
        ("raise SystemExit", "fails: SystemExit"),
        ("def f(:", "fails: SyntaxError"),
        ("ATTACKS = ['pgd']", "ATTACKS must be a dict of name -> (object, description), got ['pgd']"),
        ("DATA = {'x': 3}", "DATA must map names to (object, description), got 'x': 3"),
        ("DEFENCES = {'x': (3, 'text')}", "DEFENCES must map names to (object, description)"),
    ],
)
def test_a_file_that_is_no_plugin_is_refused(code, sentence, capsys):
    if code is not None:
        Path("mine.py").write_text(code)
    assert main(["--plugin", "mine.py", "list"]) == 2
    out, error = capsys.readouterr()
    assert "genlab: --plugin mine.py" in error and sentence in error and error.count("\n") == 1 and not out


@pytest.mark.parametrize(
    "code, words, sentence",
    [
        ("ATTACKS = {'x': (print, '')}", "attack r --attacks x", "the attack x must be a dataclass"),
        ("DATA = {'x': (lambda split: 3, '')}", "train gan --data x", "the data x of a plugin must be Images, got int"),
        ("DATA = {'stripes': ('no:such', '')}", "train gan --data strips", "did you mean 'stripes'"),
        ("", "evaluate r --features x", "unknown features 'x'"),
    ],
)
def test_entries_that_do_not_fit_are_named(code, words, sentence, capsys):
    Path("mine.py").write_text(code)
    assert main(["--plugin", "mine.py", *words.split()]) == 2
    assert sentence in capsys.readouterr().err


def entry(name, module):
    return SimpleNamespace(
        name=name, value=f"{name}.plugin", module=f"{name}.plugin", load=lambda: resolve_module(module)
    )


def resolve_module(module):
    if isinstance(module, Exception):
        raise module
    return module


@pytest.fixture
def packages(monkeypatch):
    """Installs plugins, name -> module or the exception that its import raises, beside those of this package."""
    real = genlab.plugins.entry_points
    monkeypatch.setattr(genlab.plugins, "_installed", genlab.plugins._installed.__wrapped__)

    def install(**modules):
        found = [entry(name, module) for name, module in modules.items()]
        monkeypatch.setattr(genlab.plugins, "entry_points", lambda group: [*real(group=group), *found])

    return install


def module(**tables):
    made = ModuleType("made")
    vars(made).update(tables)
    return made


def test_a_package_that_fails_is_named_and_the_others_are_used(packages):
    packages(bad=RuntimeError("no GPU"), good=module(ATTACKS={"mine": ("attacks.pgd:PGD", "PGD again")}))
    with pytest.warns(UserWarning, match=r"the plugin bad \(bad.plugin\) is skipped: RuntimeError: no GPU"):
        table = gather("ATTACKS", {})
    assert {"mine", "pgd"} <= table.keys()


def test_tables_are_merged_and_a_name_that_is_taken_is_kept(packages):
    packages(one=module(METHODS={"gan": ("x:Y", "another")}, DATA=3), two=module(METHODS={"mine": ("x:Y", "mine")}))
    with pytest.warns(UserWarning, match="'gan' of the plugin one is skipped: the name is taken"):
        table = genlab.plugins.methods()
    assert table["gan"][0] == "genlab.methods.gan.gan:GANConfig" and "mine" in table and "classifier" in table
    with pytest.warns(UserWarning, match="DATA of the plugin one is skipped: it must be a dict"):
        assert gather("DATA", {}) == {}


def test_files_are_plugins_within_their_block_only():
    Path("mine.py").write_text("DATA = {'x': (lambda split: 3, 'x')}")
    with plugin_files(["mine.py"]):
        assert "x" in gather("DATA", {})
    assert "x" not in gather("DATA", {})
    with pytest.raises(ValueError, match="unknown data 'x'"):
        load("x")
    assert resolve(3) == 3


@pytest.mark.parametrize("flags", [[], ["-P"]])
def test_a_working_folder_may_hold_files_named_like_packages(flags):
    for name in ("attacks.py", "genlab_notes.py", "rich.py", "tyro.py"):
        Path(name).write_text("raise RuntimeError('the file of the user')")
    done = subprocess.run([sys.executable, *flags, "-m", "genlab", "list"], capture_output=True, text=True)
    assert done.returncode == 0 and "pgd" in done.stdout and not done.stderr


def test_a_file_that_hides_the_attacks_is_named():
    Path("attacks.py").write_text("")
    path = os.pathsep.join([".", *filter(None, [os.environ.get("PYTHONPATH")]), str(ROOT)])
    env = os.environ | {"PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-m", "genlab", "list"], capture_output=True, text=True, env=env)
    assert done.returncode == 0 and "gan" in done.stdout and "Traceback" not in done.stderr
    assert (
        "the plugin attacks (attacks.plugin) is skipped" in done.stderr
        and "attacks.py hides the package" in done.stderr
    )
