"""`genlab resume`, and what `genlab train` takes besides the options of a method."""

import pytest
import torch
from test_own_data import Items

from genlab.cli.main import main
from genlab.core import distributed
from genlab.experiment import Experiment
from genlab.loading import load
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.run import Run

TRAIN = ["train", "classifier", "--width", "4", "--batch", "16"]


def refused(words, capsys):
    capsys.readouterr()
    assert main(words) == 2
    err = capsys.readouterr().err
    assert err.startswith("genlab: ") and err.count("\n") == 1
    return err


def same(a, b):
    a, b = load(a).state_dict(), load(b).state_dict()
    return all(torch.equal(a[name], b[name]) for name in a)


def test_resume_goes_on_with_the_runs_own_options(capsys):
    own = [*TRAIN, "--lr", "0.1", "--schedule", "constant"]
    for words in ([*own, "--out", "whole"], [*own, "--out", "part", "--images", "32"], ["resume", "part"]):
        assert main(words if "32" in words else [*words, "--images", "64"]) == 0
    assert same("whole", "part")
    assert "has seen 64 images" in refused(["resume", "part"], capsys)
    assert "above that" in refused(["resume", "part", "--images", "10"], capsys)
    assert "is not a run" in refused(["resume", "nothing"], capsys)
    assert "give one of them" in refused(["resume", "part", "--images", "99", "--epochs", "1"], capsys)


def test_a_saved_configuration_starts_another_run(capsys, tmp_path):
    assert main([*TRAIN, "--seed", "3", "--flip", "--images", "32", "--out", "first"]) == 0
    assert main(["train", "classifier", "--config", "first/config.json", "--out", "second"]) == 0
    assert same("first", "second") and Run("first").experiment == Run("second").experiment
    assert main(["train", "classifier", "--config=first", "--seed", "4", "--out", "third"]) == 0
    third = Run("third").experiment
    assert third["training"]["seed"] == 4 and third["data"]["augment"]["flip"] and third["options"]["width"] == 4
    assert "is not of the method gan" in refused(["train", "gan", "--config", "first", "--out", "x"], capsys)
    assert ". is not a run" in refused(["train", "classifier", "--config", "", "--out", "x"], capsys)
    last = ["train", "classifier", "--config", "first", "--config", "nothing.json", "--out", "x"]
    assert "nothing.json" in refused(last, capsys)  # as of any option, the last one counts
    assert "nothing.json" in refused(["train", "classifier", "--config", "nothing.json", "--out", "x"], capsys)


def test_epochs_are_passes_over_the_training_images(capsys):
    assert main([*TRAIN, "--epochs", "0.05", "--out", "run"]) == 0
    assert Run("run").experiment["training"]["images"] == 72  # of 1,437
    assert Experiment(ClassifierConfig(), Items(), epochs=2).training.images == 174
    assert "epochs" in refused([*TRAIN, "--epochs", "-1", "--out", "x"], capsys)
    assert "give one of them" in refused([*TRAIN, "--epochs", "1", "--images", "5", "--out", "x"], capsys)


DRY = (
    ["classifier", "--hold-out", "--best-by", "max:accuracy"],
    ["vae", "--half-life", "9"],
    ["cyclegan", "--data", "unpaired:digits,night:digits", "--width", "4"],
)


@pytest.mark.parametrize("words", DRY, ids=lambda words: words[0])
def test_a_dry_run_takes_two_steps_of_everything_and_keeps_nothing(words, tmp_path, monkeypatch, capsys):
    steps, reports = [], []
    run = Experiment.run

    def watched(experiment, out, **how):
        method = run(experiment, out, **how)
        steps.append(Run(out).seen())
        reports.append(sorted(path.name for path in out.iterdir()))
        return method

    monkeypatch.setattr(Experiment, "run", watched)
    assert main(["train", *words, "--batch", "8", "--out", "run", "--dry-run"]) == 0
    assert steps == [8, 16] and not (tmp_path / "run").exists()
    assert {"report.html", "results.json", "checkpoints", "metrics.jsonl"} <= set(reports[-1])
    assert "nothing was kept" in capsys.readouterr().out


def test_the_device_is_chosen_by_name(capsys):
    with distributed.on("cpu"):
        assert distributed.device() == torch.device("cpu")
    assert main([*TRAIN, "--images", "16", "--device", "cpu", "--out", "run"]) == 0
    for name in ("cuda:99", "tpu", "cpu:1", "cuda:x"):
        err = refused([*TRAIN, "--device", name, "--out", "x"], capsys)
        assert "--device must be one of those of this machine, cpu" in err and f"got {name!r}" in err
