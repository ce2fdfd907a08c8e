"""Every recipe runs from the command line with tiny numbers."""

import ast
import base64
import io
import json
import math
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
from attacks.defences.purify import PixelDefend
from attacks.defences.roc import auc
from attacks.defences.scores import MaxSoftmax
from attacks.defences.smoothing import Filtered, Gaussian
from attacks.evaluation.evaluate import evaluate
from attacks.plugin import defence
from genlab.compress import file
from genlab.data.pairs import Inpainting
from genlab.data.resize import resized
from genlab.latent.codes import apply_batched, retrieval_precision
from genlab.likelihood.mixture import Mixture
from genlab.likelihood.units import likelihood
from genlab.methods.classification.features import default_features
from genlab.methods.gan.losses import gradient_norms
from genlab.metrics.accuracy import accuracy
from genlab.metrics.comparison import measure
from genlab.metrics.extract import extract_features, samples, shuffled
from genlab.metrics.translation import cycle_errors
from genlab.nets.classifiers import lenet300

RECIPES = Path(__file__).parents[1] / "recipes"


TINY = {
    "quickstart": "--classifier-images 12000 --gan-images 64 --gan-width 4 --attacked 20 --eps 0.1 0.3 --out {out}",
    "benchmark_attacks": "--size 10 --n 4 --repeats 1 --images 640 --out {out}",
    "gan_theory": "--gaps 0.5 2 --steps 40 --frames 2 --out {out}",
    "mode_collapse": "--steps 2 --batch 8 --seeds 0 --looks 1 --lr 1e-6 --out {out}",
    "mode_collapse_images": "--remedies plain 'ensemble of 4' --images 128 --looks 2 --seeds 0 --width 4 "
    "--classifier-images 320 --out {out}",
    "benchmark_training": "--steps 5 --repeats 1 --batch 8 --width 16",
    "benchmark_loader": "--batches 2 --repeats 1",
    "gan_zoo": "--methods lsgan wgan --seeds 0 1 --images 64 --width 4 --hidden 8 --n 50 "
    "--classifier-images 320 --out {out}",
    "vae_latent": "--images 1000 --width 4 --components 2 --covariance diag --n 40 --out {out}",
    "flow_mnist": "--nets nice glow --images 64 --temperatures 1 --out {out}",
    "benchmark_flow": "--steps 1 --repeats 1 --batch 4 --couplings 1 --width 4 --peers",
    "infogan_factors": "--images 128 --starts 2 --values 1 --width 4 --hidden 16 --out {out}",
    "autoencoder_codes": "--code 4 --hidden 16 --images 640 --out {out}",
    "conditional": "--data digits --size 8 --images 64 --classifier-images 320 --width 4 --stack --out {out}",
    "few_labels": "--images 640 --supervised-images 3200 --labels 1 10 --width 4 --out {out}",
    "photo_editing": "--images 64 --steps 60 --n 4 --out {out}",
    "reprogramming": "--classifier-images 1500 --images 1500 --size 12 --pixels 1 --gap 2 --out {out}",
    "physical_patch": "--classifier-images 5000 --images 2000 --shapes square --out {out}",
    "why_attacks_work": "--classifier-images 2500 --attacked 20 --eps 0.05 0.3 --out {out}",
    "explanations": "--images 640 --n 12 --out {out}",
    "shortcut": "--images 3200 --n 60 --out {out}",
    "activation_maximisation": "--images 640 --each 1 --out {out}",
    "wgan_gp": "--nets dcgan --images 1920 --width 4 --lr 0.01 --out {out}",
    "universal": "--nets mlp shallow --classifier-images 320 --length 64 --known 10 2000 --eps 0.3 --out {out}",
    "attack_table": "--images 320 --width 8 --n 4 --attacks pgd deepfool jsma fmn-l1 --out {out}",
    "benchmark_sampling": "--layers 2 --width 8 --size 8 --batches 1 2 --pixels 1 --repeats 1",
    "likelihood_table": "--images 64 --models 'gated PixelCNN' VQ-VAE --components 2 --out {out}",
    "representations": "--ink digits --images 1000 --sizes 32 16 --labels 10 --out {out}",
    "deep_compression": "--images 3000 --rounds 2 --seeds 0 1 --out {out}",
    "cheaper_layers": "--images 192 --seeds 0 --timings 1 --out {out}",
    "robust_compression": "--images 3000 --rounds 1 --attacked 20 --eps 0.2 --out {out}",
    "distillation": "--images 10000 --teacher 64 --student 16 --temperatures 4 --teachers 2 --seeds 0 --out {out}",
    "lottery_ticket": "--images 2000 --rounds 1 --seeds 0 1 --out {out}",
    "data_free": "--images 4000 --gan-images 128 --samples 500 --width 8 --out {out}",
    "early_exit": "--images 3000 --width 4 --thresholds 0 0.5 1.1 --attacked 30 --out {out}",
    "pixelcnn_mnist": "--nets gated row-lstm --images 480 --width 6 --layers 1 --lr 0.02 --out {out}",
    "pixelrnn_sprites": "--images 32 --width 6 --layers 1 --size 8 --colours 4 --out {out}",
    "exposure_bias": "--images 32 --width 6 --layers 1 --seeds 0 1 --n 20 --classifier-images 320 --out {out}",
    "smoothing_defence": "--images 2000 --filters median bits:bits=1 resize-pad --attacks fgsm --eps 0.2 --attacked 20 "
    "--out {out}",
    "certify": "--images 1000 --sigma 0.2 --radii 0.1 0.3 --eps 0.02 --n 20 --attacked 10 --out {out}",
    "adversarial_training": "--images 512 --rounds 1 --attacked 10 --looks 1 --out {out}",
    "generated_data": "--images 2000 --gan-images 64 --width 8 --known 300 --attacked 60 --share 0 "
    "--seeds 0 --out {out}",
    "defence_matrix": "--images 192 --filters bits --attacked 16 --queries 5 --out {out}",
    "cyclegan": "--data unpaired:digits,night:digits --size 8 --images 16 --width 4 --classifier-images 64 "
    "--variants cycle 'no cycle' --out {out}",
    "pix2pix": "--data digits --size 8 --task super-resolution:2 --images 64 --width 4 --classifier-images 64 "
    "--out {out}",
    "super_resolution": "--data digits --size 8 --factors 2 4 --images 16 --classifier-images 64 --width 4 --out {out}",
    "inpainting": "--data digits --size 8 --hole 4 --images 96 --classifier-images 64 --width 4 --n 40 --out {out}",
    "unpaired_common_space": "--a grey:digits --b textured:digits --size 8 --images 16 --gan-images 64 --width 4 "
    "--classifier-images 64 --models independent tied CoGAN --out {out}",
    "stargan": "--data domains:digits,night:digits --size 8 --images 80 --width 4 --classifier-images 64 --out {out}",
    "benchmark_adversarial": "--steps 1 --repeats 1 --batch 4 --pgd 1 --size 8",
    "benchmark_cyclegan": "--steps 1 --repeats 1 --width 4 --size 32",
    "feature_squeezing": "--images 320 --models VAE flow --outliers sprites --attacks fgsm --steps 1 --tested 16 "
    "--fpr 0.2 --out {out}",
    "purify": "--images 400 --models gan auto-encoder pixelcnn --steps 2 --descent 2 --eps 0.1 --attacked 10 "
    "--out {out}",
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


@pytest.mark.parametrize("name", TINY)
def test_every_option_has_a_help_text(name):
    body = next(
        n.body for n in ast.parse((RECIPES / f"{name}.py").read_text()).body if getattr(n, "name", "") == "Config"
    )
    for option, text in zip(body, [*body[1:], None]):
        if isinstance(option, ast.AnnAssign):
            assert isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant), ast.unparse(option.target)


def test_quickstart_attacks_the_classifier_that_it_trained_and_the_filters_in_front_of_it(tmp_path):
    out = run("quickstart", tmp_path)
    found, model, test = results(tmp_path), genlab.load(tmp_path / "classifier"), held_out(20)
    assert found["accuracy"] == model.evaluate(held_out(360))["accuracy"] > 0.8
    rates = {(row["model"], row["attack"], row["eps"]): row["success"]["value"] for row in found["rows"]}
    assert rates["none", "pgd", 0.3] > 0.9 > 0.5 > rates["none", "noise-linf", 0.1]
    assert rates["none", "fgsm", 0.1] == success(FGSM(Linf(0.1)), model, test)
    filtered = Filtered(Gaussian(0.5), model)
    assert rates["gaussian", "fgsm", 0.1] == success(FGSM(Linf(0.1)), filtered, test, source=model)
    assert "worst case" in out and "only if unknown" not in out and "verdict" in out
    page = (tmp_path / "report.html").read_text()
    assert base64.b64encode(genlab.Run(tmp_path / "gan").samples()[-1].read_bytes()).decode() in page


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


def test_generators_that_begin_at_the_origin_cover_the_middle_of_the_grid_and_none_of_the_ring(tmp_path):
    run("mode_collapse", tmp_path)
    ring, grid = (by("method", results(tmp_path)[name]) for name in ("ring", "grid"))
    assert list(ring) == list(grid) and {"plain", "minibatch", "unrolled", "wgan-gp"} < ring.keys()
    for name in ring:  # the learning rate of the test is next to nothing
        assert ring[name]["modes"] == ring[name]["share within 3 std"] == 0
        assert grid[name]["modes"] == 1 and grid[name]["share within 3 std"] > 0.8


def test_the_classes_that_a_generator_draws_are_those_of_its_last_look_also_in_a_finished_run(tmp_path):
    out = tmp_path / "out"
    run("mode_collapse_images", out)
    rows = by("remedy", results(out))
    assert list(rows) == ["plain", "ensemble of 4"]
    for name, row in rows.items():
        looks = [line for line in genlab.Run(out / f"{name.replace(' ', '-')}-0").metrics() if "classes" in str(line)]
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


def test_more_labels_make_a_better_supervised_classifier(tmp_path):
    run("few_labels", tmp_path)
    rows = by("labels per class", results(tmp_path))
    assert rows[10]["supervised"] > rows[1]["supervised"] > 0.2
    for labels in (1, 10):
        triple = genlab.load(tmp_path / f"triple-{labels}")
        assert triple.labelled_x[:-1].flatten(1).amax(1).gt(0).all() and len(triple.labelled_y) == 10 * labels
        assert rows[labels]["Triple GAN"] == triple.evaluate(held_out(360))["accuracy"]


def test_descent_improves_an_inversion_and_a_looser_edit_goes_further(tmp_path):
    run("photo_editing", tmp_path)
    found = results(tmp_path)
    errors = {row["latent by"]: row["mean squared error"] for row in found["inversion"]}
    assert errors["encode, then optimise"] < errors["encode"]
    model, x = genlab.load(tmp_path / "vae-gan"), genlab.DataOptions("glyphs", 16, 1).load("test").x[:4]
    error = (model.decoder(model.encode(x)) - x).square().mean()
    assert errors["encode"] == pytest.approx(float(error), rel=1e-4)
    assert [row["vectors added"] for row in found["attribute"]] == [-1, -0.5, 0, 0.5, 1]
    edits = found["edits"]
    assert [row["edit"] for row in edits] == ["before", "near 0.1", "near 0.03", "near 0.01"]
    distances, violations = ([row[name] for row in edits] for name in ("distance in z", "violation of the constraint"))
    assert distances == sorted(distances) and distances[0] == 0 and violations[-1] < violations[0]


def test_a_patch_works_under_every_view_and_a_grey_one_does_not(tmp_path):
    run("physical_patch", tmp_path)
    rows = by("view", results(tmp_path))
    assert all(row["from"] <= row["success"] <= row["to (95 %)"] for row in rows.values())
    grey = rows.pop("all, grey patch")["success"]
    assert len(rows) == 7 and min(row["success"] for row in rows.values()) > grey + 0.3
    assert rows["fixed"]["success"] > rows["all"]["success"]


def test_flows_lose_no_pixel_and_their_nats_are_their_bits(tmp_path):
    run("flow_mnist", tmp_path)
    rows = by("flow", results(tmp_path))
    assert list(rows) == ["nice", "glow"]
    for name, row in rows.items():
        assert row["bits/dim"] == pytest.approx(row["nats per image"] / (64 * math.log(2)))
        assert row["largest error of reconstruction, in 8-bit levels"] == 0
        bits = likelihood(genlab.load(tmp_path / name).log_prob, held_out(360))["bits_per_dim"]
        assert row["bits/dim"] == pytest.approx(bits, rel=0.01)  # other noise


def test_pixelcnns_learn_and_report_their_exact_likelihood(tmp_path):
    run("pixelcnn_mnist", tmp_path)
    rows, test = by("net", results(tmp_path)), genlab.DataOptions("binary:digits").load("test")
    assert list(rows) == ["gated", "row-lstm", "conditional"]
    assert all(row["nats"] < 0.8 * 64 * math.log(2) for row in rows.values())  # of a coin for each pixel
    nats = likelihood(genlab.load(tmp_path / "gated").log_prob, test)["nats"]
    assert rows["gated"]["nats"] == pytest.approx(nats, rel=1e-4)
    assert genlab.load(tmp_path / "conditional").config.conditional


def test_regressed_colours_make_one_image_and_a_palette_makes_many(tmp_path):
    run("pixelrnn_sprites", tmp_path)
    rows = by("images", results(tmp_path))
    assert list(rows) == ["held out", "palette", "regression"]
    assert rows["regression"]["variety"] < 1e-6 < 0.05 < rows["palette"]["variety"]
    x = genlab.DataOptions("sprites", 8, 3).load("test").x
    assert rows["held out"]["variety"] == pytest.approx(float(x.std(0).mean()))
    channels = x[:10].sort(1).values
    saturation = (1 - channels[:, 0] / channels[:, 2].clamp(min=1e-6)).where(channels[:, 2] > 0, 0)
    assert rows["held out"]["saturation"] == pytest.approx(float(saturation.mean()), abs=1e-5)


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


def test_a_ticket_learns_faster_than_its_mask_from_other_weights(tmp_path):
    run("lottery_ticket", tmp_path)
    rows = {(row["network"], round(row["weights left, %"])): row["accuracy"] for row in results(tmp_path)}
    longer = rows["random start, trained as long as all rounds", 80]
    assert len(rows) == 4 and rows["ticket", 80] > rows["random start", 80] < longer


def test_generated_data_changes_nothing_where_its_share_is_none(tmp_path):
    run("generated_data", tmp_path)
    rows = by("training images", results(tmp_path))
    standard, real, mixed = (rows[name] for name in ("real, not adversarial", "real", "real and generated"))
    figures = ("clean accuracy", "robust accuracy")
    assert [real[name] for name in figures] == [mixed[name] for name in figures]  # the test's share of it is 0
    assert [real[name] for name in figures] != [standard[name] for name in figures]
    assert all(row["robust accuracy"] <= row["clean accuracy"] for row in rows.values())


def test_purifiers_are_attacked_obliviously_and_adaptively(tmp_path):
    run("purify", tmp_path)
    found, model, test = results(tmp_path), genlab.load(tmp_path / "classifier"), held_out(10)
    rates = {(row["model"], row["attack"]): row["success"]["value"] for row in found["rows"]}
    fgsm, pixelcnn = FGSM(Linf(0.1)), genlab.load(tmp_path / "pixelcnn")
    purified = Filtered(PixelDefend(pixelcnn.net, pixelcnn.head, 0.1), model)
    assert rates["none", "fgsm"] == success(fgsm, model, test)
    assert rates["pixelcnn", "fgsm"] == success(fgsm, purified, test, source=model)
    assert rates["pixelcnn, adaptive", "fgsm"] == success(fgsm, purified.adaptive(), test)
    assert [verdict["defence"] for verdict in found["verdicts"]] == ["gan", "auto-encoder", "pixelcnn"]
    assert found["latent attack"].keys() == {"success", "l2"}
    clean = next(row["clean_accuracy"] for row in found["rows"] if row["model"] == "auto-encoder")
    assert found["MagNet"]["clean"] <= clean  # an alarm on a clean image is an error
