"""What holds for every recipe, and the quickstart."""

import ast
import base64
import json
from pathlib import Path

import pytest
from recipe_runs import BENCHMARKS, RECIPES, TINY, held_out, results, run, start, success

import genlab
from attacks import FGSM, Linf
from attacks.defences.smoothing import Filtered, Gaussian


def test_every_recipe_has_a_tiny_command_line_and_a_test_that_runs_it():
    names = {path.stem for path in RECIPES.glob("*.py")}
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_recipes*.py"))
    assert names == set(TINY)
    assert [name for name in sorted(names) if f'run("{name}", ' not in tests and name not in BENCHMARKS] == []


def test_bad_input_to_a_recipe_gets_one_sentence_and_status_2(tmp_path):
    status, _, complaints = start("quickstart", ["--data", "mnits", "--out", str(tmp_path / "q")])
    assert status == 2 and "did you mean 'mnist'" in complaints and complaints.count("\n") == 1
    assert not (tmp_path / "q").exists()


def test_a_recipe_refuses_the_folder_of_a_run_or_of_another_recipe_and_keeps_what_lies_there(tmp_path):
    run("gan_theory", tmp_path / "theory")
    made = {path.name: path.read_bytes() for path in (tmp_path / "theory").iterdir() if path.is_file()}
    assert json.loads(made["recipe.json"])["command"][0] == "gan_theory.py"
    status, _, complaints = start("triangular_matrices", ["--out", str(tmp_path / "theory")])
    assert status == 2 and "holds the results of gan_theory.py; choose another --out" in complaints
    assert {path.name: path.read_bytes() for path in (tmp_path / "theory").iterdir() if path.is_file()} == made
    run("gan_theory", tmp_path / "theory")  # its own are made again
    genlab.Run.create(tmp_path / "run", {})
    status, _, complaints = start("gan_theory", ["--out", str(tmp_path / "run")])
    assert status == 2 and "is the folder of a run" in complaints


@pytest.mark.parametrize("name", TINY)
def test_every_option_has_a_help_text(name):
    body = next(
        n.body for n in ast.parse((RECIPES / f"{name}.py").read_text()).body if getattr(n, "name", "") == "Config"
    )
    for option, text in zip(body, [*body[1:], None]):
        if isinstance(option, ast.AnnAssign):
            assert isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant), ast.unparse(option.target)


def test_quickstart_attacks_the_classifier_that_it_trained_and_the_filters_in_front_of_it(tmp_path):
    out = run("quickstart", tmp_path)
    found, model, test = results(tmp_path), genlab.load(tmp_path / "classifier"), held_out(20)
    assert found["accuracy"] == model.evaluate(held_out(360))["accuracy"] > 0.8
    rates = {(row["model"], row["attack"], row["eps"]): row["success"]["value"] for row in found["rows"]}
    assert rates["none", "pgd", 0.25] > 0.9 > 0.5 > rates["none", "noise-linf", 0.25]
    assert rates["none", "fgsm", 0.25] == success(FGSM(Linf(0.25)), model, test)
    filtered = Filtered(Gaussian(0.5), model)
    assert rates["gaussian", "fgsm", 0.25] == success(FGSM(Linf(0.25)), filtered, test, source=model)
    assert "worst case" in out and "only if unknown" not in out and "verdict" in out
    page = (tmp_path / "report.html").read_text()
    assert base64.b64encode(genlab.Run(tmp_path / "gan").samples()[-1].read_bytes()).decode() in page
