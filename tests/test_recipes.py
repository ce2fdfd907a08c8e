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
from attacks import FGSM, MIFGSM, PGD, Linf, Transfer
from attacks.defences.interval import certified
from attacks.defences.roc import auc
from attacks.defences.scores import MaxSoftmax
from attacks.evaluation.evaluate import evaluate
from attacks.plugin import defence
from genlab.compress import file
from genlab.data.resize import resized
from genlab.latent.codes import apply_batched, retrieval_precision
from genlab.likelihood.mixture import Mixture
from genlab.likelihood.units import likelihood
from genlab.methods.classification.features import default_features
from genlab.methods.gan.losses import gradient_norms
from genlab.metrics.accuracy import accuracy
from genlab.metrics.translation import cycle_errors
from genlab.nets.classifiers import lenet300

RECIPES = Path(__file__).parents[1] / "recipes"
TINY = {
    "quickstart": "--classifier-images 20000 --gan-images 128 --attacked 20 --eps 0.1 0.3 --out {out}",
    "benchmark_attacks": "--size 10 --n 4 --repeats 1 --images 640 --out {out}",
    "gan_theory": "--gaps 1 2 --steps 4 --frames 2 --out {out}",
    "mode_collapse": "--steps 4 --batch 8 --seeds 2 --looks 2 --out {out}",
    "mode_collapse_images": "--images 64 --looks 2 --seeds 1 --width 4 --classifier-images 320 --out {out}",
    "benchmark_training": "--steps 5 --repeats 1 --batch 8 --width 16",
    "benchmark_loader": "--batches 2 --repeats 1",
    "gan_zoo": "--methods lsgan wgan --seeds 1 --images 640 --width 8 --n 100 --out {out}",
    "vae_latent": "--images 1500 --width 4 --components 2 --covariance diag --n 40 --out {out}",
    "flow_mnist": "--images 320 --out {out}",
    "benchmark_flow": "--steps 1 --repeats 1 --batch 4 --couplings 1 --width 4 --peers",
    "infogan_factors": "--images 192 --starts 2 --width 4 --hidden 16 --out {out}",
    "autoencoder_codes": "--code 4 --hidden 16 --images 640 --out {out}",
    "conditional": "--data digits --size 8 --images 64 --classifier-images 320 --width 4 --stack --out {out}",
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
    "deep_compression": "--images 3000 --rounds 2 --seeds 2 --out {out}",
    "cheaper_layers": "--images 192 --seeds 1 --timings 1 --out {out}",
    "robust_compression": "--images 3000 --rounds 1 --attacked 20 --eps 0.2 --out {out}",
    "distillation": "--images 10000 --teacher 64 --student 16 --temperatures 4 --teachers 2 --seeds 1 --out {out}",
    "lottery_ticket": "--images 2000 --rounds 1 --seeds 2 --out {out}",
    "data_free": "--images 4000 --gan-images 128 --samples 500 --width 8 --out {out}",
    "early_exit": "--images 3000 --width 4 --thresholds 0 0.5 1.1 --attacked 30 --out {out}",
    "pixelcnn_mnist": "--images 64 --width 6 --layers 1 --out {out}",
    "pixelrnn_sprites": "--images 64 --width 6 --layers 1 --size 10 --colours 4 --out {out}",
    "exposure_bias": "--images 32 --width 6 --layers 1 --seeds 2 --n 20 --classifier-images 320 --out {out}",
    "smoothing_defence": "--images 2000 --filters median bits:bits=1 resize-pad --attacks fgsm --eps 0.2 --attacked 20 "
    "--out {out}",
    "certify": "--images 1000 --sigma 0.2 --radii 0.1 0.3 --eps 0.02 --n 20 --attacked 10 --out {out}",
    "adversarial_training": "--images 512 --rounds 1 --attacked 10 --looks 1 --out {out}",
    "generated_data": "--images 128 --gan-images 64 --width 4 --known 40 --attacked 5 --seeds 2 --out {out}",
    "defence_matrix": "--images 192 --filters bits --attacked 16 --queries 5 --out {out}",
    "cyclegan": "--data unpaired:digits,night:digits --size 8 --images 16 --width 4 --classifier-images 64 "
    "--variants cycle 'no cycle' --out {out}",
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
    "black_box": "--images 192 --attacked 64 --queries 22 40 --out {out}",
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


def cells(printed):
    """The rows of the tables on a terminal, without their heads."""
    lines = [line for line in printed.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def number(text):
    return float(text.replace(",", ""))


@pytest.mark.parametrize(
    "name", ["benchmark_training", "benchmark_flow", "benchmark_cyclegan", "benchmark_adversarial"]
)
def test_benchmarks_print_ratios_to_the_floor_of_the_same_run(name, tmp_path):
    rows = cells(run(name, tmp_path))
    assert len(rows) == {"benchmark_training": 2, "benchmark_flow": 2}.get(name, 1)
    for _, floor, lab, ratio in rows:  # of a single round
        expected = number(lab) / number(floor)
        expected = 1 / expected if name == "benchmark_adversarial" else expected  # of times, not of speeds
        assert number(ratio) == pytest.approx(expected, rel=0.05)


def test_the_loader_is_measured_per_image(tmp_path):
    floor, lab, ratio = (line.split() for line in run("benchmark_loader", tmp_path).splitlines())
    assert number(ratio[-1]) == pytest.approx(number(lab[1]) / number(floor[1]), rel=0.01)
    assert number(ratio[-1]) > 1


def test_cached_sampling_is_compared_with_the_naive_one_on_the_same_images(tmp_path):
    out = run("benchmark_sampling", tmp_path)
    assert "the same 8x8 pictures: True" in out
    for _, naive, cached, ratio in cells(out):
        assert number(ratio) == pytest.approx(number(naive) / number(cached), abs=0.6)


def test_attacks_are_timed_beside_as_many_bare_passes(tmp_path):
    run("benchmark_attacks", tmp_path)
    rows = results(tmp_path)["attacks"]
    assert [row["attack"].split()[0] for row in rows] == ["FGSM-1", "IFGSM-40", "PGD-40", "MIFGSM-40", "PGD-40"]
    assert all(row["time / floor"] > 0 < row["seconds"] for row in rows) and results(tmp_path)["peers"] == []
    model, test = genlab.load(tmp_path / "classifier"), genlab.DataOptions("digits", size=10).load("test")
    test = test.subset(slice(0, 4))
    fooled = model(PGD(Linf(0.3))(model, test.x, test.labels)).argmax(1) != test.labels
    assert rows[2]["success"] == fooled.float().mean().item()


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


def test_black_boxes_are_attacked_from_other_trainings_and_within_their_queries(tmp_path):
    run("black_box", tmp_path)
    found, test = results(tmp_path), held_out(64)
    source, target = genlab.load(tmp_path / "vgg-1"), genlab.load(tmp_path / "mlp-0")
    transfer = Transfer(MIFGSM(Linf(0.2), steps=10), source)
    assert by("source model", found["transfer"])["vgg"]["mlp"] == success(transfer, target, test) is not None
    kinds = [(row["surrogate"], row["learns from"]) for row in found["surrogates"]]
    assert kinds == [("cnn", "data"), ("cnn", "queries"), ("mlp", "data"), ("mlp", "queries")]
    measured = by("attack", found["rows"])
    for row in found["queries"]:
        same = measured[f"{row['attack']}, {row['queries']} queries"]
        assert row["success"] == same["success"]["value"] and 0 < same["forwards"] <= row["queries"]
        assert same["backwards"] == 0


@pytest.mark.parametrize("name", ["physical_patch"])
def test_studies_of_attacks_leave_a_report_and_their_figures(name, tmp_path):
    assert "report" in run(name, tmp_path / name)
    page = (tmp_path / name / "report.html").read_text()
    assert page.count("data:image/png") >= 2 and "<table>" in page
    assert json.loads((tmp_path / name / "results.json").read_text())


@pytest.mark.parametrize("name", ["infogan_factors", "few_labels", "photo_editing"])
def test_conditions_and_features_leave_a_report_with_pictures_and_a_table(name, tmp_path):
    run(name, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png") >= 2 and "<table>" in page


def test_the_table_of_attacks_compares_what_is_fooled_with_how_little_is_changed(tmp_path):
    run("attack_table", tmp_path)
    rows = by("attack", results(tmp_path)["rows"])
    assert list(rows) == ["pgd", "deepfool", "jsma", "fmn-l1", "noise-linf"]
    assert rows["deepfool"]["success"]["value"] == rows["fmn-l1"]["success"]["value"] == 1.0  # no ball holds them
    assert rows["deepfool"]["l2"]["median"] < min(rows[name]["l2"]["median"] for name in ("fmn-l1", "jsma"))
    assert rows["pgd"]["linf"]["max"] <= 0.1 + 1e-6 and rows["pgd"]["backwards"] == 40
    model = genlab.load(tmp_path / "classifier")
    assert rows["pgd"]["success"]["value"] == success(PGD(Linf(0.1)), model, held_out(4))


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


def test_pixels_leave_exact_figures_draws_and_completions_of_every_net(tmp_path):
    run("pixelcnn_mnist", tmp_path)
    found = json.loads((tmp_path / "results.json").read_text())
    assert [row["net"] for row in found] == ["pixelcnn", "gated", "row-lstm", "diagonal-bilstm", "conditional"]
    assert all(10 < row["nats"] < 60 for row in found)  # 44.4 is a coin for each of 64 pixels
    assert (tmp_path / "report.html").read_text().count("data:image/png") == 15


def test_colours_are_compared_in_a_table(tmp_path):
    run("pixelrnn_sprites", tmp_path / "sprites")
    rows = json.loads((tmp_path / "sprites" / "results.json").read_text())
    assert [row["pictures"] for row in rows] == ["held out", "palette", "regression"]
    assert all(0 <= row["saturation"] <= 1 for row in rows)


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
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [row["model"] for row in rows] == ["Gaussian mixture", "gated PixelCNN", "VQ-VAE"]
    assert all(0 < row["bits/dim"] < 12 and row["s per sample"] > 0 for row in rows)


def test_deep_compression_writes_files_that_shrink_from_stage_to_stage(tmp_path):
    run("deep_compression", tmp_path)
    rows = by("stage", results(tmp_path))
    assert list(rows) == ["dense", "pruned", "shared and coded"]
    for stage, row in rows.items():
        paths = sorted(tmp_path.glob(f"files-*/{stage.replace(' ', '-')}.genlab"))
        sizes = [path.stat().st_size for path in paths]
        assert len(paths) == 2 and row["bytes"] == sum(sizes) / 2
        assert row["compression rate"] == pytest.approx(sum(4 * 50_610 / size for size in sizes) / 2)
        weights, _ = file.load(paths[0])
        assert row["non-zeros"] == sum(int(weight.count_nonzero()) for weight in weights.values())
    assert rows["dense"]["non-zeros"] == 50_610 > 10 * rows["pruned"]["non-zeros"]
    assert rows["dense"]["bytes"] > 5 * rows["pruned"]["bytes"] > 12 * rows["shared and coded"]["bytes"]


def test_lottery_tickets_leave_a_table_and_a_report(tmp_path):
    assert "report" in run("lottery_ticket", tmp_path)
    assert len(results(tmp_path)) == 4
    assert "<table>" in (tmp_path / "report.html").read_text()


def test_cheaper_layers_multiply_less_or_store_less(tmp_path):
    run("cheaper_layers", tmp_path)
    rows = by("network", results(tmp_path))
    dense, half, binary = (rows[name] for name in ("dense", "half the filters", "binary weights"))
    assert dense["speed-up, batch 1"] == dense["speed-up, batch 256"] == 1
    assert binary["MACs"] == dense["MACs"] and 20 * binary["bytes"] < dense["bytes"]
    assert max(rows[name]["MACs"] for name in ("low rank", "separable")) < dense["MACs"]
    scratch = [rows[f"half the filters, scratch-{kind}"] for kind in "EB"]
    assert scratch[0]["MACs"] == scratch[1]["MACs"] == half["MACs"] < dense["MACs"] / 3


def test_a_student_learns_a_class_that_it_never_saw(tmp_path):
    run("distillation", tmp_path)
    errors = {row["network"]: row["errors"] for row in results(tmp_path)}
    test = held_out(None)
    threes = int((test.labels == 3).sum())
    assert errors["bias corrected, on the omitted class"] < 0.5 * threes  # of the labels alone it would be all
    assert errors["the same, bias corrected"] <= errors["student without class 3"] < 0.5 * len(test)
    assert errors["student, labels alone"] < errors["student without class 3"]


def test_a_student_without_data_learns_from_samples(tmp_path):
    run("data_free", tmp_path)
    rows = results(tmp_path)
    assert [row["network"] for row in rows] == ["teacher", *["student"] * 4]
    assert [row["targets"] for row in rows] == ["labels"] * 2 + ["teacher's probabilities"] * 3
    assert [row["images"] for row in rows] == ["real images"] * 3 + ["GAN samples", "noise"]
    teacher = genlab.load(tmp_path / "teacher")
    assert rows[0]["accuracy"] == accuracy(teacher, held_out(None)) > 0.5
    assert rows[0]["FGSM success"] == success(FGSM(Linf(0.1)), teacher, held_out(500))
    assert rows[2]["accuracy"] > 2 * rows[4]["accuracy"]


def test_early_exits_save_what_the_threshold_lets_them_and_an_attack_takes_it_back(tmp_path):
    run("early_exit", tmp_path)
    rows = {(row["threshold"], row["images"]): row for row in results(tmp_path)}
    share = {key: row["share of the multiplications"] for key, row in rows.items()}
    net, sets = genlab.load(tmp_path / "net").net, ("held out", "clean", "slowdown attack", "PGD")
    first, *_, whole = net.costs((1, 8, 8))
    assert all(share[0.0, name] == pytest.approx(first / whole) and share[1.1, name] == 1 for name in sets)
    assert share[0.5, "clean"] <= share[0.5, "slowdown attack"] and share[0.5, "held out"] < 1
    assert rows[1.1, "PGD"]["accuracy"] <= rows[1.1, "clean"]["accuracy"]


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


def test_flows_leave_bits_and_grids_by_temperature_and_lose_no_pixel(tmp_path):
    run("flow_mnist", tmp_path)
    page, found = (tmp_path / "report.html").read_text(), json.loads((tmp_path / "results.json").read_text())
    assert page.count("data:image/png") == 12 and [row["flow"] for row in found] == ["nice", "realnvp", "glow"]
    assert all(0 < row["bits/dim"] < 10 and row["largest error there and back, in levels"] == 0 for row in found)


def test_detectors_are_measured_on_the_second_half(tmp_path):
    run("feature_squeezing", tmp_path)
    found = results(tmp_path)
    names = ["squeezing", "max softmax", "entropy", "Mahalanobis", "VAE", "flow", "regression on all"]
    assert [row["detector"] for row in found["areas"]] == [row["detector"] for row in found["evasion"]] == names
    assert [row["detector"] for row in found["costs"]["fgsm"]] == ["none", *names]
    assert set(found["costs"]["fgsm"][0].values()) == {"none", 0.5}  # half of the images are attacked
    score = MaxSoftmax(genlab.load(tmp_path / "classifier").net)
    odd = resized(genlab.DataOptions("sprites", channels=1).load("test"), 8).x[8:16]
    second = held_out(16).x[8:]
    assert by("detector", found["areas"])["max softmax"]["sprites"] == auc(score(second), score(odd))


def test_purifiers_are_attacked_obliviously_and_adaptively_and_shown_at_work(tmp_path):
    assert "magnet" not in run("purify", tmp_path)
    page, found = (tmp_path / "report.html").read_text(), json.loads((tmp_path / "results.json").read_text())
    models = dict.fromkeys(row["model"] for row in found["rows"])
    assert set(models) == {"none"} | {n + a for n in ("gan", "auto-encoder", "pixelcnn") for a in ("", ", adaptive")}
    assert [row["model"] for row in found["rows"] if row["attack"] == "latents"] == ["gan, adaptive"]
    assert set(found["magnet"]) == {"clean", "oblivious", "adaptive"} and 0 <= found["magnet"]["clean"] <= 1
    assert page.count("data:image/png") >= 4 and page.count("<table>") == 3


def test_translations_are_compared_with_true_partners(tmp_path):
    run("cyclegan", tmp_path)
    rows = by("variant", results(tmp_path))
    assert list(rows) == ["cycle", "no cycle"]
    model = genlab.load(tmp_path / "no-cycle")
    assert model.config.cycle == 0 < genlab.load(tmp_path / "cycle").config.cycle
    test = genlab.DataOptions("unpaired:digits,night:digits", 8).load("test")
    there, back = (lambda x: model.translate(x, to=1)), (lambda x: model.translate(x, to=0))
    own = cycle_errors(there, back, test)
    assert {name: rows["no cycle"][name] for name in own} == pytest.approx(own)
    for row in rows.values():
        assert row["cycle error, 8 bits"] == pytest.approx(row["cycle error"], abs=0.01)


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


def test_true_maps_find_what_matters_and_an_attack_moves_them(tmp_path):
    run("explanations", tmp_path)
    found = results(tmp_path)
    left = {(row["map"], row["share deleted"]): row["probability"] for row in found["deletion"]}
    for name in ("saliency", "integrated gradients", "occlusion, 1 pixels, black", "LIME"):
        assert left[name, 0.3] < left["random", 0.3]
    attacked, noise = found["attack"]
    assert attacked["prediction kept"] == 1.0
    assert attacked["important pixels in common"] < noise["important pixels in common"]


def test_maximised_images_please_the_classifier_more_than_another_one(tmp_path):
    run("activation_maximisation", tmp_path)
    rows = by("optimised over", results(tmp_path))
    assert list(rows) == ["pixels", "pixels, L1 penalty", "latents of a VAE"]
    assert rows["pixels, L1 penalty"]["mean pixel"] < 0.5 * rows["pixels"]["mean pixel"]
    assert rows["pixels"]["classified as intended"] > max(0.1, rows["pixels"]["by the second classifier"])
    seeds = [genlab.Run(tmp_path / name).experiment["training"]["seed"] for name in ("classifier", "second-classifier")]
    assert seeds == [0, 1]


def test_bad_input_to_a_recipe_gets_one_sentence_and_status_2(tmp_path):
    command = [sys.executable, str(RECIPES / "quickstart.py"), "--data", "mnits", "--out", str(tmp_path / "q")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2 and "did you mean 'mnist'" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "q").exists()


def test_every_defence_is_attacked_obliviously_and_adaptively(tmp_path):
    assert "verdict" in run("defence_matrix", tmp_path)
    found, test = results(tmp_path), held_out(16)
    rows = {(row["model"], row["source"], row["attack"]): row["success"]["value"] for row in found["rows"]}
    plain, pgd = genlab.load(tmp_path / "plain"), genlab.load(tmp_path / "pgd")
    attack = PGD(Linf(0.1))
    assert rows["none", "none", "PGD"] == success(attack, plain, test)
    assert rows["pgd training", "none", "PGD"] == success(attack, pgd, test, source=plain)
    adaptive = "pgd training, adaptive"
    assert rows[adaptive, adaptive, "PGD"] == success(attack, pgd, test)
    names = ["weight decay", "dropout", "ensemble of three", "bits", "randomised smoothing"]
    assert [each["defence"] for each in found["verdicts"]] == [
        *names,
        "fgsm training",
        "pgd training",
        "trades training",
    ]


def test_certified_accuracy_falls_with_the_radius_and_no_attack_contradicts_it(tmp_path):
    run("certify", tmp_path)
    first, second, interval = rows = results(tmp_path)
    assert [row["model"] for row in rows] == ["smoothed 0.2", "smoothed 0.2", "interval"]
    assert first["radius"] < second["radius"] and first["certified"] >= second["certified"]
    assert all(row["certified"] <= row["under attack"] <= row["clean"] for row in rows)
    net, test = genlab.load(tmp_path / "interval").net, held_out(10)
    assert interval["certified"] == pytest.approx(certified(net, test.x, test.labels, 0.02).float().mean().item())


def test_generated_images_are_shown_and_judged_by_what_they_are_for(tmp_path):
    run("generated_data", tmp_path)
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [row["training images"] for row in rows] == ["not robust", "real", "real and generated"]
    assert all(0 <= row["under PGD"] <= row["clean"] <= 1 for row in rows)
    assert (tmp_path / "report.html").read_text().count("data:image/png") == 2


def test_every_scheme_of_adversarial_training_is_attacked_during_training_and_after(tmp_path):
    run("adversarial_training", tmp_path)
    found, test = results(tmp_path), held_out(10)
    rows = by("training", found["rows"])
    assert list(rows) == ["round 0", "round 1", "fgsm", "fast", "free", "trades", "pgd"]
    for name, folder in {"round 0": "plain", "pgd": "pgd"}.items():
        model = genlab.load(tmp_path / folder)
        assert rows[name]["clean accuracy"] == accuracy(model, test)
        assert rows[name]["PGD success"] == (success(PGD(Linf(0.15), steps=40), model, test) or 0.0)
    for scheme, curve in found["curves"].items():
        assert curve["images"] == [512] and curve["robust accuracy"] == [1 - rows[scheme]["PGD success"]]


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
