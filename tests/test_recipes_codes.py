"""Recipes about conditional generation, codes and few labels, with tiny numbers: what they claim holds."""

import runpy

import pytest
import torch
from recipe_runs import RECIPES, TINY, by, cells, results, run

import genlab


def test_conditional_gans_are_judged_by_a_classifier_that_answers_as_it_was_asked(tmp_path):
    run("conditional", tmp_path)
    found = results(tmp_path)
    assert found["classifier accuracy"] == genlab.Run(tmp_path / "classifier").results()["accuracy"]
    folders = ["joint-score-mismatched-pairs", "joint-score-no-mismatched-pairs"]
    folders += ["separate-scores-mismatched-pairs", "separate-scores-no-mismatched-pairs", "StackGAN-mismatched-pairs"]
    classifier = genlab.load(tmp_path / "classifier")
    for row, folder in zip(found["models"], folders, strict=True):
        trained, kind = genlab.load(tmp_path / folder), row["model"].split()[0]
        if kind != "StackGAN":
            assert (trained.config.heads, trained.config.mismatched) == (kind, row["mismatched pairs"])
        torch.manual_seed(0)
        asked = torch.arange(10).repeat_interleave(100)
        said = torch.cat([classifier(trained.sample(500, part)).argmax(1) for part in asked.split(500)])
        assert row["conditional accuracy"] == pytest.approx((said == asked).double().mean().item())


def test_infogan_keeps_the_start_whose_category_says_most(tmp_path):
    run("infogan_factors", tmp_path)
    rows = results(tmp_path)
    assert [(row["method"], row["seed"]) for row in rows] == [
        ("InfoGAN", 0),
        ("InfoGAN", 1),
        ("without information", 0),
        ("without discriminator", 0),
    ]
    for row in rows:
        method = row["method"].replace(" ", "-")
        figures = genlab.Run(tmp_path / f"{method}-{row['seed']}").results()
        assert row["category information"] == figures["category_information"]
        assert row["correlations"] == {name: value for name, value in figures.items() if name.startswith("value1_")}
        same = [other["category information"] for other in rows if other["method"] == row["method"]]
        assert row["kept"] == (row["category information"] == max(same))


def test_unlabelled_images_improve_what_two_labels_of_each_class_teach(tmp_path):
    printed = run("few_labels", tmp_path)
    rows = by("method", results(tmp_path))
    found = {name: row["2 labels"] for name, row in rows.items()}
    for better, alone in (("em", "gaussians"), ("label-propagation", "nearest")):
        assert found[better] > found[alone] + 5 > 50, found
    asked = TINY["few_labels"].partition("--methods ")[2].partition(" --")[0].split()
    assert found.keys() == {*asked, "discriminator"}  # each beside the same model on the labelled images alone
    table = {row[0]: row[2] for row in cells(printed)}
    assert table["em"] == f"{found['em']:.1f}"
    assert " is most accurate with " in (tmp_path / "report.html").read_text()


def test_descent_improves_an_inversion_and_a_looser_edit_goes_further(tmp_path):
    run("photo_editing", tmp_path)
    found = results(tmp_path)
    errors = {row["latent by"]: row["mean squared error"] for row in found["inversion"]}
    assert errors["encode, then optimise"] < errors["encode"]
    model, x = genlab.load(tmp_path / "vae-gan-0"), genlab.DataOptions("glyphs", 16, 1).load("test").x[:4]
    error = (model.decoder(model.encode(x)) - x).square().mean()
    assert errors["encode"] == pytest.approx(float(error), rel=1e-4)
    pixels = [row["mean pixel"] for row in found["attribute"]]
    assert [row["vectors added"] for row in found["attribute"]] == [-1, -0.5, 0, 0.5, 1]
    assert max(pixels) - min(pixels) > 0
    edits = found["edits"]
    assert [row["near"] for row in edits] == ["before", 0.1, 0.001]
    distances, violations = ([row[name] for row in edits] for name in ("distance in z", "violation"))
    assert distances == sorted(distances) and distances[0] == 0 and violations[-1] < violations[0]


def test_the_edit_that_is_reported_is_the_loosest_that_keeps_enough():
    loosest = runpy.run_path(str(RECIPES / "photo_editing.py"))["loosest"]
    shares = {"before": 1.0, 0.3: 0.98, 0.1: 0.9, 0.03: 0.5}
    rows = [{"near": near, "digit kept": share} for near, share in shares.items()]
    assert loosest([rows], 0.9) == 0.1 and loosest([rows], 0.4) == 0.03 and loosest([rows], 0.99) is None


def test_several_labels_are_learnt_with_and_without_a_discriminator(tmp_path, monkeypatch):
    monkeypatch.setattr("genlab.reporting.plots.png", lambda figure: b"")  # it takes longer than a training
    run("several_labels", tmp_path)
    rows = results(tmp_path)
    assert len(rows) == 2 * 2 * 3 and {row["digits of a picture"] for row in rows} == {"3 groups", "any"}
    assert len({row["F1"] for row in rows}) > 6  # the discriminators change what is learnt


def test_labels_of_a_picture_are_those_of_its_tiles_and_counted_together():
    recipe = runpy.run_path(str(RECIPES / "several_labels.py"))
    some, every = recipe["label_sets"](5, 3).values()
    assert some.shape == (3, 5) and every.sum(1).bincount().tolist() == [0, 0, 10, 10, 5]
    pixels = torch.arange(1, 6, dtype=torch.uint8).view(5, 1, 1, 1) * 50  # label i is grey 50 (i + 1)
    greys = genlab.data.Images(pixels, torch.arange(5), tuple("abcde"), "greys")
    made = recipe["pictures"](greys, some, 6, noise=0.0, seed=0)
    for picture, kind in zip(made.pixels, made.labels):
        shown = sorted(int(grey) // 50 - 1 for grey in picture.flatten() if grey)
        assert shown == some[kind].nonzero()[:, 0].tolist()
    given = torch.tensor([[1, 1, 0], [1, 0, 0]]).bool()
    sets = torch.tensor([[1, 0, 1], [1, 0, 0]]).bool()
    found = recipe["measured"](given, torch.tensor([0, 1]), sets)  # 2 right of 3 given and of 3 true
    assert found == {"F1": pytest.approx(2 / 3), "all labels right": 0.5, "a set that exists": 0.5}


def test_a_classifier_of_the_source_is_compared_with_those_that_see_the_target(tmp_path, monkeypatch):
    monkeypatch.setattr("genlab.reporting.plots.png", lambda figure: b"")  # it takes longer than a training
    run("domain_adversarial", tmp_path)
    rows = by("trained on", results(tmp_path))
    source, adversarial, target = rows.values()
    assert list(rows) == ["source only", "adversarial", "target, with its labels"]
    assert all(row["target"] == "night" and row["(sd)"] == 0 for row in rows.values())
    assert min(source["target accuracy"], adversarial["target accuracy"]) > 0.4
    assert min(source["source accuracy"], adversarial["source accuracy"]) > target["source accuracy"]


def test_copied_layers_are_worth_more_than_random_ones(tmp_path):
    run("layer_transfer", tmp_path)
    accuracy = {(row["way"], row["layers"]): row["accuracy"] for row in results(tmp_path)}
    assert len(accuracy) == 10
    assert accuracy["copied, frozen", 6] > max(accuracy["random, frozen", 6], accuracy["no transfer", 0]) + 10
