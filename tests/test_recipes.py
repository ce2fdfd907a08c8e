"""Every recipe runs from the command line with tiny numbers."""

import io
import json
import runpy
import shlex
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import torch

RECIPES = Path(__file__).parents[1] / "recipes"
TINY = {
    "quickstart": "--classifier-images 20000 --gan-images 128 --attacked 20 --eps 0.1 0.3 --out {out}",
    "benchmark_attacks": "--n 8 --repeats 1 --images 640 --out {out}",
    "gan_theory": "--gaps 1 2 --steps 4 --frames 2 --out {out}",
    "mode_collapse": "--steps 4 --batch 8 --seeds 2 --looks 2 --out {out}",
    "mode_collapse_images": "--images 64 --looks 2 --seeds 1 --width 4 --classifier-images 320 --out {out}",
    "benchmark_training": "--steps 5 --repeats 1 --batch 8",
    "benchmark_loader": "--batches 2 --repeats 1",
    "gan_zoo": "--methods lsgan wgan --seeds 1 --images 640 --width 8 --n 100 --out {out}",
    "vae_latent": "--images 192 --width 4 --components 2 --n 40 --out {out}",
    "flow_mnist": "--images 320 --out {out}",
    "benchmark_flow": "--steps 1 --repeats 1 --batch 4 --couplings 1 --width 4 --peers",
    "infogan_factors": "--images 192 --starts 2 --width 4 --hidden 16 --out {out}",
    "autoencoder_codes": "--code 4 --hidden 16 --images 640 --out {out}",
    "conditional": "--images 64 --classifier-images 320 --width 4 --stack --out {out}",
    "few_labels": "--images 640 --supervised-images 640 --labels 2 --width 8 --out {out}",
    "photo_editing": "--images 320 --steps 3 --n 4 --out {out}",
    "reprogramming": "--classifier-images 640 --images 640 --size 12 --pixels 1 --gap 1 --out {out}",
    "physical_patch": "--classifier-images 640 --images 640 --out {out}",
    "why_attacks_work": "--classifier-images 640 --attacked 10 --eps 0.1 0.2 --out {out}",
    "explanations": "--images 640 --n 12 --out {out}",
    "shortcut": "--images 6400 --n 12 --out {out}",
    "activation_maximisation": "--images 640 --each 1 --out {out}",
    "wgan_gp": "--images 1280 --width 8 --out {out}",
    "universal": "--classifier-images 320 --length 64 --known 10 --eps 0.3 --out {out}",
    "attack_table": "--images 320 --width 8 --n 4 --attacks pgd deepfool jsma fmn-l1 --out {out}",
    "benchmark_sampling": "--layers 2 --width 8 --size 8 --batches 1 2 --pixels 1 --repeats 1",
    "likelihood_table": "--images 64 --models 'gated PixelCNN' VQ-VAE --components 2 --out {out}",
    "representations": "--images 128 --sizes 16 8 --labels 2 --out {out}",
    "deep_compression": "--images 6000 --rounds 2 --seeds 2 --out {out}",
    "cheaper_layers": "--images 192 --seeds 1 --out {out}",
    "robust_compression": "--images 3000 --rounds 1 --attacked 20 --out {out}",
    "distillation": "--images 3000 --teacher 16 --student 8 --temperatures 4 --teachers 2 --seeds 2 --out {out}",
    "lottery_ticket": "--images 2000 --rounds 1 --seeds 2 --out {out}",
    "data_free": "--images 1000 --gan-images 128 --samples 500 --width 4 --out {out}",
    "early_exit": "--images 3000 --width 4 --thresholds 0.5 1.1 --attacked 30 --out {out}",
    "pixelcnn_mnist": "--images 64 --width 6 --layers 1 --out {out}",
    "pixelrnn_sprites": "--images 64 --width 6 --layers 1 --size 10 --colours 4 --out {out}",
    "exposure_bias": "--images 32 --width 6 --layers 1 --seeds 1 --n 20 --out {out}",
    "smoothing_defence": "--images 2000 --filters median bits:bits=1 resize-pad --eps 0.2 --attacked 20 --out {out}",
    "certify": "--images 1000 --sigma 0.2 --radii 0.1 0.3 --eps 0.02 --n 20 --attacked 10 --out {out}",
    "adversarial_training": "--images 512 --rounds 1 --attacked 5 --out {out}",
    "generated_data": "--images 128 --gan-images 64 --width 4 --known 40 --attacked 5 --seeds 2 --out {out}",
    "defence_matrix": "--images 256 --filters bits --attacked 5 --queries 5 --out {out}",
    "cyclegan": "--data unpaired:digits,night:digits --size 8 --images 16 --width 4 --classifier-images 64 --out {out}",
    "pix2pix": "--data digits --size 8 --task super-resolution:2 --images 16 --width 4 --classifier-images 64 "
    "--out {out}",
    "super_resolution": "--data digits --size 8 --factors 2 4 --images 16 --classifier-images 64 --width 4 --out {out}",
    "inpainting": "--data digits --size 8 --hole 3 --images 32 --classifier-images 64 --width 4 --n 40 --out {out}",
    "unpaired_common_space": "--a grey:digits --b textured:digits --size 8 --images 16 --gan-images 64 --width 4 "
    "--classifier-images 64 --out {out}",
    "stargan": "--data domains:digits,night:digits --size 8 --images 80 --width 4 --classifier-images 64 --out {out}",
    "benchmark_adversarial": "--steps 1 --repeats 1 --batch 4 --pgd 1 --size 8",
    "benchmark_cyclegan": "--steps 1 --repeats 1 --width 4 --size 32",
    "feature_squeezing": "--images 320 --models VAE flow --outliers sprites --attacks fgsm --steps 1 --tested 16 "
    "--fpr 0.2 --out {out}",
    "purify": "--images 64 --models gan auto-encoder pixelcnn --descent 2 --attacked 2 --out {out}",
    "black_box": "--images 128 --attacked 8 --queries 30 60 --out {out}",
}


def run(name, out):
    """What the recipe prints; in this process, since importing torch for each takes longer than their tiny work."""
    if out.is_dir() and not any(out.iterdir()):
        out.rmdir()  # a recipe makes the folder that it is given
    words = [str(RECIPES / f"{name}.py"), *shlex.split(TINY[name].format(out=out))]
    printed, complaints = io.StringIO(), io.StringIO()
    argv, sys.argv = sys.argv, words
    try:
        with redirect_stdout(printed), redirect_stderr(complaints), pytest.raises(SystemExit) as done:
            runpy.run_path(words[0], run_name="__main__")
    finally:
        sys.argv = argv
        torch.set_grad_enabled(True)  # a recipe has its process for itself
        torch.set_num_threads(1)
    assert done.value.code == 0, complaints.getvalue()
    return printed.getvalue()


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


@pytest.mark.parametrize(
    "name",
    ["benchmark_attacks", "benchmark_training", "benchmark_loader", "benchmark_sampling", "benchmark_flow"]
    + ["benchmark_cyclegan", "benchmark_adversarial"],
)
def test_benchmarks_print_ratios_to_the_floor_of_the_same_run(name, tmp_path):
    out = run(name, tmp_path)
    assert "floor" in out and len(out.splitlines()) >= 3


def test_wgan_gp_reports_distance_gradient_norms_and_a_grid_of_both_networks(tmp_path):
    out = run("wgan_gp", tmp_path)
    found = json.loads((tmp_path / "results.json").read_text())
    assert [row["net"] for row in found] == ["dcgan", "resnet"] and all(row["gradient norm"] > 0 for row in found)
    page = (tmp_path / "report.html").read_text()
    assert "critic distance" in out and page.count("data:image/png") == 4


@pytest.mark.parametrize("name", ["gan_theory", "mode_collapse"])
def test_points_leave_a_report_with_curves_and_tables(name, tmp_path):
    assert "report" in run(name, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png") >= 4 and "<table>" in page


def test_mode_collapse_on_images_shows_every_class_over_time_and_a_finished_run_again(tmp_path):
    run("mode_collapse_images", tmp_path / "out")
    rows = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [row[0] for row in rows][:2] == ["plain", "minibatch"] and all(row[1].count("±") == 1 for row in rows)
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/png") == 2 * len(rows) and "KL to uniform[digits-" in page
    run("mode_collapse_images", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == rows


@pytest.mark.parametrize(("name", "found"), [("universal", "known"), ("black_box", "surrogates")])
def test_learnt_and_blind_attacks_leave_a_report_with_curves_and_a_transfer_matrix(name, found, tmp_path):
    run(name, tmp_path)
    page, results = (tmp_path / "report.html").read_text(), json.loads((tmp_path / "results.json").read_text())
    assert page.count("data:image/png") >= 2 and page.count("<table>") >= 3 and "noise-linf" in page
    assert len(results["transfer"]) >= 4 and results[found] and results["rows"]


@pytest.mark.parametrize("name", ["reprogramming", "physical_patch", "why_attacks_work"])
def test_studies_of_attacks_leave_a_report_and_their_figures(name, tmp_path):
    assert "report" in run(name, tmp_path / name)
    page = (tmp_path / name / "report.html").read_text()
    assert page.count("data:image/png") >= 2 and "<table>" in page
    assert json.loads((tmp_path / name / "results.json").read_text())


@pytest.mark.parametrize("name", ["attack_table", "infogan_factors", "conditional", "few_labels", "photo_editing"])
def test_conditions_and_features_leave_a_report_with_pictures_and_a_table(name, tmp_path):
    run(name, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png") >= 2 and "<table>" in page


def test_pixels_leave_exact_figures_draws_and_completions_of_every_net(tmp_path):
    run("pixelcnn_mnist", tmp_path)
    found = json.loads((tmp_path / "results.json").read_text())
    assert [row["net"] for row in found] == ["pixelcnn", "gated", "row-lstm", "diagonal-bilstm", "conditional"]
    assert all(10 < row["nats"] < 60 for row in found)  # 44.4 is a coin for each of 64 pixels
    assert (tmp_path / "report.html").read_text().count("data:image/png") == 15


def test_colours_and_own_draws_are_compared_in_a_table(tmp_path):
    run("pixelrnn_sprites", tmp_path / "sprites")
    rows = json.loads((tmp_path / "sprites" / "results.json").read_text())
    assert [row["pictures"] for row in rows] == ["held out", "palette", "regression"]
    assert all(0 <= row["saturation"] <= 1 for row in rows)
    assert run("exposure_bias", tmp_path / "bias").count("FID") == 3
    assert len(json.loads((tmp_path / "bias" / "results.json").read_text())) == 3


def test_likelihoods_of_all_kinds_stand_in_one_table(tmp_path):
    run("likelihood_table", tmp_path)
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [row["model"] for row in rows] == ["Gaussian mixture", "gated PixelCNN", "VQ-VAE"]
    assert all(0 < row["bits/dim"] < 12 and row["s per sample"] > 0 for row in rows)


def test_representations_are_measured_by_what_they_are_for(tmp_path):
    run("representations", tmp_path)
    found = json.loads((tmp_path / "results.json").read_text())
    assert len(found["few"]) == 2 and found["infomax"]["probe"] > 0.5
    assert all(0 < figures["style_from_style"] <= 1 for figures in found["disentangle"].values())


def test_deep_compression_writes_files_that_shrink_from_stage_to_stage(tmp_path):
    run("deep_compression", tmp_path)
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [row["stage"] for row in rows] == ["dense", "pruned", "shared and coded"]
    assert rows[0]["bytes"] > 1.5 * rows[1]["bytes"] > 3 * rows[2]["bytes"]
    assert len(list(tmp_path.glob("files-*/*.genlab"))) == 6


@pytest.mark.parametrize("options", [TINY["robust_compression"], "--robust --images 640 --attacked 5 --out {out}"])
def test_every_stage_of_compression_is_attacked(options, tmp_path, monkeypatch):
    monkeypatch.setitem(TINY, "robust_compression", options)
    run("robust_compression", tmp_path)
    rows = {row["network"]: row for row in json.loads((tmp_path / "results.json").read_text())}
    assert list(rows) == ["dense", "pruned", "shared", "half the neurons", "low rank", "four bits"]
    assert rows["shared"]["bytes"] < rows["pruned"]["bytes"] < rows["dense"]["bytes"] > 4 * rows["four bits"]["bytes"]
    assert all(
        0 <= row[name] <= 100 for row in rows.values() for name in ("PGD, %", "PGD on parent, %", "universal, %")
    )
    assert rows["dense"]["PGD, %"] == rows["dense"]["PGD on parent, %"]


@pytest.mark.parametrize(
    ("name", "rows"),
    [("distillation", 8), ("lottery_ticket", 4), ("data_free", 5), ("early_exit", 8), ("cheaper_layers", 7)],
)
def test_ways_to_be_small_leave_a_table_and_a_report(name, rows, tmp_path):
    assert "report" in run(name, tmp_path)
    assert len(json.loads((tmp_path / "results.json").read_text())) == rows
    assert "<table>" in (tmp_path / "report.html").read_text()


def test_codes_leave_a_report_with_reconstructions_components_and_both_planes(tmp_path):
    run("autoencoder_codes", tmp_path)
    page, found = (tmp_path / "report.html").read_text(), json.loads((tmp_path / "results.json").read_text())
    assert page.count("data:image/png") == 7 and page.count("<table>") == 2
    rows = {row["code"]: row for row in found["codes"]}
    assert list(rows) == ["pixels", "deep", "linear", "PCA", "NMF"] and len(found["planes"]) == 2
    assert min(row["error, training images"] for row in rows.values() if row["code"] != "pixels") > 0
    assert rows["linear"]["error, training images"] >= rows["PCA"]["error, training images"]


def test_latents_of_a_vae_leave_sliders_walks_and_figures(tmp_path):
    run("vae_latent", tmp_path)
    page, found = (tmp_path / "report.html").read_text(), json.loads((tmp_path / "results.json").read_text())
    assert page.count("data:image/png") == 12 and page.count("<table>") == 3
    assert set(found["middle"]) == {"pixels", "VAE", "auto-encoder"}
    assert {row[0] for row in found["images"]} >= {"test", "VAE", "mixture", "test, blurred"}
    assert all(figures["bits_per_dim"] > 0 for figures in found["likelihood"].values())


def test_flows_leave_bits_and_grids_by_temperature_and_lose_no_pixel(tmp_path):
    run("flow_mnist", tmp_path)
    page, found = (tmp_path / "report.html").read_text(), json.loads((tmp_path / "results.json").read_text())
    assert page.count("data:image/png") == 12 and [row["flow"] for row in found] == ["nice", "realnvp", "glow"]
    assert all(0 < row["bits/dim"] < 10 and row["largest error there and back, in levels"] == 0 for row in found)


def test_detectors_leave_areas_curves_costs_and_what_passes_them(tmp_path):
    run("feature_squeezing", tmp_path)
    page, found = (tmp_path / "report.html").read_text(), json.loads((tmp_path / "results.json").read_text())
    names = ["squeezing", "max softmax", "entropy", "Mahalanobis", "VAE", "flow", "together"]
    assert [row["detector"] for row in found["areas"]] == [row["detector"] for row in found["evasion"]] == names
    assert all(0 <= row[kind] <= 1 for row in found["areas"] for kind in ("fgsm", "sprites"))
    assert [row["detector"] for row in found["costs"]["fgsm"]] == ["none", *names]
    assert all(0 <= row["false-positive rate"] <= 1 and 0 <= row["adaptive"] <= 1 for row in found["evasion"])
    assert page.count("data:image/png") == 2 and page.count("<table>") == 3


def test_purifiers_are_attacked_obliviously_and_adaptively_and_shown_at_work(tmp_path):
    assert "magnet" not in run("purify", tmp_path)
    page, found = (tmp_path / "report.html").read_text(), json.loads((tmp_path / "results.json").read_text())
    models = dict.fromkeys(row["model"] for row in found["rows"])
    assert set(models) == {"none"} | {n + a for n in ("gan", "auto-encoder", "pixelcnn") for a in ("", ", adaptive")}
    assert [row["model"] for row in found["rows"] if row["attack"] == "latents"] == ["gan, adaptive"]
    assert set(found["magnet"]) == {"clean", "oblivious", "adaptive"} and 0 <= found["magnet"]["clean"] <= 1
    assert page.count("data:image/png") >= 4 and page.count("<table>") == 3


def test_translations_are_compared_with_true_partners(tmp_path):
    run("cyclegan", tmp_path / "cycle")
    found = json.loads((tmp_path / "cycle" / "results.json").read_text())
    assert list(found) == ["cycle", "no cycle", "cycle and identity"]
    for row in found.values():
        assert 0 < row["partner error"] < 1 and 0 < row["cycle error"] < 1 and 0 <= row["content preservation"] <= 1
        assert row["cycle error, 8 bits"] == pytest.approx(row["cycle error"], abs=0.01)
    assert (tmp_path / "cycle" / "report.html").read_text().count("data:image/png") == 6


@pytest.mark.parametrize(
    ("name", "key", "rows"),
    [
        ("pix2pix", "losses", ["the input", "L1 alone", "GAN alone", "both", "both, patches of 1"]),
        ("inpainting", "by", ["the input", "L1 alone", "L1 and GAN", "PixelCNN"]),
        (
            "super_resolution",
            "by",
            [f"{by}, {n}" for n in (2, 4) for by in ("pixels", "bicubic", "L1 alone", "L1 and GAN")],
        ),
    ],
)
def test_translations_from_pairs_are_compared_with_their_targets(name, key, rows, tmp_path):
    run(name, tmp_path / "out")
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [row[key] for row in found] == rows
    assert all(0 < row["partner error"] < 1 and 0 <= row["content preservation"] <= 1 for row in found)
    assert all(any(figure.startswith("FID[") and value > 0 for figure, value in row.items()) for row in found)
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/png") == (2 if name == "super_resolution" else 1) and "<table>" in page


def test_spaces_of_two_domains_are_compared_by_the_classes_that_they_keep(tmp_path):
    run("unpaired_common_space", tmp_path / "out")
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [len(row["content preservation"]) for row in found.values()] == [2] * 7 + [1] * 2
    assert all(0 <= share <= 1 for row in found.values() for share in row["content preservation"])
    assert (tmp_path / "out" / "report.html").read_text().count("data:image/png") == 16


def test_one_generator_is_asked_for_every_domain(tmp_path):
    assert run("stargan", tmp_path / "star").count("classified as asked") == 2
    rows = json.loads((tmp_path / "star" / "results.json").read_text())
    assert [(row["from"], row["to"]) for row in rows] == [("digits", "night:digits"), ("night:digits", "digits")]
    assert all(0 <= row["classified as asked"] <= 1 and row["PSNR"] > 0 for row in rows)
    page = (tmp_path / "star" / "report.html").read_text()
    assert page.count("data:image/png") == 1 and "<table>" in page


def test_explanations_leave_maps_their_truth_and_a_deceived_one(tmp_path):
    run("explanations", tmp_path)
    page, found = (tmp_path / "report.html").read_text(), json.loads((tmp_path / "results.json").read_text())
    assert page.count("data:image/png") == 4 and page.count("<table>") == 2
    assert len(found["left"]) == 9
    (_, kept, *_), (_, *noise) = found["deceived"]
    assert kept == 1.0 and all(0 <= value <= 1 for value in noise)


def test_a_shortcut_is_seen_on_the_ground(tmp_path):
    run("shortcut", tmp_path)
    own, none = json.loads((tmp_path / "results.json").read_text())
    assert own["right"] > own["right with another's colour"] and (tmp_path / "report.html").exists()
    assert all(0 < row["saliency on the ground"] < 1 for row in (own, none))


def test_what_a_class_likes_is_shown_in_three_ways(tmp_path):
    run("activation_maximisation", tmp_path)
    assert (tmp_path / "report.html").read_text().count("data:image/png") == 3
    assert len(json.loads((tmp_path / "results.json").read_text())) == 3


def test_bad_input_to_a_recipe_gets_one_sentence_and_status_2(tmp_path):
    command = [sys.executable, str(RECIPES / "quickstart.py"), "--data", "mnits", "--out", str(tmp_path / "q")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2 and "did you mean 'mnist'" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "q").exists()


@pytest.mark.parametrize("name", ["smoothing_defence", "defence_matrix"])
def test_defences_get_a_verdict_beside_their_pictures(name, tmp_path):
    out = run(name, tmp_path)
    found, page = json.loads((tmp_path / "results.json").read_text()), (tmp_path / "report.html").read_text()
    assert any(v["defence"].startswith("bits") for v in found["verdicts"]) and "verdict" in out and "adaptive" in page
    assert page.count("data:image/png") >= 2


def test_certified_accuracy_falls_with_the_radius(tmp_path):
    run("certify", tmp_path)
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [row["model"] for row in rows] == ["smoothed 0.2", "smoothed 0.2", "interval"]
    assert rows[0]["certified"] >= rows[1]["certified"]
    assert (tmp_path / "report.html").read_text().count("data:image/png") == 2


def test_generated_images_are_shown_and_judged_by_what_they_are_for(tmp_path):
    run("generated_data", tmp_path)
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [row["training images"] for row in rows] == ["not robust", "real", "real and generated"]
    assert all(0 <= row["under PGD"] <= row["clean"] <= 1 for row in rows)
    assert (tmp_path / "report.html").read_text().count("data:image/png") == 2


def test_every_scheme_of_adversarial_training_stands_in_the_table(tmp_path):
    run("adversarial_training", tmp_path)
    found = json.loads((tmp_path / "results.json").read_text())
    names = [row["training"] for row in found["rows"]]
    assert names == ["round 0", "round 1", "fgsm", "fast", "free", "trades", "pgd"]
    assert all(len(looks[0]) == 8 for looks in found["curves"].values())
