"""Score-based and decision-based attacks: near known optima, no gradient asked for, and not one query too many."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor, nn

import genlab
from attacks.core import random as noise
from attacks.core.ball import L1, L2, Ball, Linf
from attacks.core.model import Attack
from attacks.evaluation.crafting import Counter
from attacks.evaluation.evaluate import EvaluationOptions, evaluate
from attacks.hopskipjump import HopSkipJump, HopSkipJumpLinf
from attacks.pgd import PGD
from attacks.spsa import NES, SPSA
from attacks.square import Square, hill, pair
from attacks.surrogate import Surrogate, Transfer, query_labels
from genlab.methods.classification.classifier import ClassifierConfig

MLP = ClassifierConfig(net="mlp").build

QUERY: list[Attack] = [
    SPSA(Linf(0.1), queries=100, samples=4),
    NES(Linf(0.1), queries=100, samples=4),
    Square(Linf(0.1), queries=100),
    Square(L2(0.5), queries=100),
    HopSkipJump(queries=150, initial_probes=10),
    HopSkipJumpLinf(queries=150, initial_probes=10),
]


class Plane(nn.Module):
    """Two classes split by a plane with a smooth normal; counts every example that passes."""

    def __init__(self, side: int = 8) -> None:
        super().__init__()
        ramp = torch.linspace(-1, 1, side)
        self.w = nn.Parameter((1.5 + ramp[:, None] + 0.4 * ramp).flatten() / side)
        self.seen = list[Tensor]()

    def score(self, x: Tensor) -> Tensor:
        return (x.double() - 0.5).flatten(1) @ self.w.double() + 0.1

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach())
        s = self.score(x)
        return torch.stack([-s, s], 1)

    def best(self, x: Tensor, norm: type[Ball]) -> Tensor:
        return self.score(x).abs() / self.w.double().norm(p=1 if norm is Linf else 2)


class Wall(Plane):
    """Everything is class 0, whatever the image: no attack can succeed."""

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach())
        lift = x.double().flatten(1).mean(1)
        return torch.stack([5 + lift, lift * 2, -lift], 1)


def plane(n: int = 6) -> tuple[Plane, Tensor, Tensor]:
    model = Plane()
    x = 0.5 + 0.05 * torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return model, x, model(x).argmax(1)


@pytest.mark.parametrize("norm", [Linf, L2])
@pytest.mark.parametrize("kind", [SPSA, NES, Square])
def test_crosses_a_plane_with_a_budget_just_above_the_optimum_and_not_below(kind, norm: type[Ball]) -> None:
    model, x, _ = plane(3)
    score = model.score(x)
    shift = score.sign() * score.abs().mean() - score  # which puts all of them equally far from the plane
    x = (x + shift.view(-1, 1, 1, 1) * (model.w / model.w.square().sum()).view(1, 1, 8, 8)).float()
    y, best = model(x).argmax(1), model.best(x, norm)
    above_best = 1.5 if (kind, norm) == (Square, L2) else 1.2  # hills add up to a smooth normal only roughly
    above = kind(norm(above_best * best.max().item()), queries=1000 if kind is Square else 3000)(model, x, y)
    few = {"queries": 200} if kind is Square else {"queries": 200, "samples": 16}
    below = kind(norm(0.95 * best.min().item()), **few)(model, x, y)
    assert (model(above).argmax(1) != y).all() and (model(below).argmax(1) == y).all()


@pytest.mark.parametrize(("attack", "norm"), [(HopSkipJump(), L2), (HopSkipJumpLinf(), Linf)])
def test_answers_alone_lead_close_to_the_nearest_point_of_a_plane(attack: Attack, norm: type[Ball]) -> None:
    model, x, y = plane()
    adv = attack(model, x, y)
    ratio = norm(0).size(adv.double() - x) / model.best(x, norm)
    assert (model(adv).argmax(1) != y).all() and (ratio > 0.999).all() and ratio.median() < 1.15, ratio


@pytest.mark.parametrize("attack", QUERY, ids=repr)
def test_no_gradient_is_asked_for_and_a_model_without_one_will_do(attack: Attack) -> None:
    model, x, y = plane()
    counter = Counter(model)
    adv = attack(counter, x, y)
    assert counter.backwards == 0 and counter.forwards > 0
    assert torch.equal(adv, attack(torch.no_grad()(model.forward), x, y))


@pytest.mark.parametrize("attack", QUERY, ids=repr)
def test_only_images_are_asked_about_and_no_example_costs_more_than_its_budget(attack: Attack) -> None:
    for model, x, y in (plane(), (Wall(), plane()[1], torch.zeros(6, dtype=torch.long))):
        for i in range(len(x)):
            model.seen.clear()
            attack(model, x[i : i + 1], y[i : i + 1])
            assert 1 <= sum(map(len, model.seen)) <= attack.queries  # type: ignore[attr-defined]
            assert all(0 <= v.min() and v.max() <= 1 for v in model.seen)


def test_what_is_never_fooled_costs_what_the_docstrings_say() -> None:
    _, x, _ = plane()
    y = torch.zeros(6, dtype=torch.long)
    expected = {
        SPSA(Linf(0.1), queries=100, samples=4): 1 + 11 * 9,
        NES(L2(0.1), queries=99, samples=4): 1 + 10 * 9,
        Square(Linf(0.1), queries=37): 37,
        HopSkipJump(queries=150, tries=20): 1 + 20,
        HopSkipJump(queries=15, tries=20): 15,
    }
    for attack, queries in expected.items():
        counter = Counter(Wall())
        adv = attack(counter, x, y)
        assert counter.forwards == len(x) * queries, attack
        assert not isinstance(attack, HopSkipJump) or torch.equal(adv, x)


def test_queries_of_hopskipjump_are_its_start_its_probes_its_steps_and_its_bisections() -> None:
    model, x, y = plane(1)
    model.seen.clear()
    HopSkipJump(queries=600, initial_probes=40)(model, x, y)
    sizes = [len(v) for v in model.seen]
    rounds, probes = 9, [40, 56, 69, 80, 89, 97, 105]  # 64 pixels: 1.5 * 6 rounds
    begun = [size for size in sizes if size > 1]
    shown = [part for p in probes for part in ([50] * (p // 50) + [p % 50])]
    assert begun == shown[: len(begun)] and sum(sizes) <= 600
    singles = len(sizes) - len(begun)  # the original, the start, the steps, and the bisections
    iterations = sum(p <= sum(begun) for p in torch.tensor(probes).cumsum(0))
    assert singles >= 2 + rounds + iterations * (1 + rounds)
    assert sum(sizes) > 600 - (probes[iterations] + 1 + rounds)  # nothing affordable was left undone


@pytest.mark.parametrize("attack", QUERY, ids=repr)
def test_what_is_finished_asks_no_more(attack: Attack) -> None:
    model, x, y = plane()
    wrong = 1 - y
    counter = Counter(model)
    assert torch.equal(attack(counter, x, wrong), x) and counter.forwards == len(x)
    if not isinstance(attack, HopSkipJump):
        counter = Counter(model)
        type(attack)(attack.at(0.5).ball, queries=1000)(counter, x, y)  # type: ignore[attr-defined, call-arg]
        assert counter.forwards < 800 * len(x)


def test_the_evaluator_counts_queries_and_gives_the_same_verdicts_in_any_batches() -> None:
    model, x, y = plane(12)
    attacks = {"square": Square(Linf(0.05), queries=60), "nes": NES(Linf(0.05), queries=60, samples=4)}
    found = [evaluate({"m": model}, attacks, x, y, options=EvaluationOptions(batch=size)).rows for size in (5, 12)]
    assert [(r.success, r.forwards, r.backwards) for r in found[0]] == [
        (r.success, r.forwards, r.backwards) for r in found[1]
    ]
    assert all(r.backwards == 0 and r.forwards <= 60 for r in found[0])


def test_targets_are_reached() -> None:
    model, x, _ = plane()
    for target in (0, 1):
        y = torch.full((6,), target)
        for kind in (SPSA, NES, Square):
            for ball in (Linf(0.2), L2(1.5)):
                assert (model(kind(ball, queries=2000, targeted=True)(model, x, y)).argmax(1) == y).all(), (kind, ball)


def test_hills_grow_towards_the_middle_and_a_pair_is_of_two_of_equal_length() -> None:
    h = hill(5, 5)
    assert h.argmax() == 12 and torch.equal(h, h.T) and torch.equal(h, h.flip(0)) and (h > 0).all()
    for side, order in product((3, 4, 5, 9), (1, 2)):
        p = pair(side, order)
        assert p.shape == (side, side) and abs(p.norm(order) - 1) < 1e-6 and p.min() < 0 < p.max()
        torch.testing.assert_close(p.clamp_min(0).norm(order), p.clamp_max(0).norm(order))


@pytest.mark.parametrize("ball", [L2(2.0), L1(8.0)], ids=["L2", "L1"])
def test_squares_of_moved_mass_are_odd_and_the_search_starts_at_the_rim_of_the_ball(ball: Ball) -> None:
    attack, x = Square(ball, queries=5000), torch.full((2, 1, 28, 28), 0.5)
    sides = [attack._side(x, query) for query in range(2, 5000, 20)]
    assert {side % 2 for side in sides} == {1} and sides[0] > sides[-1] == 3
    assert ball.size(attack._start(x, noise.key(x, 0))) == pytest.approx(torch.full((2,), ball.eps), rel=1e-4)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SPSA(Linf(0.1), samples=0), "samples must be at least 1 .*, got 0"),
        (lambda: SPSA(Linf(0.1), queries=10), "queries must be at least .* 130, got 10"),
        (lambda: SPSA(Linf(0.1), sigma=-1.0), "sigma .* got -1.0"),
        (lambda: SPSA(Linf(0.1), step_size=0.0), "step_size .* got 0.0"),
        (lambda: NES(Linf(0.1), momentum=1.0), "momentum .* got 1.0"),
        (lambda: Square(Linf(0.1), queries=1), "queries must be at least 2 .*, got 1"),
        (lambda: Square(Linf(0.1), share=1.5), "share .* got 1.5"),
        (lambda: HopSkipJump(norm="l1"), "norm must be one of 'l2', 'linf', got 'l1'"),  # type: ignore[arg-type]
        (lambda: HopSkipJump(tries=0), "tries must be at least 1 .*, got 0"),
        (lambda: Surrogate(PGD(Linf(0.1)), MLP, learns="hearsay"), "learns must be one of .* got 'hearsay'"),  # type: ignore
        (lambda: Surrogate(PGD(Linf(0.1)), MLP, images=0), "images must be at least 1 .*, got 0"),
        (lambda: Surrogate(PGD(Linf(0.1)), "mlp"), "build must be callable, got 'mlp'"),  # type: ignore[arg-type]
    ],
)
def test_meaningless_settings_are_refused_by_name(build, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("learns", ["data", "queries"])
def test_a_proxy_learns_and_what_fools_it_fools_the_target_too(learns: str) -> None:
    data = genlab.DataOptions("digits")
    train, test = data.load("train"), data.load("test").subset(slice(0, 100))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        target = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).to(train.device)
    with torch.no_grad():  # the class means: a target of another kind than the surrogate, right on most digits
        means = torch.stack([train.x[train.labels == k].mean(0).flatten() for k in range(10)])
        target[1].weight.copy_(10 * means)
        target[1].bias.copy_(-5 * means.square().sum(1))
    asked = Counter(target)
    attack = Surrogate(PGD(Linf(0.3), steps=10), MLP, learns=learns, pairs=400, images=6000)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must be trained first"):
        attack(target, test.x, test.labels)
    ready = attack.prepare(asked, train)
    assert asked.forwards == (400 if learns == "queries" else 0) and asked.backwards == 0
    found = evaluate({"target": target}, {"surrogate": ready}, test.x, test.labels).rows
    assert found[0].forwards == found[0].backwards == 0 and found[0].eps == 0.3
    assert found[0].success.exceeds(found[1].success) and (found[0].success.value or 0) > 0.5
    agree = (query_labels(ready.surrogate, test).labels == query_labels(target, test).labels).float().mean()
    assert agree > 0.8
    assert ready.at(0.1).ball == Linf(0.1) and attack.at(0.1).inner == PGD(Linf(0.1), steps=10)


def test_a_transfer_looks_at_the_proxy_alone_and_promises_what_the_inner_attack_promises() -> None:
    model, x, y = plane()
    counter, surrogate = Counter(Wall()), Counter(model)
    adv = Transfer(PGD(Linf(0.1), steps=3), surrogate)(counter, x, y)
    assert torch.equal(adv, PGD(Linf(0.1), steps=3)(model, x, y)) and counter.forwards == 0 < surrogate.backwards
    assert Transfer(HopSkipJump(), surrogate).ball is None
