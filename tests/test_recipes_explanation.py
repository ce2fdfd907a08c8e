"""Recipes about explanation, with tiny numbers: what they claim holds."""

import pytest
from recipe_runs import by, results, run

import genlab


def test_true_maps_find_what_matters_and_an_attack_moves_them(tmp_path):
    run("explanations", tmp_path)
    found = results(tmp_path)
    left = {(row["map"], row["share deleted"]): row["probability"] for row in found["deletion"]}
    for name in ("saliency", "integrated gradients", "occlusion, black 1x1", "LIME", "LRP, epsilon", "LRP, z+"):
        assert left[name, 0.3] < left["random", 0.3]
    attacked, noise = found["attack"]
    assert attacked["prediction kept"] == 1.0
    assert attacked["important pixels in common"] < noise["important pixels in common"]


def test_maximised_images_please_the_classifier_more_than_another_one(tmp_path):
    run("activation_maximisation", tmp_path)
    rows = by("optimised over", results(tmp_path))
    assert list(rows) == ["pixels", "pixels, one L1 penalty for all", "pixels, L1 penalty", "latents of a VAE"]
    assert rows["pixels, L1 penalty"]["mean pixel"] < 0.5 * rows["pixels"]["mean pixel"]
    assert rows["pixels"]["classified as intended"] > max(0.1, rows["pixels"]["by the second classifier"])
    assert "takes an entirely black image for" in (tmp_path / "report.html").read_text()
    seeds = [genlab.Run(tmp_path / name).experiment["training"]["seed"] for name in ("classifier", "second-classifier")]
    assert seeds == [0, 1]


def test_a_classifier_that_looks_at_the_background_is_found_out(tmp_path):
    run("shortcut", tmp_path)
    rows = by("in training the colour told", results(tmp_path))
    told, nothing = rows["the class"], rows["nothing"]
    assert told["accuracy"] > 0.9 > 0.2 > told["accuracy, another's colour"]
    assert nothing["accuracy, another's colour"] == pytest.approx(nothing["accuracy"], abs=0.15)
    assert told["saliency on the background"] > nothing["saliency on the background"]


def test_images_take_a_style_and_dreams_and_filters_excite_their_layers(tmp_path):
    run("dream", tmp_path)
    found = results(tmp_path)
    assert found["style"]["distance after"] < 0.7 * found["style"]["distance before"]
    assert [row["layer"] for row in found["dream"]] == [2, 4, 6]
    dreamt, shuffled = "activation, squared: dream / photograph", "the same change, its pixels shuffled"
    assert all(row[dreamt] > row[shuffled] for row in found["dream"]) and found["dream"][0][dreamt] > 1.2
    assert found["filters"][0]["over the best test image"] > 1


def test_a_deeper_tree_mimics_a_network_better(tmp_path):
    run("mimic_tree", tmp_path)
    found = results(tmp_path)
    fidelity = {(row["tree on"], row["depth"]): row["fidelity"] for row in found["trees"]}
    for name in ("pixels", "principal components", "principal components, noisy copies"):
        assert fidelity[name, 6] > fidelity[name, 2] + 0.1


def test_the_gradient_of_a_sure_classifier_vanishes_and_integrated_gradients_add_up(tmp_path):
    run("gradient_saturation", tmp_path)
    rows = by("method", results(tmp_path))
    for ending, size in (("", 1), (", logit", 20)):
        whole, integral = (rows[name + ending]["by contrast"] for name in ("taken away", "integrated gradients"))
        assert integral == pytest.approx(whole, abs=0.02 * size)  # completeness
    assert abs(rows["gradient"]["worth"]) < 0.5 * rows["taken away"]["worth"]
