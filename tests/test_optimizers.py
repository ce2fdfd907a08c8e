"""Optimizers, learning-rate schedules and penalties, against torch's own and closed forms."""

import itertools
from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adagrad, Adam, AdamW, RMSprop
from torch.optim.lr_scheduler import ReduceLROnPlateau
from toys import SHAPE, images, stream

from genlab.cli.main import main
from genlab.core import distributed
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.run import Run
from genlab.training.hooks import EarlyStopping
from genlab.training.loop import fit
from genlab.training.method import Method, TrainOptions
from genlab.training.optim import RATES, OptimizerName, OptimizerOptions, by_name
from genlab.training.schedules import ScheduleName
from genlab.training.update import Update

NAMES = get_args(OptimizerName)
THEIRS = {
    "sgd": SGD,
    "momentum": lambda *p, **how: SGD(*p, momentum=0.9, nesterov=True, **how),
    "adagrad": Adagrad,
    "rmsprop": RMSprop,
    "adam": Adam,
    "adamw": AdamW,
}


class Bowl(Method):
    """Descends (w - centre)² / 2 of weights (3,)."""

    def __init__(self, centre, **options):
        super().__init__()
        self.w, self.options = nn.Parameter(torch.ones(3)), OptimizerOptions(**options)
        self.centre = torch.tensor(centre)

    def optimizers(self):
        return {"w": self.options.make_optimizer(self)}

    def step(self, data, update):
        next(data)
        loss = 0.5 * (self.w - self.centre).square().sum()
        update("w", loss)
        return {"loss": loss}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "rmsprop"])  # has a bias correction: test_gan.py
def test_optimizers_by_name_are_those_of_torch(name):
    assert set(RATES) == set(THEIRS) == set(NAMES)
    ours, theirs = (nn.Linear(3, 2) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    how = {"lr": 0.1, "weight_decay": 0.1}
    steps = by_name(name, ours, **how), THEIRS[name](theirs.parameters(), fused=True, **how)
    for x in torch.randn(4, 5, 3):
        for net, optimizer in zip((ours, theirs), steps):
            optimizer.zero_grad()
            net(x).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


@pytest.mark.parametrize("name", NAMES)
def test_the_usual_rate_of_every_optimizer_finds_the_minimum_and_l1_shrinks_it(name):
    rate = {"adagrad": 0.5, "rmsprop": 0.01, "adam": 0.02, "adamw": 0.02}.get(name)
    bowl, data = Bowl([2.0, -1.0, 0.2], optimizer=name, lr=rate, l1=0.5), itertools.repeat(None)
    update = Update(bowl.optimizers())
    for _ in range(300):
        bowl.step(data, update)
    shrunk = torch.tensor([1.5, -0.5, 0.0])  # soft thresholding
    torch.testing.assert_close(bowl.w.detach(), shrunk, atol=0.12, rtol=0)


def test_l1_is_added_to_the_gradients_after_clipping():
    bowl = Bowl([5.0, 0.0, 0.0], optimizer="sgd", lr=1.0, l1=0.25)
    bowl.w.data = torch.tensor([2.0, -3.0, 0.0])
    Update(bowl.optimizers(), clip=1e-9)("w", bowl.w.square().sum())
    torch.testing.assert_close(bowl.w.detach(), torch.tensor([1.75, -2.75, 0.0]))


def test_a_method_has_its_own_usual_rates():
    assert ClassifierConfig().learning_rate == 0.05 and ClassifierConfig(optimizer="adam").learning_rate == 1e-3
    assert ClassifierConfig(lr=0.3).learning_rate == 0.3


def test_falling_schedules():
    step, exponential = (TrainOptions(schedule=name, lr_decay=0.2) for name in ("step", "exponential"))
    assert [step.learning_rate(p) for p in (0, 0.49, 0.5, 0.75, 1)] == pytest.approx([1, 1, 0.2, 0.04, 0.04])
    assert [exponential.learning_rate(p) for p in (0, 0.5, 1)] == pytest.approx([1, 0.2**0.5, 0.2])
    for name in get_args(ScheduleName):
        how = TrainOptions(schedule=name, best_by="min:loss")
        assert how.learning_rate(0) == 1 and how.learning_rate(0.4) >= how.learning_rate(0.9) >= 0


def test_plateaus_are_those_of_torch():
    values = torch.randn(60, generator=torch.Generator().manual_seed(0)).cumsum(0).tolist()
    ours = EarlyStopping(lambda method: values[method], None, False, plateau=3, decay=0.5)
    theirs = SGD([nn.Parameter(torch.zeros(1))], 1.0)
    scheduler = ReduceLROnPlateau(theirs, factor=0.5, patience=2, threshold=0.0, eps=0.0)
    ours.images = 0
    for i, value in enumerate(values):
        ours(i, _Numbered(i))
        scheduler.step(value)
        assert ours.rate_factor == pytest.approx(theirs.param_groups[0]["lr"])
    assert ours.rate_factor < 0.1


class _Numbered(int):
    """An index that stands for a method."""

    def state_dict(self):
        return {}


def plateau():
    """Never improves after the first call."""
    return EarlyStopping(lambda method: 0.0, None, plateau=2, decay=0.5)


def test_rates_drop_on_a_plateau():
    seen, hook = [], plateau()
    bowl = Bowl([0.0] * 3, optimizer="sgd", lr=0.1)
    how = TrainOptions(72, 8, schedule="plateau", best_by="max:none")
    optimizers = bowl.optimizers()
    bowl.optimizers = lambda: optimizers
    note = lambda images, method: seen.append(optimizers["w"].param_groups[0]["lr"])
    fit(bowl, stream(8), how, hooks=[(8, note), (8, hook)])  # the hook is first called after the first step
    assert seen == pytest.approx([0.1] * 3 + [0.05] * 2 + [0.025] * 2 + [0.0125] * 2)
    with pytest.raises(ValueError, match="EarlyStopping with a plateau"):
        fit(bowl, stream(8), how, hooks=[(8, EarlyStopping(lambda method: 0.0))])


def test_all_ranks_have_the_rates_of_the_first(monkeypatch):
    of_first = lambda value: 0.25 if value == 1.0 else value  # there the rates have dropped
    monkeypatch.setattr(distributed, "broadcast_object", of_first)
    bowl, hook = Bowl([0.0] * 3, optimizer="sgd", lr=1.0), plateau()
    optimizers = bowl.optimizers()
    bowl.optimizers = lambda: optimizers
    fit(bowl, stream(8), TrainOptions(16, 8, schedule="plateau", best_by="max:none"), hooks=[(8, hook)])
    assert optimizers["w"].param_groups[0]["lr"] == hook.rate_factor == 0.25


@pytest.mark.parametrize("name", NAMES)
def test_resuming_is_exact_with_every_optimizer_and_on_a_plateau(name, tmp_path):
    config = ClassifierConfig("mlp", 8, optimizer=name, l1=1e-3)
    how = TrainOptions(96, 8, schedule="plateau", best_by="max:none", save_every=40, clip=1.0)

    def trained(out, images):
        torch.manual_seed(0)
        method, hook = config.build(SHAPE, 3), plateau()
        fit(method, stream(8), replace(how, images=images), run=Run.create(out, {}), hooks=[(8, hook)])
        return method.state_dict(), hook.rate_factor

    whole = trained(tmp_path / "a", 96)
    trained(tmp_path / "b", 48)
    rest = trained(tmp_path / "b", 96)
    assert whole[1] == rest[1] == 0.5**5
    assert all(torch.equal(whole[0][key], rest[0][key]) for key in whole[0])


def test_an_optimizer_state_of_another_kind_is_refused(tmp_path):
    data = images(16)
    train = lambda name, n: fit(
        ClassifierConfig("mlp", 8, optimizer=name).build(SHAPE, 3),
        data,
        TrainOptions(n, 8),
        run=Run.create(tmp_path, {}),
    )
    train("adagrad", 16)
    with pytest.raises(ValueError, match="optimizer net .* does not fit"):
        train("momentum", 32)


REFUSED = {
    "--schedule plateau": "--schedule plateau needs --best-by",
    "--lr-decay 1": "--lr-decay must be above 0 and below 1, got 1.0",
    "--l1 -1": "--l1 must be at least 0",
    "--patience 3": "--patience needs --best-by",
    "--best-by max:accuracy": "--hold-out",
    "--schedule plateau --best-by max:accuracy --patience 2": "must be above --plateau-patience 2",
    "--plateau-patience 0": "--plateau-patience must be at least 1",
    "--dropout-in blocks": "--dropout-in blocks needs the probability --dropout",
    "--loss hinge --smoothing 0.1": "--smoothing belongs to the cross-entropy",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_does_not_fit_gets_one_sentence(words, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", "classifier", *words.split(), "--out", str(out)]) == 2
    complaint = " ".join(capsys.readouterr().err.split())
    assert REFUSED[words] in complaint and "Traceback" not in complaint and not out.exists()
