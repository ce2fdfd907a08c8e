"""What hooks and loggers receive."""

import math
import sys
import types

import pytest
from PIL import Image
from test_own_data import Items
from toys import make, stream

from genlab.cli.main import main
from genlab.experiment import Experiment
from genlab.methods.likelihood.vae import VAEConfig
from genlab.reporting.loggers import LOGGERS
from genlab.run import Run
from genlab.training.loop import fit
from genlab.training.method import TrainOptions


class Memory:
    def __init__(self):
        self.rows, self.pictures, self.closed = [], [], 0

    def scalars(self, images, values):
        self.rows.append((images, values))

    def picture(self, images, name, picture):
        self.pictures.append((images, name, picture.size))

    def close(self):
        self.closed += 1


def test_hooks_with_a_third_parameter_receive_the_losses():
    found, plain = [], []

    class Bound:
        def hook(self, images, method, metrics):
            found.append((images, metrics))

    hooks = [(16, Bound().hook), (16, lambda images, method, also=3: plain.append(also))]
    fit(make("classifier cnn"), stream(8), TrainOptions(images=32), hooks=hooks)
    assert [images for images, _ in found] == [16, 32] and plain == [3, 3]
    assert all(math.isfinite(metrics["loss"]) and metrics.keys() == {"loss", "accuracy"} for _, metrics in found)


def test_a_logger_receives_scalars_pictures_and_results(tmp_path):
    memory = Memory()
    Experiment(VAEConfig(width=4), Items(), images=64, batch=8, log_every=16).run(
        tmp_path / "r", pictures=2, log=[memory]
    )
    rows = Run(tmp_path / "r").metrics()
    assert [images for images, _ in memory.rows] == [16, 32, 48, 64, 64] and memory.closed == 1
    assert all(values.items() <= row.items() for (_, values), row in zip(memory.rows, rows))
    assert memory.rows[-1][1] == {f"test {name}": value for name, value in Run(tmp_path / "r").results().items()}
    assert {(images, name) for images, name, _ in memory.pictures} >= {(32, "samples"), (64, "samples")}


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_trackers_are_told_the_options_and_continue(name, tmp_path, monkeypatch):
    calls = []
    fake = types.ModuleType(name)
    fake.init = lambda **how: calls.append(("init", how))
    fake.log = lambda values, step: calls.append(("log", step, values))
    fake.Image, fake.finish = lambda picture: picture, lambda: calls.append(("finish",))
    monkeypatch.setitem(sys.modules, name, fake)
    Experiment(VAEConfig(width=4), Items(), images=32, batch=8).run(tmp_path / "r", log=[name])
    how = calls[0][1]
    assert how["config"]["options.width"] == 4 and how["resume"] == "allow" and how["name"] == "r"
    assert calls[-1] == ("finish",) and any(isinstance(v, Image.Image) for c in calls[1:-1] for v in c[2].values())


def test_tensorboard_writes_its_files(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    Experiment(VAEConfig(width=4), Items(), images=32, batch=8, log_every=8).run(tmp_path / "r", log=["tensorboard"])
    events = EventAccumulator(str(tmp_path / "r" / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("kl")] == [8, 16, 24, 32]
    assert "samples" in events.Tags()["images"] and "config/text_summary" in events.Tags()["tensors"]


def test_a_log_that_is_unknown_or_not_installed_is_refused_before_any_work(monkeypatch, capsys):
    for name in LOGGERS:
        for module in ("torch.utils.tensorboard", "wandb", "trackio"):
            monkeypatch.setitem(sys.modules, module, None)
        assert main(["train", "vae", "--images", "8", "--log", name, "--out", "run"]) == 2
        err = capsys.readouterr().err
        assert f"pip install 'genlab[{name}]'" in err and err.count("\n") == 1
    assert main(["train", "vae", "--images", "8", "--log", "tensorbord", "--out", "run"]) == 2
    assert "did you mean 'tensorboard'" in capsys.readouterr().err
