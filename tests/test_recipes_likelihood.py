"""Recipes about likelihood models and representations, with tiny numbers: what they claim holds."""

import math
import runpy

import pytest
import torch
from recipe_runs import RECIPES, by, held_out, results, run

import genlab
from genlab.latent.codes import apply_batched, retrieval_precision
from genlab.likelihood.mixture import Mixture
from genlab.likelihood.units import likelihood


def test_scheduled_sampling_is_compared_over_seeds(tmp_path):
    run("exposure_bias", tmp_path)
    shares = {"real-pixels": (0, 0), "rising-share-of-own-samples": (0, 0.3)}
    shares["constant-share-of-own-samples"] = (0.3, 0.3)
    for row, (folder, (first, last)) in zip(results(tmp_path), shares.items(), strict=True):
        runs = [genlab.Run(tmp_path / f"{folder}-{seed}") for seed in range(2)]
        options = runs[0].experiment["options"]
        assert (options["self_sampling_from"], options["self_sampling"]) == (first, last)
        nats = torch.tensor([run.results()["nats"] for run in runs], dtype=torch.float64)
        assert (row["nats"], row["nats (sd)"]) == pytest.approx((nats.mean().item(), nats.std().item()))
        assert 40 < row["nats"] < 60 and row["FID[binary-digits-cnn]"] > 0  # 44.4 is a coin for each of 64 pixels


def test_likelihoods_of_all_kinds_stand_in_one_table(tmp_path):
    run("likelihood_table", tmp_path)
    rows = by("model", results(tmp_path))
    assert [row["likelihood"] for row in rows.values()] == ["bound", "exact", "bound"]
    mixture = Mixture.fit(genlab.DataOptions().load("train"), 2)
    bits = likelihood(mixture.log_prob, held_out(360))["bits_per_dim"]
    assert rows["Gaussian mixture"]["bits/dim"] == pytest.approx(bits, rel=0.02)
    for name in ("gated PixelCNN", "VQ-VAE"):
        assert rows[name]["bits/dim"] == genlab.Run(tmp_path / name.replace(" ", "-")).results()["bits_per_dim"]
    seconds = {name: row["seconds per sample"] for name, row in rows.items()}
    assert seconds["gated PixelCNN"] > seconds["Gaussian mixture"]  # 64 passes against none


def test_no_linear_code_forgets_less_than_principal_components(tmp_path):
    run("autoencoder_codes", tmp_path)
    found, test = results(tmp_path), held_out(None)
    rows = by("code", found["codes"])
    assert list(rows) == ["pixels", "deep", "linear", "PCA", "NMF"]
    error = {name: row["error, training images"] for name, row in rows.items()}
    assert error["PCA"] < error["NMF"] < error["linear"] and error["pixels"] == 0  # NMF has one dimension less
    assert rows["pixels"]["retrieval precision"] == retrieval_precision(test.x, test.labels)
    codes = apply_batched(genlab.load(tmp_path / "deep").code, test)
    assert rows["deep"]["retrieval precision"] == retrieval_precision(codes, test.labels)
    assert [row["penalty"] for row in found["planes"]] == [0, 0.1]
    assert genlab.load(tmp_path / "short").config.l2 == 0.1 and genlab.load(tmp_path / "free").config.l2 == 0


def test_codes_of_a_vae_keep_their_noise_and_pixel_error_does_not_see_a_blur(tmp_path):
    run("vae_latent", tmp_path)
    found = results(tmp_path)
    noise = found["posterior_std"]
    assert noise["VAE"]["std"][-1] > noise["auto-encoder"]["std"][-1]
    rows = by("images", found["images"])
    shifted, blurred = rows["test, shifted"], rows["test, blurred"]
    assert blurred["pixel error"] == pytest.approx(shifted["pixel error"] / 4, rel=1e-4)  # (x + y) / 2 against x
    assert blurred["sharpness"] < 0.6 * shifted["sharpness"]
    mixture = Mixture.fit(genlab.DataOptions().load("train"), 2, "diag")
    bits = {row["model of 8-bit pixels"]: row["bits/dim"] for row in found["likelihood"]}
    assert bits["mixture"] == pytest.approx(likelihood(mixture.log_prob, held_out(360))["bits_per_dim"], rel=0.02)
    walks = by("interpolation of", found["interpolation"])
    assert list(walks) == ["pixels", "VAE", "auto-encoder"]
    assert walks["pixels"]["class kept, ends"] > 0.9 and walks["pixels"]["nearest, ends"] > 0


def test_the_bound_of_a_vae_and_its_gap_are_the_likelihood_and_more_samples_close_it(tmp_path):
    run("importance_bound", tmp_path)
    for row in results(tmp_path):
        assert row["their sum"] == pytest.approx(row["log p(x)"], abs=0.05) and row["KL"] > 0
        assert row["ELBO"] < row["bound of 50"] < row["log p(x)"] + 0.05


def test_representations_are_measured_by_what_they_are_for(tmp_path, monkeypatch):
    for module in ("genlab.reporting.plots", "genlab.latent.codes"):
        monkeypatch.setattr(f"{module}.png", lambda figure: b"")  # plots take longer than trainings
    run("representations", tmp_path)
    found = results(tmp_path)
    starts = [(row["labels per class"], row["initial weights"]) for row in found["few labels"]]
    assert starts == [(10, "pre-trained"), (10, "random")]
    codes = by("codes", found["codes"])
    assert len(codes) == 7
    figures = genlab.load(tmp_path / "codes-patches").evaluate(held_out(360))
    for name, key in (("patches", "search"), ("patches, untrained", "search_untrained")):
        assert codes[name]["image search"] == pytest.approx(100 * figures[key], abs=0.5)
    assert min(row["linear probe"] for row in codes.values()) > 70
    assert len(found["planes"]) == 4 and min(row["image search"] for row in found["planes"]) > 15
    inks = by("adversary", found["disentangling"])
    assert inks["with"]["style_from_content"] < inks["without"]["style_from_content"] - 0.1
    assert min(row["style_from_style"] for row in inks.values()) > 0.9


def test_flows_lose_no_pixel_and_their_nats_are_their_bits(tmp_path):
    run("flow_mnist", tmp_path)
    rows = by("flow", results(tmp_path))
    assert list(rows) == ["nice", "glow"]
    for name, row in rows.items():
        assert row["bits/dim"] == pytest.approx(row["nats per image"] / (64 * math.log(2)))
        assert row["largest error of reconstruction, in 8-bit levels"] == 0
        bits = likelihood(genlab.load(tmp_path / f"{name}-variational").log_prob, held_out(360))["bits_per_dim"]
        assert row["bits/dim"] == pytest.approx(bits, rel=0.01)  # other noise


def test_pixelcnns_learn_and_report_their_exact_likelihood(tmp_path):
    run("pixelcnn_mnist", tmp_path)
    rows, test = by("net", results(tmp_path)), genlab.DataOptions("binary:digits").load("test")
    assert list(rows) == ["gated", "row-lstm", "conditional"]
    assert all(row["nats"] < 0.8 * 64 * math.log(2) for row in rows.values())  # of a coin for each pixel
    nats = likelihood(genlab.load(tmp_path / "gated").log_prob, test)["nats"]
    assert rows["gated"]["nats"] == pytest.approx(nats, rel=1e-4)
    assert genlab.load(tmp_path / "conditional").config.conditional


def test_diffusion_is_measured_by_steps_guidance_and_likelihood(tmp_path):
    run("diffusion_mnist", tmp_path)
    found, model = results(tmp_path), genlab.load(tmp_path / "diffusion")
    assert {row["sampler"]: row["passes"] for row in found["steps"]} == {"heun": 3, "ddim": 2, "ddpm": 2}
    assert [row["guidance"] for row in found["guidance"]] == [1, 2]
    row = found["likelihood"][0]
    torch.manual_seed(0)
    nats = -model.log_prob(held_out(3).x, steps=row["solver steps"]).mean().item()
    assert row["bits/dim"] == pytest.approx(nats / (64 * math.log(2)), rel=1e-4)
    errors = [abs(row["bits/dim"] - found["likelihood"][-1]["bits/dim"]) for row in found["likelihood"]]
    assert errors[0] >= errors[1]  # the solver converges


def test_regressed_colours_make_one_image_and_a_palette_makes_many(tmp_path):
    run("pixelrnn_sprites", tmp_path)
    found = results(tmp_path)
    rows = by("name", found["images"])
    assert list(rows) == ["held out", "palette", "regression"]
    assert rows["regression"]["variety"] < 1e-6 < 0.05 < rows["palette"]["variety"]
    data, random = found["clusters"]
    assert data["empty of 64"] == 0 < random["empty of 64"] and data["error of 64"] < random["error of 64"]


def test_hues_are_turned_and_greys_stay():
    recipe = runpy.run_path(str(RECIPES / "pixelrnn_sprites.py"))
    x = torch.tensor([[0.5, 0.5, 0.5], [0.6, 0.45, 0.45]])[:, :, None, None].repeat(20, 1, 2, 2)
    turned = recipe["turned"](genlab.data.Images.of(x)).x
    assert torch.allclose(turned[::2], x[::2], atol=0.01)
    assert torch.allclose(turned.mean(1), x.mean(1), atol=0.01)  # a turn around the axis of greys
    assert turned[1::2, 0].std() > 0.03


def test_an_overcomplete_code_lets_noise_through_unless_it_is_regularised(tmp_path):
    run("overcomplete_codes", tmp_path)
    rows = {(row["regulariser"], row["noise"]): row for row in results(tmp_path)}
    plain, sparse, denoising, contractive = (
        rows[name, 0.5] for name in ("no regulariser", "sparse", "denoising", "contractive")
    )
    assert sparse["active units"] < 0.9 * plain["active units"] and sparse["noise kept"] < plain["noise kept"]
    assert denoising["error, noisy"] < 0.95 * plain["error, noisy"]
    assert contractive["code moved"] < plain["code moved"]
    assert rows["no regulariser", 0.2]["noise kept"] > 0  # every method at every level
    model, x = genlab.load(tmp_path / "sparse-0"), held_out(None).x
    assert sparse["error, clean"] == pytest.approx(float((model.reconstruct(x) - x).square().mean()), rel=1e-4)


def test_discrete_codes_are_counted(tmp_path):
    run("discrete_codes", tmp_path)
    rows = by("code", results(tmp_path))
    assert list(rows) == ["one-hot 8", "binary 3", "binary 12", "VQ-VAE"]
    assert [rows[name]["bits"] for name in rows] == [3, 3, 12, 12]  # a map of 2x2 codes of 3 bits
    for name in ("one-hot 8", "binary 3"):
        assert rows[name]["perplexity"] <= rows[name]["codes in use"] + 1e-3 and rows[name]["codes in use"] <= 8
    model, x = genlab.load(tmp_path / "binary-3-0"), held_out(50).x
    assert set(model.code(x).unique().tolist()) <= {0, 1}
