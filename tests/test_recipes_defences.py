"""Recipes about defences, with tiny numbers: what they claim holds."""

import pytest
from recipe_runs import by, held_out, results, run, success

import genlab
from attacks import FGSM, PGD, Linf
from attacks.defences.interval import certified
from attacks.defences.one_class import OneClassSVM
from attacks.defences.purify import PixelDefend, Reconstruct
from attacks.defences.scores import MaxSoftmax
from attacks.defences.smoothing import Filtered
from attacks.evaluation.roc import auc
from attacks.plugin import defence
from genlab.data.resize import resized
from genlab.metrics.accuracy import accuracy


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


def test_anomalies_are_told_from_the_digits_that_are_known(tmp_path):
    run("anomalies", tmp_path)
    found = results(tmp_path)
    areas = by("detector", found["areas"])
    test = genlab.DataOptions("digits").load("test")
    known, other = (test.x[where][:40] for where in (test.labels < 3, test.labels >= 3))
    train = genlab.DataOptions("digits", hold_out=True).load("train")
    svm = OneClassSVM.fit(train.x[train.labels < 3], scale=16.0)
    assert areas["one-class SVM"]["other digits"] == pytest.approx(auc(svm(known), svm(other)), abs=1e-6)
    assert areas["one-class SVM"]["noise"] == 1 and len(areas) == 10
    assert {row["detector"] for row in found["attacks"]} == areas.keys() - {"isolation forest"}


def test_every_defence_is_attacked_obliviously_and_adaptively(tmp_path):
    assert "verdict" in run("defence_matrix", tmp_path)
    found, test = results(tmp_path), held_out(16)
    rows = {(row["model"], row["source"], row["attack"]): row["success"]["value"] for row in found["rows"]}
    plain, pgd = genlab.load(tmp_path / "plain"), genlab.load(tmp_path / "pgd")
    attack = PGD(Linf(0.1), steps=5)
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
        assert curve["images"] == [256] and curve["robust accuracy"] == [1 - rows[scheme]["PGD success"]]


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
    found, model, test = results(tmp_path), genlab.load(tmp_path / "classifier"), held_out(6)
    rates = {(row["model"], row["attack"]): row["success"]["value"] for row in found["rows"]}
    fgsm, pixelcnn = FGSM(Linf(0.1)), genlab.load(tmp_path / "pixelcnn")
    purified = Filtered(PixelDefend(pixelcnn.net, pixelcnn.head, 0.1), model)
    coded = Filtered(Reconstruct(genlab.load(tmp_path / "auto-encoder").reconstruct), model)
    assert rates["none", "fgsm"] == success(fgsm, model, test)
    assert rates["pixelcnn", "fgsm"] == success(fgsm, purified, test, source=model)
    assert rates["auto-encoder, adaptive", "fgsm"] == success(fgsm, coded.adaptive(), test)
    assert [verdict["defence"] for verdict in found["verdicts"]] == ["gan", "auto-encoder", "pixelcnn"]
    assert found["latent attack"].keys() == {"success", "l2"}
    clean = next(row["clean_accuracy"] for row in found["rows"] if row["model"] == "auto-encoder")
    assert found["MagNet"]["clean"] <= clean  # an alarm on a clean image is an error
