"""Recipes about attacks, with tiny numbers: what they claim holds."""

import runpy

import pytest
from recipe_runs import RECIPES, by, held_out, results, run, success

import genlab
from attacks import MIFGSM, PGD, Linf, Transfer


def test_transfer_is_counted_on_the_target_and_own_architectures_stand_out_of_source_and_target(tmp_path):
    run("attack_transfer", tmp_path)
    found, test = results(tmp_path), held_out(64)
    source, target = genlab.load(tmp_path / "shallow-1"), genlab.load(tmp_path / "mlp-0")
    attack = MIFGSM(Linf(0.2), steps=10)
    rates = by("source", found["success"])
    assert rates["shallow"]["mlp"] == pytest.approx(100 * success(Transfer(attack, source), target, test))
    assert rates["the target itself"]["mlp"] == pytest.approx(100 * success(attack, target, test))
    share = by("source", found["relative"])["shallow"]["mlp"]
    assert share == pytest.approx(100 * rates["shallow"]["mlp"] / rates["the target itself"]["mlp"])

    expected = runpy.run_path(str(RECIPES / "attack_transfer.py"))[
        "expected"
    ]  # of a matrix that is such a sum but for its diagonal
    sources, targets = {"a": 10.0, "b": 20.0, "c": 70.0}, {"a": 5.0, "b": 0.0, "c": 15.0}
    # sums but for the diagonal
    sums = {i: {j: sources[i] + targets[j] + 9.0 * (i == j) for j in targets} for i in sources}
    assert [sums[net][net] - expected(sums, net) for net in sums] == pytest.approx([9.0] * 3)


def test_black_boxes_are_attacked_within_their_queries(tmp_path):
    run("black_box", tmp_path)
    found = results(tmp_path)
    kinds = [(row["surrogate"], row["learns from"]) for row in found["surrogates"]]
    assert kinds == [("cnn", "data"), ("cnn", "queries"), ("mlp", "data"), ("mlp", "queries")]
    measured = by("attack", found["rows"])
    for row in found["queries"]:
        same = measured[f"{row['attack']}, {row['queries']} queries"]
        assert row["success"] == same["success"]["value"] and 0 < same["forwards"] <= row["queries"]
        assert same["backwards"] == 0


def test_the_bench_of_minimal_attacks_ranks_them_by_their_smallest_distances(tmp_path):
    run("attack_bench", tmp_path)
    found = results(tmp_path)["l2"]
    for model in found["optimality"]["minimal-l2"].keys() - {"global"}:
        distances = found["distances"][model]
        best = [min(each) for each in zip(*distances.values())]
        room = sum(max(best) - d for d in best if d)
        for attack, each in distances.items():
            score = sum(max(best) - min(d, max(best)) for d, least in zip(each, best) if least) / room
            assert found["optimality"][attack][model] == pytest.approx(score, abs=1e-6)
    assert found["optimality"]["minimal-l2"]["global"] > 0.7 and len(found["distances"]) == 3


def test_the_table_of_attacks_compares_what_is_fooled_with_how_little_is_changed(tmp_path):
    run("attack_table", tmp_path)
    rows = by("attack", results(tmp_path)["rows"])
    assert list(rows) == ["pgd", "deepfool", "jsma", "fmn-l1", "noise-linf"]
    assert rows["deepfool"]["success"]["value"] == rows["fmn-l1"]["success"]["value"] == 1.0  # no ball holds them
    assert rows["deepfool"]["l2"]["median"] < min(rows[name]["l2"]["median"] for name in ("fmn-l1", "jsma"))
    assert rows["pgd"]["linf"]["max"] <= 0.1 + 1e-6 and rows["pgd"]["backwards"] == 40
    model = genlab.load(tmp_path / "classifier")
    assert rows["pgd"]["success"]["value"] == success(PGD(Linf(0.1)), model, held_out(4))


def test_a_universal_perturbation_fools_more_than_noise_and_most_where_it_was_learnt(tmp_path):
    run("universal", tmp_path)
    found = results(tmp_path)
    rates = {row["attack"]: row["success"]["value"] for row in found["rows"]}
    assert rates["then at the number fooled"] > rates["gradient"] > rates["noise-linf"]
    cost = by("attack", found["rows"])
    assert cost["gradient"]["learning_backwards"] == 64 and cost["noise-linf"]["learning_forwards"] == 0
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


def test_a_patch_works_under_every_view_and_a_grey_one_does_not(tmp_path):
    run("physical_patch", tmp_path)
    rows = by("view", results(tmp_path))
    assert all(row["from"] <= row["success"] <= row["to (95 %)"] for row in rows.values())
    grey = rows.pop("all, grey patch")["success"]
    assert len(rows) == 7 and min(row["success"] for row in rows.values()) > grey + 0.3
    assert rows["fixed"]["success"] > rows["all"]["success"]


def test_signals_and_measurements_are_attacked_like_images(tmp_path):
    run("beyond_images", tmp_path)
    found = {(row["inputs"], row["attack"], row["eps"]): row["accuracy"] for row in results(tmp_path)["accuracy"]}
    assert {name for name, *_ in found} == {"signals", "measurements"}
    for name in ("signals", "measurements"):
        assert found[name, "pgd", 0.1] < found[name, "noise-linf", 0.1] - 0.2
        assert found[name, "pgd", 0.1] <= found[name, "pgd", 0.02] + 0.05
