"""Recipes about speed, with tiny numbers: what they claim holds."""

import sys
from types import SimpleNamespace

import pytest
from recipe_runs import BENCHMARKS, results, run, start

import genlab
from attacks import PGD, Linf


@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmarks_tell_ratios_to_the_floor_of_the_same_run(name, tmp_path):
    run(name, tmp_path)
    rows = results(tmp_path)
    assert len(rows) == {"benchmark_training": 3, "benchmark_flow": 2}.get(name, 1)
    for row in rows:  # of a single round
        _, floor, lab, ratio = row.values()
        expected = floor / lab if name == "benchmark_adversarial" else lab / floor  # of times, not of speeds
        assert ratio == pytest.approx(expected)


def test_the_loader_is_measured_per_image(tmp_path):
    run("benchmark_loader", tmp_path)
    (row,) = results(tmp_path)
    assert row["lab / floor"] == pytest.approx(row["lab, images/s"] / row["floor, images/s"]) and row["lab / floor"] > 1


def test_cached_sampling_is_compared_with_the_naive_one_on_the_same_images(tmp_path):
    run("benchmark_sampling", tmp_path)
    found = results(tmp_path)
    assert found["same"] is True
    for row in found["pixelcnn"]:
        _, naive, cached, ratio = row.values()
        assert ratio == pytest.approx(naive / cached)
    (row,) = found["diffusion"]
    passes, floor, sampler, share = row.values()
    assert passes == 3 and share == pytest.approx(sampler / floor)


def test_attacks_are_timed_beside_as_many_bare_passes(tmp_path):
    run("benchmark_attacks", tmp_path)
    rows = results(tmp_path)["attacks"]
    assert [row["attack"].split()[0] for row in rows] == ["FGSM-1", "IFGSM-40", "PGD-40", "MIFGSM-40", "PGD-40"]
    assert all(row["time / floor"] > 0 < row["seconds"] for row in rows) and results(tmp_path)["peers"] == []
    model, test = genlab.load(tmp_path / "classifier"), genlab.DataOptions("digits", size=10).load("test")
    test = test.subset(slice(0, 4))
    fooled = model(PGD(Linf(0.3))(model, test.x, test.labels)).argmax(1) != test.labels
    assert rows[2]["success"] == fooled.float().mean().item()


def test_autoattack_of_its_authors_is_counted_beside_ours_and_named_where_it_is_missing(tmp_path, monkeypatch):
    tiny = f"--only autoattack --size 10 --n 4 --images 320 --out {tmp_path}".split()
    monkeypatch.setitem(sys.modules, "autoattack", None)
    assert "package autoattack (github.com/fra31/auto-attack) is not" in start("benchmark_attacks", tiny)[1]
    assert not (tmp_path / "robust").exists()  # nothing is trained in vain

    class AutoAttack:
        """Changes nothing, and asks the model once."""

        def __init__(self, model, norm, eps, seed, device, verbose):
            assert norm in ("Linf", "L2", "L1") and seed == 0 and not verbose
            self.model = model

        def run_standard_evaluation(self, x, y, bs):
            assert bs == len(x) == 4
            self.model(x)
            return x

    monkeypatch.setitem(sys.modules, "autoattack", SimpleNamespace(AutoAttack=AutoAttack))
    assert start("benchmark_attacks", tiny)[0] == 0
    rows = {(row["norm"][:2], row["AutoAttack"]): row for row in results(tmp_path)["autoattack"]}
    assert len(rows) == 9 and all(rows[norm, "public"]["forward passes"] == 1 for norm in ("li", "l2", "l1"))
    clean = rows["l2", "public"]["robust accuracy, %"]
    assert clean >= rows["l2", "fast"]["robust accuracy, %"] == clean + results(tmp_path)["fast above public"]["l2"]
