"""Smallest distances met during a search, and AttackBench's optimality of them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from toys import Net, attacked_images

from attacks.core.minimal import size
from attacks.ddn import DDN
from attacks.evaluation.distances import (
    aurec,
    best_of,
    local_optimality,
    optimality,
    robustness_curve,
    smallest_distances,
)
from attacks.minimal import Minimal
from attacks.pdgd import PDPGD
from attacks.pgd import FGSM


def some_distances() -> tuple[torch.Tensor, torch.Tensor]:
    """Of two attacks on 200 images: a tenth wrong from the start, another tenth never fooled by the first."""
    both = torch.rand(2, 200, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.1
    both[:, :20], both[0, 20:40] = 0.0, math.inf
    return both[0], both[1]


def test_the_area_is_the_exact_integral_of_the_steps() -> None:
    distance = torch.tensor([0.0, 0.5, 0.25, math.inf])
    assert aurec(distance, 0.5) == pytest.approx(0.25 * 0.75 + 0.25 * 0.5)
    xs, ys = robustness_curve(distance, 0.4)
    assert (xs, ys) == ([0.0, 0.0, 0.0, 0.25, 0.25, 0.4], [1.0, 1.0, 0.75, 0.75, 0.5, 0.5])
    area = sum((b - a) * y for a, b, y in zip(xs, xs[1:], ys))
    assert area == pytest.approx(aurec(distance, 0.4))


def test_optimality_is_one_for_the_best_of_all_and_nought_for_an_attack_that_finds_nothing() -> None:
    first, second = some_distances()
    best = best_of([first, second])
    assert local_optimality(best, best) == 1.0
    assert local_optimality(torch.where(best > 0, math.inf, 0.0), best) == pytest.approx(0.0, abs=1e-12)
    scores = optimality({"a": {"first": first, "second": second}, "b": {"first": best, "second": second}})
    assert scores["first"]["b"] == 1.0 and scores["first"]["global"] == (scores["first"]["a"] + 1) / 2
    assert math.isnan(local_optimality(torch.full((3,), math.inf), torch.full((3,), math.inf)))


def test_optimality_agrees_with_attackbench() -> None:
    theirs = pytest.importorskip("attackbench.metrics.distances")
    first, second = some_distances()
    best = best_of([first, second])
    for distance in (first, second, best):
        expected = theirs.eval_optimality(distance.numpy(), best.numpy(), 0.9)
        assert local_optimality(distance, best, 0.9) == pytest.approx(expected, abs=1e-9)
    assert aurec(first, 0.7) == pytest.approx(theirs._aurec(first.numpy(), 0.7, 200), abs=1e-9)


def test_the_distance_of_a_minimal_attack_is_what_it_met_and_images_that_are_wrong_count_as_nought() -> None:
    net, x = Net().eval(), attacked_images(12)
    y = net(x).argmax(1)
    y[::4] = (y[::4] + 1) % 4
    attack = DDN(steps=30)
    found = smallest_distances(attack, net, x, y, "l2", batch=5)
    returned = size(attack(net, x, y) - x, "l2")
    assert found.correct == 0.75 and (found.distance[::4] == 0).all()
    assert (found.distance <= returned + 1e-6).all() and (found.distance >= 0.5 * returned).all()
    assert 20 < found.backwards < found.forwards


def test_what_is_met_after_the_budget_does_not_count() -> None:
    net, x = Net().eval(), attacked_images(6)
    y = net(x).argmax(1)
    early, late = (smallest_distances(DDN(steps=40), net, x, y, "l2", budget) for budget in (3, 200))
    assert early.distance.isinf().sum() > 0 and late.distance.isfinite().all()
    fgsm = smallest_distances(FGSM(0.5), net, x, y, "linf")
    assert fgsm.distance.isinf().all() and fgsm.forwards == 1  # it never shows the model what it returns


@pytest.mark.parametrize("norm", ["l0", "l1", "l2", "linf"])
def test_a_composite_keeps_to_its_budget(norm: str) -> None:
    g = torch.Generator().manual_seed(0)
    net, weights, x = nn.Linear(40, 4), torch.randn(4, 40, generator=g), 0.45 + 0.1 * torch.rand(3, 40, generator=g)
    net.load_state_dict({"weight": weights, "bias": torch.tensor([6.0, 0, 0, 0]) - weights.sum(1) / 2})
    for passes in (100, 300, 1000):
        attack = Minimal(norm=norm, passes=passes)  # type: ignore[arg-type]
        found = smallest_distances(attack, net, x, net(x).argmax(1), norm, math.inf)  # type: ignore[arg-type]
        assert found.forwards + found.backwards <= passes


@pytest.mark.parametrize("norm", ["l0", "l1", "l2", "linf"])
def test_a_composite_beats_a_single_search(norm: str) -> None:
    net, x = Net().eval(), attacked_images(8)
    y = net(x).argmax(1)
    found = smallest_distances(Minimal(norm=norm, passes=300), net, x, y, norm, 300)  # type: ignore[arg-type]
    assert found.distance.isfinite().all()
    single = smallest_distances(PDPGD(norm=norm, steps=130), net, x, y, norm, 300)  # type: ignore[arg-type]
    assert found.distance.double().mean() <= 1.1 * single.distance.double().mean()
