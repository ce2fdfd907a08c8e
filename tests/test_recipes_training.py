"""Recipes about training, with tiny numbers: what they claim holds."""

import pytest
from recipe_runs import by, results, run

from genlab.training.optim import RATES


def test_equal_time_is_as_many_images_as_a_batch_size_trains_in_it(tmp_path):
    run("batch_size", tmp_path)
    rows = results(tmp_path)
    assert [(row["length"], row["batch"]) for row in rows] == [
        *(("equal images", 1), ("equal images", 64), ("equal time", 1), ("equal time", 64))
    ]
    assert rows[1]["images/s"] > 2 * rows[0]["images/s"]
    for row in rows:
        images = 128 if row["length"] == "equal images" else pytest.approx(0.02 * row["images/s"], abs=0.5)
        assert row["images"] == images and 0 <= row["accuracy"] <= 1 and row["learning rate"] == 0.02


def test_optimizers_schedules_and_regularisers_are_compared_with_the_same_start(tmp_path):
    run("optimisers", tmp_path)
    found = results(tmp_path)
    optimizers, schedules = by("optimizer", found["optimizers"]), by("schedule", found["schedules"])
    assert {name: row["learning rate"] for name, row in optimizers.items()} == RATES
    same = ("learning rate", "training loss", "test accuracy")
    assert [optimizers["momentum"][key] for key in same] == [schedules["constant"][key] for key in same]
    assert all(row["smallest eigenvalue"] < row["largest eigenvalue"] for row in optimizers.values())
    regularisers = by("regulariser", found["regularisers"])
    assert regularisers["dropout, every layer"]["training loss"] > regularisers["nothing"]["training loss"]


def test_gradients_explode_where_they_are_not_clipped(tmp_path):
    run("gradient_clipping", tmp_path)
    found = results(tmp_path)
    rows = {(row["gradients"], row["learning rate"]): row for row in found["all"]}
    assert rows["not clipped", 10]["stopped"] == 1 or rows["not clipped", 10]["largest norm"] > 1e6
    assert rows["clipped", 0.01]["largest norm"] < 1e3 and rows["clipped", 0.01]["stopped"] == 0
    assert [row["learning rate"] for row in found["same"]] == [found["best"][0]["learning rate"]] * 2


def test_networks_are_measured_with_and_without_every_augmentation(tmp_path):
    run("augmentation", tmp_path)
    found = results(tmp_path)
    ways = [(row["network"], row["tested with"]) for row in found["accuracy"]]
    assert ways[:2] == [("CNN", "itself"), ("CNN", "TTA")] and len(set(ways)) == 8
    attacked = by("model", found["attack"])
    plain, oblivious, adaptive = attacked.values()
    assert plain["accuracy under PGD"] <= plain["clean accuracy"]
    assert oblivious["clean accuracy"] == adaptive["clean accuracy"]
