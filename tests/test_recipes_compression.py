"""Recipes about compression, with tiny numbers: what they claim holds."""

import pytest
from recipe_runs import TINY, by, held_out, results, run, success

import genlab
from attacks import FGSM, PGD, Linf
from genlab.compress import file
from genlab.compress.prune import prune
from genlab.metrics.accuracy import accuracy
from genlab.nets.classifiers import lenet300


def test_deep_compression_writes_files_that_shrink_from_stage_to_stage(tmp_path):
    run("deep_compression", tmp_path)
    rows, sparse = by("stage", results(tmp_path)["stages"]), results(tmp_path)["sparsity"]
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

    accuracies = {(row["way"], row["sparsity"]): row["accuracy, %"] for row in sparse}
    untrained = []
    for path in tmp_path.glob("files-*/dense.genlab"):
        net = lenet300((1, 8, 8), 10).eval()
        net.load_state_dict(file.load(path)[0])
        prune(net, 0.9)
        untrained.append(100 * accuracy(net, held_out(None)))
    assert accuracies["at once, not trained", 0.9] == pytest.approx(sum(untrained) / 2)
    assert accuracies["at once, not trained", 0.9] < accuracies["at once, trained as long", 0.9] - 5
    assert accuracies["step by step", 0.9] == accuracies["at once, trained as long", 0.9]  # there is one step


def test_cheaper_layers_multiply_less_or_store_less(tmp_path):
    run("cheaper_layers", tmp_path)
    rows = by("network", results(tmp_path))
    dense, half, binary = (rows[name] for name in ("dense", "half the filters", "binary weights"))
    sparse = rows["95 % of the weights pruned"]
    assert sparse["MACs"] == dense["MACs"] and 5 * sparse["bytes"] < dense["bytes"]
    assert dense["speed-up, batch 1"] == dense["speed-up, batch 256"] == 1
    assert binary["MACs"] == dense["MACs"] and 20 * binary["bytes"] < dense["bytes"]
    assert max(rows[name]["MACs"] for name in ("low rank", "separable")) < dense["MACs"]
    scratch = [rows[f"half the filters, scratch-{kind}"] for kind in "EB"]
    assert scratch[0]["MACs"] == scratch[1]["MACs"] == half["MACs"] < dense["MACs"] / 3


def test_a_student_makes_fewer_errors_with_a_teacher_and_learns_a_class_that_it_never_saw(tmp_path):
    run("distillation", tmp_path)
    errors = by("learns from", [row for row in results(tmp_path) if row["network"] == "student"])
    errors = {role: row["errors"] for role, row in errors.items()}
    test, without = held_out(None), "teacher, on images without class 3"
    threes = int((test.labels == 3).sum())
    assert errors["teacher and labels"] < 0.9 * errors["labels"]
    assert errors["the same, errors on class 3"] < 0.5 * threes  # of the labels alone it would be all
    assert errors[f"{without}; bias corrected"] <= errors[without] < 0.5 * len(test)


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
    found = results(tmp_path)
    rows = {(row["threshold"], row["images"]): row for row in found["thresholds"]}
    share = {key: row["share of the multiplications"] for key, row in rows.items()}
    net, sets = genlab.load(tmp_path / "cnn-0").net, ("held out", "clean", "slowdown attack", "PGD")
    first, *_, whole = net.costs((1, 8, 8))
    assert all(share[0.0, name] == pytest.approx(first / whole) and share[1.1, name] == 1 for name in sets)
    assert share[0.12, "clean"] <= share[0.12, "slowdown attack"] and share[0.12, "held out"] < 1
    assert rows[1.1, "PGD"]["accuracy"] <= rows[1.1, "clean"]["accuracy"]

    exits = {(row["network"], row["exit"], row["trained"]): row for row in found["exits"]}
    assert exits["cnn", 3, "with the others"]["accuracy"] == pytest.approx(rows[1.1, "held out"]["accuracy"])
    assert exits["cnn", 1, "with the others"]["accuracy"] == pytest.approx(rows[0.0, "held out"]["accuracy"])
    cost = {key: row["multiply-adds"] for key, row in exits.items()}
    for name in ("cnn", "msdnet"):  # a part that ends at an exit has no other classifiers
        assert cost[name, 1, "alone"] == cost[name, 1, "with the others"]
        assert cost[name, 3, "alone"] < cost[name, 3, "with the others"]


def test_every_stage_of_compression_is_attacked(tmp_path):
    run("robust_compression", tmp_path)
    rows = by("network", results(tmp_path))
    assert list(rows) == ["teacher", "dense", "pruned", "shared", "half the neurons", "low rank", "four bits"]
    sizes = {name: row["bytes"] for name, row in rows.items()}
    assert sizes["shared"] < sizes["pruned"] < sizes["dense"] > 4 * sizes["four bits"]
    test, nets = held_out(20), {"teacher": genlab.load(tmp_path / "teacher-0")}
    for name in ("dense", "pruned"):
        nets[name] = lenet300((1, 8, 8), 10).eval()
        nets[name].load_state_dict(file.load(tmp_path / "files-0" / f"{name}.genlab")[0])
    pgd = PGD(Linf(0.2), steps=20)
    for name, net in nets.items():
        assert rows[name]["PGD, %"] == pytest.approx(100 * success(pgd, net, test))
    transferred = success(pgd, nets["pruned"], test, source=nets["dense"])
    assert rows["pruned"]["PGD for dense, %"] == pytest.approx(100 * transferred)
    assert rows["dense"]["PGD, %"] > rows["dense"]["noise-linf, %"]
    assert rows["teacher"]["error, %"] == pytest.approx(100 * (1 - accuracy(nets["teacher"], held_out(None))))


def test_robust_compression_begins_with_adversarial_training(tmp_path, monkeypatch):
    command = "--robust --images 128 --rounds 1 --attacked 5 --seeds 0 --out {out}"
    monkeypatch.setitem(TINY, "robust_compression", command)
    run("robust_compression", tmp_path)
    assert genlab.Run(tmp_path / "teacher-0").experiment["method"].endswith(":AdversarialTrainingConfig")
    assert len(results(tmp_path)) == 7


def test_a_ticket_learns_faster_than_its_mask_from_other_weights(tmp_path):
    run("lottery_ticket", tmp_path)
    rows = {(row["network"], row["rounds"]): row for row in results(tmp_path)}
    accuracies = {key: row["accuracy, %"] for key, row in rows.items()}
    longer = accuracies["random start, trained as long as all rounds", 1]
    assert len(rows) == 5 and accuracies["ticket", 1] > accuracies["random start", 1] < longer
    assert accuracies["ticket, pruned at once", 1] == accuracies["ticket", 1]  # there is one round
    assert rows["ticket", 1]["weights left, %"] == 80
