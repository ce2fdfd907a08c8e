"""Universal perturbations: closed form on a linear model, in the ball after every update, better than noise."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import genlab
from attacks import universal_method
from attacks.core.ball import L2, Ball, Linf
from attacks.core.model import Attack, TrainedAttack, victim
from attacks.evaluation.crafting import Counter
from attacks.evaluation.evaluate import evaluate
from attacks.universal import (
    FixedPerturbation,
    PerImagePerturbation,
    Universal,
    UniversalCount,
    UniversalGenerator,
    UniversalGradient,
    UniversalTargeted,
)
from attacks.universal_method import Delta, PerturbationGenerator, PerturbationTraining, negative_margin
from genlab.data import Images, Stream
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.training.loop import fit
from genlab.training.method import TrainOptions
from genlab.training.update import Update

BALLS: list[Ball] = [Linf(0.1), L2(0.6)]
FORMS: list[TrainedAttack] = [
    Universal(Linf(0.1), images=20, epochs=2),
    UniversalGradient(Linf(0.1), images=400, batch=20),
    UniversalTargeted(Linf(0.1), images=400, batch=20),
    UniversalCount(Linf(0.1), images=400, batch=20),
    UniversalGenerator(Linf(0.1), images=400, batch=20, width=4),
    UniversalGenerator(Linf(0.1), images=400, batch=20, width=4, per_image=True),
]
every_form = pytest.mark.parametrize("form", FORMS, ids=repr)


class Plane(nn.Module):
    """Two classes split by a plane; every pixel is far enough from black and white for any delta of this file."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.linspace(-1, 2, 64) / 16)

    def forward(self, x: Tensor) -> Tensor:
        s = (x - 0.5).flatten(1) @ self.w + 0.25
        return torch.stack([-s, s], 1)


def images(n: int = 60) -> Images:
    """Of class 1 alone, all of them."""
    pixels = torch.randint(115, 141, (n, 1, 8, 8), generator=torch.Generator().manual_seed(0)).byte()
    return Images(pixels, torch.ones(n, dtype=torch.int64), ("0", "1"), "grey")


@pytest.mark.parametrize("kind", [UniversalGradient, Universal])
def test_on_a_plane_and_one_class_it_is_eps_times_the_signs_of_the_normal(kind: type[TrainedAttack]) -> None:
    model, data = Plane(), images()
    options = {} if kind is Universal else {"images": 3000, "batch": 30, "limit": 1e9}
    ready = kind(Linf(0.1), **options).prepare(model, data)
    assert isinstance(ready, FixedPerturbation) and ready.delta.abs().max() <= 0.1
    if kind is UniversalGradient:
        assert torch.allclose(ready.delta.flatten(), -0.1 * model.w.sign())
    assert (model(ready(model, data.x, data.labels)).argmax(1) == 0).all()
    pull = (ready.delta.flatten() @ model.w) / (-0.1 * model.w.abs().sum())
    assert pull > 0.7


def test_it_aims_at_the_class_that_is_easiest_to_reach_or_at_the_one_that_is_asked_for() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    pattern = torch.randn(64, generator=torch.Generator().manual_seed(1)).sign()
    with torch.no_grad():
        model[1].weight.zero_()[2], model[1].bias[:] = pattern, torch.tensor([0.5, 1.0, 0.0, -9.0])
        model[1].bias[2] = -0.5 * pattern.sum()  # grey is of class 1, and 6.4 away from class 2
    data = replace(images(), classes=tuple("abcd"))
    form = UniversalTargeted(Linf(0.1), images=1000, batch=20)
    assert form.best_target(model, data) == 2
    ready = form.prepare(model, data)
    assert torch.allclose(ready.delta.flatten(), 0.1 * pattern) and repr(form) == repr(replace(form))
    assert (model(ready(model, data.x, data.labels)).argmax(1) == 2).all()
    lost = replace(form, target=3).prepare(model, data)
    assert not (model(lost(model, data.x, data.labels)).argmax(1) == 3).any()
    with pytest.raises(ValueError, match="4"):
        replace(form, target=4).prepare(model, data)


def test_what_one_class_cannot_have_the_count_gives_to_another() -> None:
    """Images of class 0, bright above, can only be taken for class 2, by a pattern on the left; those of 1 for 3."""
    left = torch.zeros(8, 8)
    left[1:, :4] = 1.0
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4)).requires_grad_(False)
    with torch.no_grad():
        above = torch.zeros(8, 8)
        above[0] = 1 / 8  # +-0.4 around grey
        weight = torch.stack([25 * above, -25 * above, 8 * left + 50 * above, 8 * left.flip(1) - 50 * above])
        model[1].weight.copy_(weight.flatten(1))
        model[1].bias.copy_(-0.5 * weight.sum((1, 2)) - torch.tensor([0.0, 0.0, 21.0, 21.0]))
        for values in model.parameters():
            values *= 0.02  # nobody is so sure that the count has no slope
    pixels, labels = torch.full((60, 1, 8, 8), 128).byte(), torch.arange(60) % 2
    pixels[:, 0, 0] = (230 - 204 * labels[:, None]).byte()
    data = Images(pixels, labels, tuple("abcd"), "halves")
    assert (model(data.x).argmax(1) == labels).all()
    ball, how = Linf(0.1), {"images": 2000, "batch": 20}
    for kind, share in ((UniversalTargeted, 0.5), (UniversalCount, 1.0)):
        ready = kind(ball, **how).prepare(model, data)
        assert (model(ready(model, data.x, labels)).argmax(1) != labels).float().mean() == share, kind


def test_in_l2_it_points_along_the_normal() -> None:
    model, data = Plane(), images()
    for form in (UniversalGradient(L2(0.6), images=6000, batch=30, limit=1e9), Universal(L2(0.6))):
        delta = form.prepare(model, data).delta.flatten()  # type: ignore[union-attr]
        cosine = -(delta @ model.w) / delta.norm() / model.w.norm()
        assert cosine > 0.8 and delta.norm() <= 0.6 + 1e-6, (form, cosine)


@pytest.mark.parametrize("ball", BALLS, ids=repr)
def test_the_ball_holds_before_training_and_after_every_update(ball: Ball, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = list[float]()
    step = PerturbationTraining.step

    def watched(self, data, update):  # type: ignore[no-untyped-def]
        def measure() -> None:
            shown = self.net.pattern if isinstance(self.net, PerturbationGenerator) else data.source.x[:1]
            sizes.append(ball.size(self.net(shown, ball)).max().item())

        if not sizes:
            measure()
        metrics = step(self, data, update)
        measure()
        return metrics

    monkeypatch.setattr(universal_method.PerturbationTraining, "step", watched)
    for form in (UniversalGradient(ball, images=400, batch=20, lr=0.7), UniversalGenerator(ball, 400, 20, width=4)):
        sizes.clear()
        form.prepare(Plane(), images())
        assert len(sizes) == 21 and max(sizes) <= ball.eps + 1e-6 and max(sizes) > 0.5 * ball.eps


@every_form
def test_learning_leaves_the_model_as_it_was_and_repeats_itself(form: TrainedAttack) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(64, 2))
    model[3].bias.requires_grad_(False)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    data = images()
    x, y = data.x[:5], data.labels[:5]
    ready = [form.prepare(model, data) for _ in range(2)]
    assert torch.equal(ready[0](model, x, y), ready[1](model, x, y))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.training and all(m.training for m in model)
    assert [p.requires_grad for p in model.parameters()] == [True, True, True, False]
    assert all(p.grad is None for p in model.parameters())


@every_form
def test_without_learning_it_says_so_and_once_learnt_it_asks_nothing(form: TrainedAttack) -> None:
    model, data = Plane(), images()
    with pytest.raises(ValueError, match=f"{type(form).__name__} must be trained first: call prepare"):
        form(model, data.x, data.labels)
    counter = Counter(model)
    ready = form.prepare(counter, data)
    learning = counter.forwards
    ready(counter, data.x, data.labels)
    assert counter.forwards == learning > 0


def test_what_is_fixed_is_the_same_for_every_image_and_its_size_follows_eps() -> None:
    model, data = Plane(), images()
    for ball in BALLS:
        ready = UniversalGradient(ball, images=100, batch=20).prepare(model, data)
        d = ready(model, data.x, data.labels) - data.x
        assert torch.allclose(d, ready.delta.expand_as(d), atol=1e-6) and len(repr(ready)) < 80
        small = ready.at(ball.eps / 2)
        assert torch.allclose(small.delta, ready.delta / 2) and small.ball == ball.at(ball.eps / 2)
    with pytest.raises(ValueError, match="size 0.2"):
        FixedPerturbation(Linf(0.1), torch.full((1, 8, 8), 0.2))
    with pytest.raises(ValueError, match=r"\(1, 8, 8\), got \(1, 4, 4\)"):
        FixedPerturbation(Linf(0.1), torch.zeros(1, 8, 8))(nn.Flatten(), torch.rand(2, 1, 4, 4), torch.zeros(2).long())


def test_the_perturbation_is_all_that_is_trained() -> None:
    model, data = Plane(), images()
    with victim(model, data.x[:1], data.labels[:1]) as f:
        method = PerturbationTraining(Delta(Linf(0.1), data.shape, 0), f, Linf(0.1), 0.1, 9.0, negative_margin)
        assert [name for name, _ in method.named_parameters()] == ["net.delta"] and not list(method.buffers())
        metrics = method.step(Stream(data, 20), Update(method.optimizers()))
    assert set(metrics) == {"loss", "fooled"}


def test_a_trained_classifier_falls_to_each_form_far_more_often_than_to_noise() -> None:
    source = genlab.DataOptions("digits")
    train, test = source.load("train"), source.load("test").subset(slice(0, 200))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ClassifierConfig(net="mlp", width=64).build(train.shape, 10).to(train.device)
    fit(model, Stream(train, 50), TrainOptions(images=20_000, schedule="cosine"))
    ball = Linf(0.25)
    attacks: dict[str, Attack] = {
        "sum": Universal(ball, images=60, epochs=1),
        "descent": UniversalGradient(ball, images=3_000),
        "counted": UniversalCount(ball, images=2_000),
        "drawn": UniversalGenerator(ball, images=8_000, width=8),
        "per image": UniversalGenerator(ball, images=4_000, width=8, per_image=True),
    }
    rates = {r.attack: r.success for r in evaluate({"m": model}, attacks, test.x, test.labels, data=train).rows}
    control = rates.pop("noise-linf")
    assert all(rate.exceeds(control) for rate in rates.values()), rates
    assert (rates["descent"].value or 0) > 0.5 > 0.3 > (control.value or 0), rates


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Universal(Linf(0.1), images=0), "images must be at least 1 .*, got 0"),
        (lambda: Universal(Linf(0.1), fooling=0.0), r"fooling must be above 0 .*, got 0.0"),
        (lambda: UniversalGradient(Linf(0.1), batch=0), "batch must be at least 1 .*, got 0"),
        (lambda: UniversalGradient(Linf(0.1), lr=-1.0), "lr .* got -1.0"),
        (lambda: UniversalTargeted(Linf(0.1), target=-1), "target must be at least 0 .*, got -1"),
        (lambda: UniversalGenerator(Linf(0.1), width=0), "width must be at least 1 .*, got 0"),
    ],
)
def test_meaningless_settings_are_refused_by_name(build, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_an_answer_per_image_depends_on_that_image_alone() -> None:
    net = PerturbationGenerator((1, 8, 8), 4, True, 0)
    x = images(6).x
    whole = PerImagePerturbation(L2(0.5), net)(Plane(), x, torch.ones(6).long())
    one = PerImagePerturbation(L2(0.5), net)(Plane(), x[2:3], torch.ones(1).long())
    d = whole - x
    assert torch.allclose(whole[2:3], one, atol=1e-6) and not torch.allclose(d[1], d[2], atol=1e-3)
