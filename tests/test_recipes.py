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
from torch.nn.functional import avg_pool2d, interpolate

import genlab
from attacks import FGSM, PGD, Linf
from attacks.evaluation.evaluate import evaluate
from attacks.plugin import defence
from genlab.compress import file
from genlab.likelihood.mixture import Mixture
from genlab.likelihood.units import likelihood
from genlab.methods.classification.features import default_features
from genlab.methods.gan.losses import gradient_norms
from genlab.nets.classifiers import lenet300

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
    "vae_latent": "--images 1500 --width 4 --components 2 --covariance diag --n 40 --out {out}",
    "flow_mnist": "--images 320 --out {out}",
    "benchmark_flow": "--steps 1 --repeats 1 --batch 4 --couplings 1 --width 4 --peers",
    "infogan_factors": "--images 192 --starts 2 --width 4 --hidden 16 --out {out}",
    "autoencoder_codes": "--code 4 --hidden 16 --images 640 --out {out}",
    "conditional": "--images 64 --classifier-images 320 --width 4 --stack --out {out}",
    "few_labels": "--images 640 --supervised-images 640 --labels 2 --width 8 --out {out}",
    "photo_editing": "--images 320 --steps 3 --n 4 --out {out}",
    "reprogramming": "--classifier-images 1500 --images 1500 --size 12 --pixels 1 --gap 2 --out {out}",
    "physical_patch": "--classifier-images 640 --images 640 --out {out}",
    "why_attacks_work": "--classifier-images 2500 --attacked 20 --eps 0.05 0.3 --out {out}",
    "explanations": "--images 640 --n 12 --out {out}",
    "shortcut": "--images 3200 --n 60 --out {out}",
    "activation_maximisation": "--images 640 --each 1 --out {out}",
    "wgan_gp": "--nets dcgan --images 3200 --width 4 --lr 0.005 --out {out}",
    "universal": "--nets mlp shallow --classifier-images 320 --length 64 --known 10 2000 --eps 0.3 --out {out}",
    "attack_table": "--images 320 --width 8 --n 4 --attacks pgd deepfool jsma fmn-l1 --out {out}",
    "benchmark_sampling": "--layers 2 --width 8 --size 8 --batches 1 2 --pixels 1 --repeats 1",
    "likelihood_table": "--images 64 --models 'gated PixelCNN' VQ-VAE --components 2 --out {out}",
    "representations": "--ink digits --images 1000 --sizes 32 16 --labels 10 --out {out}",
    "deep_compression": "--images 6000 --rounds 2 --seeds 2 --out {out}",
    "cheaper_layers": "--images 192 --seeds 1 --out {out}",
    "robust_compression": "--images 3000 --rounds 1 --attacked 20 --eps 0.2 --out {out}",
    "distillation": "--images 3000 --teacher 16 --student 8 --temperatures 4 --teachers 2 --seeds 2 --out {out}",
    "lottery_ticket": "--images 2000 --rounds 1 --seeds 2 --out {out}",
    "data_free": "--images 1000 --gan-images 128 --samples 500 --width 4 --out {out}",
    "early_exit": "--images 3000 --width 4 --thresholds 0.5 1.1 --attacked 30 --out {out}",
    "pixelcnn_mnist": "--images 64 --width 6 --layers 1 --out {out}",
    "pixelrnn_sprites": "--images 64 --width 6 --layers 1 --size 10 --colours 4 --out {out}",
    "exposure_bias": "--images 32 --width 6 --layers 1 --seeds 1 --n 20 --out {out}",
    "smoothing_defence": "--images 2000 --filters median bits:bits=1 resize-pad --attacks fgsm --eps 0.2 --attacked 20 "
    "--out {out}",
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
    "--classifier-images 64 --models independent tied CoGAN --out {out}",
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


def results(out):
    return json.loads((out / "results.json").read_text())


def by(key, rows):
    return {row[key]: row for row in rows}


def held_out(n, data="digits"):
    return genlab.DataOptions(data).load("test").subset(slice(0, n))


def success(attack, model, test, source=None):
    """The success rate of one attack, made for `source`, or for the model itself."""
    models, sources = {"model": model, "source": source or model}, {"model": "source"}
    found = evaluate(models, {"attack": attack}, test.x, test.labels, sources=sources).rows
    return next(row.success.value for row in found if (row.model, row.attack) == ("model", "attack"))


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


@pytest.mark.parametrize(("name", "found"), [("black_box", "surrogates")])
def test_learnt_and_blind_attacks_leave_a_report_with_curves_and_a_transfer_matrix(name, found, tmp_path):
    run(name, tmp_path)
    page, results = (tmp_path / "report.html").read_text(), json.loads((tmp_path / "results.json").read_text())
    assert page.count("data:image/png") >= 2 and page.count("<table>") >= 3 and "noise-linf" in page
    assert len(results["transfer"]) >= 4 and results[found] and results["rows"]


@pytest.mark.parametrize("name", ["physical_patch"])
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


def test_deep_compression_writes_files_that_shrink_from_stage_to_stage(tmp_path):
    run("deep_compression", tmp_path)
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [row["stage"] for row in rows] == ["dense", "pruned", "shared and coded"]
    assert rows[0]["bytes"] > 1.5 * rows[1]["bytes"] > 3 * rows[2]["bytes"]
    assert len(list(tmp_path.glob("files-*/*.genlab"))) == 6


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


def test_explanations_leave_maps_their_truth_and_a_deceived_one(tmp_path):
    run("explanations", tmp_path)
    page, found = (tmp_path / "report.html").read_text(), json.loads((tmp_path / "results.json").read_text())
    assert page.count("data:image/png") == 4 and page.count("<table>") == 2
    assert len(found["left"]) == 9
    (_, kept, *_), (_, *noise) = found["deceived"]
    assert kept == 1.0 and all(0 <= value <= 1 for value in noise)


def test_what_a_class_likes_is_shown_in_three_ways(tmp_path):
    run("activation_maximisation", tmp_path)
    assert (tmp_path / "report.html").read_text().count("data:image/png") == 3
    assert len(json.loads((tmp_path / "results.json").read_text())) == 3


def test_bad_input_to_a_recipe_gets_one_sentence_and_status_2(tmp_path):
    command = [sys.executable, str(RECIPES / "quickstart.py"), "--data", "mnits", "--out", str(tmp_path / "q")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2 and "did you mean 'mnist'" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "q").exists()


@pytest.mark.parametrize("name", ["defence_matrix"])
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


def test_the_penalty_drives_the_gradient_norms_of_the_critic_to_one(tmp_path):
    run("wgan_gp", tmp_path)
    (row,) = results(tmp_path)
    trained, real = genlab.load(tmp_path / "dcgan"), held_out(500).x
    torch.manual_seed(0)
    untrained = trained.config.build((1, 8, 8), 10)
    before = gradient_norms(untrained.critic, real, trained.sample(len(real))).mean()
    assert row["net"] == "dcgan" and before < 0.2 and 0.7 < row["gradient norm"] < 1.3
    with torch.no_grad():
        distance = trained.critic(real).mean() - trained.critic(trained.sample(len(real))).mean()
    assert row["distance"] == pytest.approx(float(distance), rel=0.1)  # other samples


def test_a_universal_perturbation_fools_more_than_noise_and_most_where_it_was_learnt(tmp_path):
    run("universal", tmp_path)
    found = results(tmp_path)
    rates = {row["attack"]: row["success"]["value"] for row in found["rows"]}
    assert rates["then at the number fooled"] > rates["gradient"] > rates["noise-linf"]
    transfer = {(row["learnt on"], row["model"]): row["success"] for row in found["transfer"]}
    for own, other in (("mlp", "shallow"), ("shallow", "mlp")):
        assert transfer[own, own] > transfer[other, own] > transfer["noise-linf", own]
    assert transfer["mlp", "mlp"] == rates["then at the number fooled"]
    assert by("images", found["known"])[2000]["success"] == rates["gradient"]  # more images than there are


def test_noise_does_little_and_the_direction_of_the_gradient_nearly_everything(tmp_path):
    run("why_attacks_work", tmp_path)
    found = results(tmp_path)
    start, end = ({name: line["probability"][i] for name, line in found["lines"].items()} for i in (0, -1))
    assert len(set(start.values())) == 1 and end["attack"] < end["gradient"] < end["random"]
    rows = {(row["attack"], row["eps"]): row for row in found["rows"]}
    assert rows["pgd", 0.3]["success"]["value"] > 0.9 > 0.3 > rows["noise-linf", 0.3]["success"]["value"]
    distances, deepfool = by("norm", found["distances"]), rows["deepfool", None]
    assert distances["L2"]["median"] == pytest.approx(deepfool["l2"]["median"], rel=1e-4)
    assert distances["L-infinity"]["median"] == pytest.approx(deepfool["linf"]["median"], rel=1e-4)


def test_a_frame_makes_a_classifier_count_better_than_by_chance(tmp_path):
    run("reprogramming", tmp_path)
    found, victim = results(tmp_path), genlab.load(tmp_path / "victim")
    accuracy = victim.evaluate(genlab.DataOptions("digits", size=12).load("test"))["accuracy"]
    assert found["accuracy of the victim"] == accuracy > 0.5
    rates = {row["victim"]: row["counted right"] for row in found["rows"]}
    assert rates.keys() == {"trained", "untrained"} and rates["trained"] > 0.13  # five deviations above chance


def test_a_classifier_that_looks_at_the_background_is_found_out(tmp_path):
    run("shortcut", tmp_path)
    rows = by("in training the colour told", results(tmp_path))
    told, nothing = rows["the class"], rows["nothing"]
    assert told["accuracy"] > 0.9 > 0.2 > told["accuracy, another's colour"]
    assert nothing["accuracy, another's colour"] == pytest.approx(nothing["accuracy"], abs=0.15)
    assert told["saliency on the background"] > nothing["saliency on the background"]


def test_filters_are_attacked_by_who_knows_of_them_and_by_who_does_not(tmp_path):
    out = run("smoothing_defence", tmp_path)
    found, model, test = results(tmp_path), genlab.load(tmp_path / "classifier"), held_out(20)
    rates = {(row["model"], row["attack"]): row["success"]["value"] for row in found["rows"]}
    filtered, fgsm = defence("median", model), FGSM(Linf(0.2))
    assert rates["median", "fgsm"] == success(fgsm, filtered, test, source=model)
    assert rates["median, adaptive", "fgsm"] == success(fgsm, filtered, test) > rates["median", "fgsm"]
    verdicts = by("defence", found["verdicts"])
    worst_case = {row["model"]: row["success"] for row in found["worst_case"]}
    assert list(verdicts) == ["median", "bits:bits=1", "resize-pad"] and "verdict" in out
    for kind, name in (("undefended", "none"), ("oblivious", "median"), ("adaptive", "median, adaptive")):
        assert verdicts["median"][kind]["fooled"] == worst_case[name]["fooled"]


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
    domains = [genlab.DataOptions(name, 8, 3) for name in ("grey:digits", "textured:digits")]
    judges = [default_features(domain, images=64) for domain in domains]  # those of the recipe, from the cache
    sides = [domain.load("test") for domain in domains]
    for name in ("independent", "tied"):
        trained = genlab.load(tmp_path / name)
        for way, a, b in (("a to b", 0, 1), ("b to a", 1, 0)):
            classes = judges[b].logits(judges[b](trained.translate(sides[a].x, to=b))).argmax(1)
            assert rows[name][way] == pytest.approx(float((classes == sides[a].labels).float().mean()), abs=0.01)


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
    assert {row["interpolation of"] for row in found["interpolation"]} == {"pixels", "VAE", "auto-encoder"}


def test_representations_are_measured_by_what_they_are_for(tmp_path):
    run("representations", tmp_path)
    found = results(tmp_path)
    starts = [(row["labels per class"], row["initial weights"]) for row in found["few labels"]]
    assert starts == [(10, "pre-trained"), (10, "random")]
    figures = genlab.load(tmp_path / "infomax").evaluate(held_out(360))
    assert found["infomax"] == pytest.approx(figures, abs=0.02) and found["infomax"]["probe"] > 0.7
    inks = by("adversary", found["disentangling"])
    assert inks["with"]["style_from_content"] < inks["without"]["style_from_content"] - 0.1
    assert min(row["style_from_style"] for row in inks.values()) > 0.9


def test_every_stage_of_compression_is_attacked(tmp_path):
    run("robust_compression", tmp_path)
    found = results(tmp_path)
    costs = by("network", found["costs"])
    assert list(costs) == ["dense", "pruned", "shared", "half the neurons", "low rank", "four bits"]
    sizes = {name: row["bytes"] for name, row in costs.items()}
    assert sizes["shared"] < sizes["pruned"] < sizes["dense"] > 4 * sizes["four bits"]
    rates = {(row["network"], row["source model"], row["attack"]): row["success"] for row in found["attacks"]}
    test, nets = held_out(20), {}
    for name in ("dense", "pruned"):
        nets[name] = lenet300((1, 8, 8), 10).eval()
        nets[name].load_state_dict(file.load(tmp_path / "files" / f"{name}.genlab")[0])
    pgd = PGD(Linf(0.2), steps=20)
    assert rates["dense", "dense", "PGD"] == success(pgd, nets["dense"], test) > rates["dense", "dense", "noise-linf"]
    assert rates["pruned", "pruned", "PGD"] == success(pgd, nets["pruned"], test)
    assert rates["pruned", "dense", "PGD"] == success(pgd, nets["pruned"], test, source=nets["dense"])


def test_robust_compression_begins_with_adversarial_training(tmp_path, monkeypatch):
    monkeypatch.setitem(TINY, "robust_compression", "--robust --images 128 --rounds 1 --attacked 5 --out {out}")
    run("robust_compression", tmp_path)
    assert genlab.Run(tmp_path / "teacher").experiment["method"].endswith(":AdversarialTrainingConfig")
    assert len(results(tmp_path)["costs"]) == 6
