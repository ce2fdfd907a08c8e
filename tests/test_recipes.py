"""Every recipe runs from the command line with tiny numbers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[1] / "recipes"
TINY = {
    "quickstart": "--classifier-images 20000 --gan-images 128 --attacked 20 --eps 0.1 0.3 --out {out}",
    "benchmark_attacks": "--n 8 --repeats 1 --images 2000 --out {out}",
    "benchmark_training": "--steps 1 --repeats 1 --batch 8",
}


def run(name, out):
    command = [sys.executable, str(RECIPES / f"{name}.py"), *TINY[name].format(out=out).split()]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_recipe_is_left_out():
    assert {path.stem for path in RECIPES.glob("*.py")} == set(TINY)


def test_quickstart_leaves_a_report_with_grid_and_success_table(tmp_path):
    out = run("quickstart", tmp_path / "q")
    page = (tmp_path / "q" / "report.html").read_text()
    assert "test accuracy" in out and "worst case" in out
    assert page.count("data:image/png") >= 4 and "pgd" in page and "gaussian, adaptive" in page
    results = json.loads((tmp_path / "q" / "results.json").read_text())
    assert results["accuracy"] > 0.8
    rates = {(r["model"], r["attack"], r["eps"]): r["success"]["value"] for r in results["rows"]}
    assert rates["none", "pgd", 0.3] > 0.9 > 0.5 > rates["none", "noise-linf", 0.1]


@pytest.mark.parametrize("name", ["benchmark_attacks", "benchmark_training"])
def test_benchmarks_print_ratios_to_the_floor_of_the_same_run(name, tmp_path):
    out = run(name, tmp_path)
    assert "floor" in out and len(out.splitlines()) > 4
