"""Recipes about translation, with tiny numbers: what they claim holds."""

import pytest
import torch
from recipe_runs import by, results, run, start
from torch.nn.functional import avg_pool2d, interpolate

import genlab
from genlab.data.jpeg import jpeg
from genlab.data.moving import moving
from genlab.data.pairs import Inpainting
from genlab.methods.classification.features import default_features
from genlab.metrics.translation import cycle_errors


def test_translations_are_compared_with_true_partners(tmp_path):
    run("cyclegan", tmp_path)
    rows = by("variant", results(tmp_path))
    assert list(rows) == ["cycle", "no cycle", "shallow", "features"]
    model, shallow = (genlab.load(tmp_path / name) for name in ("no-cycle", "shallow"))
    assert sum(p.numel() for p in shallow.parameters()) < sum(p.numel() for p in model.parameters())
    assert shallow.config.cycle == model.config.cycle == 0 < genlab.load(tmp_path / "cycle").config.cycle
    assert (rows["shallow"]["layers"], rows["no cycle"]["layers"]) == (4, 10)
    tied, other = genlab.load(tmp_path / "features"), genlab.load(tmp_path / "pretrained")
    assert tied.config.cycle == 0 < tied.config.perceptual
    torch.testing.assert_close(tied.features.body.state_dict(), other.net[:-1].state_dict(), rtol=0, atol=0)
    test = genlab.DataOptions("unpaired:digits,night:digits", 8).load("test")
    there, back = (lambda x: model.translate(x, to=1)), (lambda x: model.translate(x, to=0))
    own = cycle_errors(there, back, test)
    assert {name: rows["no cycle"][name] for name in own} == pytest.approx(own)
    for row in rows.values():
        assert row["cycle error, 8 bits"] == pytest.approx(row["cycle error"], abs=0.01)


def test_the_way_back_from_a_translation_is_compared_with_that_from_the_true_partner(tmp_path):
    run("hidden_code", tmp_path)
    found, model = results(tmp_path), genlab.load(tmp_path / "run")
    test = genlab.DataOptions("unpaired:sprites,grey:sprites", 8, 3).load("test")
    x, y = test.a.x[:40], test.b.x[:40]
    fake = model.translate(x, to=1)
    assert found["translation"] == pytest.approx(float((fake - y).abs().mean()), rel=1e-4)
    rows = by("disturbed by", found["way back"])
    for name, disturb in (("nothing", lambda x: x), ("JPEG 25", lambda x: jpeg(x, 25))):
        row = rows[name]
        for key, grey in (("from the translation", fake), ("from the true partner", y)):
            error = float((model.translate(disturb(grey), to=0) - x).abs().mean())
            assert row[key] == pytest.approx(error, rel=1e-4)
        assert row["gain by the code"] == pytest.approx(row["from the true partner"] - row["from the translation"])


def test_grey_images_could_not_hide_colours(tmp_path):
    status, _, complaints = start("hidden_code", ["--data", "digits", "--size", "8", "--out", str(tmp_path / "grey")])
    assert status == 2 and "--data must be images in colour" in complaints and not (tmp_path / "grey").exists()


def test_one_generator_translates_to_every_domain(tmp_path):
    run("stargan", tmp_path)
    rows = {(row["from"], row["to"]): row for row in results(tmp_path)}
    assert list(rows) == [("digits", "night:digits"), ("night:digits", "digits")]
    test = genlab.DataOptions("domains:digits,night:digits", size=8).load("test")
    day, night = (test.subset(test.labels == domain).x for domain in (0, 1))
    trained, row = genlab.load(tmp_path / "run"), rows["digits", "night:digits"]
    drawn = trained.translate(day, to=1)
    assert row["partner error"] == pytest.approx(float((drawn - night).abs().mean()), rel=1e-4)
    assert row["cycle error"] == pytest.approx(float((trained.translate(drawn, to=0) - day).abs().mean()), rel=1e-4)
    for row in rows.values():  # night is an affine map of each pixel, but for 8 bits
        assert row["error of a linear map per pixel"] < 0.005 < row["partner error"]


def test_larger_factors_are_harder_and_interpolation_is_what_torch_makes_of_it(tmp_path):
    run("super_resolution", tmp_path)
    rows = {(row["by"], row["factor"]): row for row in results(tmp_path)}
    assert len(rows) == 8
    for name in ("pixels", "bicubic"):
        assert rows[name, 2]["partner error"] < rows[name, 4]["partner error"]
    x = genlab.DataOptions("digits", size=8).load("test").x
    small = avg_pool2d(x, 2)
    for name, large in {
        "pixels": small.repeat_interleave(2, 2).repeat_interleave(2, 3),
        "bicubic": interpolate(small, scale_factor=2, mode="bicubic").clamp(0, 1),
    }.items():  # up to the rounding of pixels
        assert rows[name, 2]["partner error"] == pytest.approx(float((large - x).abs().mean()), abs=1e-3)


def test_spaces_of_two_domains_are_compared_by_the_classes_that_they_keep(tmp_path):
    run("unpaired_common_space", tmp_path)
    rows = by("model", results(tmp_path))
    assert list(rows) == ["independent", "tied", "CoGAN"] and 0 < rows["CoGAN"]["pairs of one class"] <= 1
    assert 0 < rows["CoGAN"]["by chance"] <= 1
    domains = [genlab.DataOptions(name, 8, 3) for name in ("grey:digits", "textured:digits")]
    judges = [default_features(domain, images=64) for domain in domains]  # those of the recipe, from the cache
    sides = [domain.load("test") for domain in domains]
    for name in ("independent", "tied"):
        trained = genlab.load(tmp_path / name)
        for way, a, b in (("a to b", 0, 1), ("b to a", 1, 0)):
            classes = judges[b].logits(judges[b](trained.translate(sides[a].x, to=b))).argmax(1)
            assert rows[name][way] == pytest.approx(float((classes == sides[a].labels).float().mean()), abs=0.01)


def test_losses_are_compared_with_the_targets_of_the_pairs(tmp_path):
    run("pix2pix", tmp_path)
    rows = by("losses", results(tmp_path))
    assert list(rows) == ["the input", "L1 alone", "GAN alone", "both", "both, patches of 1"]
    x = genlab.DataOptions("digits", 8).load("test").x
    small = avg_pool2d(x, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert rows["the input"]["partner error"] == pytest.approx(float((small - x).abs().mean()), abs=1e-3)
    assert rows["L1 alone"]["partner error"] < rows["GAN alone"]["partner error"]


def test_only_the_hole_is_filled_and_better_than_by_grey(tmp_path):
    run("inpainting", tmp_path)
    rows, x = by("by", results(tmp_path)), genlab.DataOptions("digits", 8).load("test").x[:40]
    assert list(rows) == ["the input", "L1 alone", "L1 and GAN", "PixelCNN"]
    torch.manual_seed(0)
    hole = Inpainting(4).holes(x)
    error = float(((x - 0.5).abs() * hole).mean())
    assert rows["the input"]["partner error"] == pytest.approx(error, rel=1e-4)
    assert rows["L1 alone"]["partner error"] < error
    assert all(row["partner error"] < hole.float().mean() for row in rows.values())  # a pixel is wrong by 1 at most


def test_predictions_are_measured_by_the_nearest_of_the_possible_frames(tmp_path):
    run("next_frame", tmp_path)
    rows = by("prediction", results(tmp_path))
    assert list(rows)[-2:] == ["L2", "GAN and gradients"]
    test = moving(genlab.DataOptions("digits").load("test"), 1)
    near, what_came = "distance to the nearest future", "distance to what came"
    assert rows["a possible one"][near] == 0 and rows["a possible one"]["sharpness"] == pytest.approx(1, abs=0.05)
    assert rows["mean of the possible"][what_came] == min(row[what_came] for row in rows.values())  # the best for L2
    past, came = test.pairs()
    away = (past[:, -1:] - came).square().mean((1, 2, 3)).sqrt().mean()
    assert rows["the last frame"][what_came] == pytest.approx(float(away), rel=1e-5)


def test_sentences_left_as_they_are_keep_their_content_and_nothing_else(tmp_path):
    run("sequence_style", tmp_path)
    rows = by("translators", results(tmp_path))
    assert list(rows) == ["no cycle", "cycle", "identity, no cycle", "cycle and identity", "not translated"]
    same = rows["not translated"]
    assert same["content"] == 1 and same["grammar"] == 0 and 0.5 < same["style"] == same["correct"] < 0.8
