"""Recipes about GANs, with tiny numbers: what they claim holds."""

import math

import pytest
import torch
from recipe_runs import by, held_out, results, run, start

import genlab
from genlab.methods.classification.features import default_features
from genlab.methods.gan.losses import gradient_norms
from genlab.metrics.comparison import measure
from genlab.metrics.extract import extract_features, samples, shuffled
from genlab.metrics.sharpness import sharpness


def test_the_penalty_drives_the_gradient_norms_of_the_critic_to_one_and_clipping_does_not(tmp_path):
    run("wgan_gp", tmp_path)
    rows, real = by("model", results(tmp_path)), held_out(500).x
    trained, row = genlab.load(tmp_path / "wgan-gp"), rows["wgan-gp"]
    torch.manual_seed(0)
    untrained = trained.config.build((1, 8, 8), 10)
    before = gradient_norms(untrained.critic, real, trained.sample(len(real))).mean()
    assert before < 0.2 and 0.7 < row["gradient norm"] < 1.3
    assert not 0.7 < rows["wgan-clipped"]["gradient norm"] < 1.3
    fake = torch.cat(list(samples(trained.sample, len(real))))
    with torch.no_grad():
        distance = trained.critic(real).mean() - trained.critic(fake).mean()
    assert row["distance"] == pytest.approx(float(distance), rel=1e-4)
    features = default_features(genlab.DataOptions("digits", 8), images=320)
    sets = (extract_features(x, features) for x in (shuffled(held_out(360)), samples(trained.sample, 50)))
    assert row["FID"] == pytest.approx(measure("FID", *sets)[f"FID[{features.name}]"], rel=1e-4)


def test_what_theory_says_of_gans_holds_on_points(tmp_path):
    run("gan_theory", tmp_path)
    found = results(tmp_path)
    for row in found["overlapping"]:  # a discriminator measures a lower bound of the JSD
        assert row["trained discriminator"] == pytest.approx(row["integral"], abs=0.02)
    near, far = found["disjoint"]
    for row in (near, far):
        assert row["JSD"] == pytest.approx(math.log(2), abs=0.02)
        assert row["earth mover's distance"] == pytest.approx(row["gap"], abs=0.02)
        assert row["gradient norm, minimax"] < 0.1 < 1 < row["gradient norm, nonsaturating"]
        assert row["gradient norm, lsgan"] > 0.3 / row["gap"]  # the slope of a line from 0 at the fakes to 1
    assert far["gradient norm, minimax"] < near["gradient norm, minimax"]
    fits, weights = by("divergence", found["gaussian fits"]), torch.tensor([0.4, 0.6])
    mean = float(weights @ torch.tensor([-2.0, 3.0]))
    second = float(weights @ torch.tensor([0.6**2 + 2**2, 0.9**2 + 3**2]))
    assert fits["KL"]["mean"] == pytest.approx(mean, abs=0.01)  # its moments are those of the mixture
    assert fits["KL"]["standard deviation"] == pytest.approx((second - mean**2) ** 0.5, abs=0.01)
    assert fits["reverse KL"]["mean"] == pytest.approx(3, abs=0.05)
    critics = by("critic", found["critics"])
    clipped, unconstrained = critics["weights clipped to 0.1"], critics["unconstrained"]
    assert clipped["distance at the end"] < unconstrained["distance at the end"] / 3
    assert critics["spectral norm"]["gradient norm, largest"] <= 1.001
    assert unconstrained["gradient norm, largest"] > 2


def test_generators_that_begin_at_the_origin_cover_the_middle_of_the_grid_and_none_of_the_ring(tmp_path):
    run("mode_collapse", tmp_path)
    ring, grid = (by("method", results(tmp_path)[name]) for name in ("ring", "grid"))
    assert list(ring) == list(grid) and {"plain", "minibatch", "packs", "unrolled", "wgan-gp"} < ring.keys()
    for name in ring:  # the learning rate of the test is next to nothing
        assert ring[name]["modes"] == ring[name]["share within 3 std"] == 0
        assert grid[name]["modes"] == 1 and grid[name]["share within 3 std"] > 0.1


def test_climbs_of_a_discriminator_end_at_the_modes_of_the_data(tmp_path):
    run("discriminator_generates", tmp_path)
    rows = results(tmp_path)["points"]
    assert [row["round"] for row in rows] == [1, 2]
    assert rows[-1]["share within 3 std"] > 0.15  # of noise: 8 circles of radius 0.3 in a square of side 6: 0.06


def test_packs_need_batches_that_they_divide(tmp_path):
    status, _, complaints = start("mode_collapse", ["--batch", "7", "--methods", "packs", "--out", str(tmp_path / "m")])
    assert status == 2 and "--batch must be a multiple of 2" in complaints and not (tmp_path / "m").exists()


def test_energy_based_gans_are_measured_early_and_reconstruct_real_images(tmp_path):
    run("energy_based", tmp_path)
    rows = results(tmp_path)
    assert [row["model"] for row in rows[::6]] == ["GAN", "EBGAN", "EBGAN, pre-trained", "EBGAN, no margin"]
    assert [row["images"] for row in rows[:6]] == [64, 128, 160, 224, 288, 320]
    beforehand = [row["images"] - row["of the generator"] for row in rows if row["model"] == "EBGAN, pre-trained"]
    assert beforehand == [53] * 6
    energies = [row for row in genlab.Run(tmp_path / "ebgan-pre-trained").metrics() if "energy_real" in row]
    assert energies[-1]["energy_real"] < energies[0]["energy_real"]


def test_the_classes_that_a_generator_draws_are_those_of_its_last_look_also_in_a_finished_run(tmp_path):
    out = tmp_path / "out"
    run("mode_collapse_images", out)
    rows = by("remedy", results(out))
    assert list(rows) == ["plain", "ensemble of 4"]
    for name, row in rows.items():
        looks = [line for line in genlab.Run(out / f"{name.replace(' ', '-')}-1").metrics() if "classes" in str(line)]
        last = {figure: value for figure, value in looks[-1].items() if figure not in ("images", "step")}
        assert len(looks) == 2 and {figure: row[figure] for figure in last} == last
        classes, divergence = (next(v for f, v in last.items() if f.startswith(n)) for n in ("classes", "KL"))
        assert divergence <= math.log(10) + 1e-6 and (classes > 1 or divergence == pytest.approx(math.log(10)))
    run("mode_collapse_images", out)
    assert by("remedy", results(out)) == rows


def test_the_zoo_is_ranked_by_the_fid_of_every_seed(tmp_path):
    run("gan_zoo", tmp_path)
    found = results(tmp_path)
    features = default_features(genlab.DataOptions("digits"), images=320)
    real = extract_features(shuffled(held_out(360)), features)
    assert found["figure"] == f"FID[{features.name}]" and [row["method"] for row in found["methods"]] == [
        "lsgan",
        "wgan",
    ]
    for row in found["methods"]:
        runs = [genlab.load(tmp_path / f"{row['method']}-{seed}") for seed in range(2)]
        fakes = [extract_features(samples(each.sample, 50), features) for each in runs]
        fids = sorted(measure("FID", real, fake)[found["figure"]] for fake in fakes)
        assert [row["best"], row["worst"]] == pytest.approx(fids, rel=1e-4)
        assert row["median"] == pytest.approx(sum(fids) / 2, rel=1e-4) and found["training images"] < row["best"]


def test_settings_are_drawn_anew_and_the_best_is_chosen_on_validation_images(tmp_path):
    run("random_settings", tmp_path)
    found = results(tmp_path)
    for row in found["objectives"]:
        drawn = [each for each in found["settings"] if each["objective"] == row["objective"]]
        fids = sorted(each[found["figure"]] for each in drawn)
        assert [row["best"], row["worst"]] == fids and fids[0] < fids[1] and row["not finite"] == 0
        assert drawn[0]["lr"] != drawn[1]["lr"] and all(1e-4 <= each["lr"] <= 1e-2 for each in drawn)


def test_every_metric_sees_some_damage_and_misses_another(tmp_path):
    run("what_metrics_see", tmp_path)
    found = results(tmp_path)
    damage = by("images", found["damage"])
    real, single = damage["real"], damage["one image per class"]
    assert single["recall"] < 0.2 * real["recall"] and single["coverage"] < 0.5 * real["coverage"]
    assert single["IS"] > damage["half of the classes"]["IS"]  # it counts classes
    assert all(row["FID"] > real["FID"] for row in damage.values() if row is not real)

    first, *_, last = found["mixture"]
    assert last["share of noise"] == 0.99 and 0 < first["nats"] - last["nats"] <= math.log(100) + 1e-4
    assert last["FID"] > 10 * first["FID"]

    best = {count: max(row["nats"] for row in found["parzen"] if row["samples"] == count) for count in (100, 1000)}
    assert best[100] < best[1000]
    shifted = {(row["nearest in"], row["pixels"]): row for row in found["shift"]}
    assert shifted["pixels", 0]["original found"] == 1 > shifted["pixels", 1]["original found"]
    for row in found["birthday"]:
        assert row["support"] / 2 < row["estimate"] < 2 * row["support"]


def test_the_generator_of_triangular_matrices_finds_the_zeros(tmp_path):
    run("triangular_matrices", tmp_path)
    real, gan = results(tmp_path)
    assert real["size above the diagonal"] == 0 and real["standard deviation below"] == pytest.approx(1.155, abs=0.02)
    assert real["distance from U(1, 5)"] < 0.1 < gan["distance from U(1, 5)"]
    assert gan["size above the diagonal"] < 0.6 and gan["mean below"] == pytest.approx(3, abs=0.5)


def test_vae_gans_are_measured_beside_a_vae_and_a_gan(tmp_path):
    run("vae_gan", tmp_path)
    rows = by("model", results(tmp_path))
    coders = ["auto-encoder", "VAE", "VAE-GAN", "VAE-GAN, three classes"]
    assert list(rows) == [*coders, "GAN", "auto-encoder, fitted codes"]
    assert genlab.load(tmp_path / "vae-gan-three-classes-0").config.kinds == 3
    model, x = genlab.load(tmp_path / "vae-0"), held_out(None).x
    assert rows["VAE"]["error"] == pytest.approx(float((model.reconstruct(x) - x).square().mean()), rel=1e-4)
    torch.manual_seed(0)
    assert rows["VAE"]["sharpness"] == pytest.approx(sharpness(model.sample(20)) / sharpness(x), rel=1e-3)
    assert "error" not in rows["GAN"]  # it has no reconstructions
    assert 1 <= rows["GAN"]["largest step"] <= 16 and rows["VAE"]["common effect"] <= 1


def test_sampled_words_give_no_gradient_and_the_remedies_do(tmp_path, monkeypatch):
    monkeypatch.setattr("genlab.reporting.plots.png", lambda figure: b"")  # it takes longer than most
    run("sequence_gan", tmp_path)
    found = results(tmp_path)
    norms = {row["gradient"]: row["norm"] for row in found["gradients"]}
    assert norms.pop("sampled words") == 0 < min(norms.values())
    assert norms["with baseline"] < norms["REINFORCE"]
    rows = by("generator", found["generators"])
    real, plain, cool = (rows[name] for name in ("held-out sentences", "likelihood", "likelihood, temperature 0.5"))
    assert real["grammatical"] == 1 > cool["grammatical"] > plain["grammatical"] > 0
    assert real["oracle nats"] < cool["oracle nats"] < plain["oracle nats"]
    assert cool["distinct-4"] < plain["distinct-4"]


def test_families_are_trained_for_the_time_that_is_given_and_judged_by_the_same_features(tmp_path):
    run("generative_table", tmp_path)
    found = results(tmp_path)
    rows = by("family", found["families"])
    assert list(rows) == ["DCGAN", "gated PixelCNN"] and "bits/dim" not in rows["DCGAN"]
    kept = genlab.Run(tmp_path / "gated-PixelCNN-0")
    assert rows["gated PixelCNN"]["bits/dim"] == kept.results()["bits_per_dim"]
    planned = {name: row["training images"] for name, row in rows.items()}
    assert kept.experiment["training"]["images"] == round(planned["gated PixelCNN"])
    assert rows["DCGAN"]["ms per sample"] < rows["gated PixelCNN"]["ms per sample"]
    assert found["real training images"]["FID"] < min(row["FID"] for row in rows.values())


def test_real_stacks_have_more_modes_than_untrained_generators(tmp_path):
    run("stacked_mnist", tmp_path)
    found = results(tmp_path)
    assert [row["method"] for row in found["methods"]] == ["least squares", "packs of 2"]
    for row in found["methods"]:
        assert 1 <= row["modes"] < 200 < found["real"]["modes"] <= 1000
        assert found["real"]["KL"] < 2 < row["KL"] < math.log(1000) + 1e-9
        assert row["modes of the seeds"] == [row["modes"]]
