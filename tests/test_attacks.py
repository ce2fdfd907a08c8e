"""The contract that every attack keeps, and closed forms that pin down the gradient attacks.

A new attack joins ATTACKS in toys.py and thereby gets every test of the contract.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from toys import ATTACKS, LEARNT, Calls, Line, Net, Nothing, Seen, batch
from toys import attacked_images as images

import attacks
from attacks import plugin
from attacks.core import random as noise
from attacks.core.ball import L1, L2, Ball, Linf
from attacks.core.model import Attack, victim
from attacks.evaluation.crafting import ball_of
from attacks.fab import FABT
from attacks.noise import RandomNoise
from attacks.one_pixel import OnePixel
from attacks.pgd import FGSM, IFGSM, MIFGSM, PGD
from attacks.spsa import SPSA
from attacks.square import Square
from attacks.transferable import Transferable

TARGETED = [a for a in ATTACKS if hasattr(a, "targeted")]
every_attack = pytest.mark.parametrize("attack", ATTACKS, ids=repr)


@cache
def outcome(attack: Attack) -> Tensor:
    """What the attack returns for `batch()`, in eval mode: run once for all tests, which leave it as it is."""
    return attack(*batch())


class Breaks(nn.Module):
    """A model that fails on its `after`-th pass."""

    def __init__(self, net: nn.Module, after: int) -> None:
        super().__init__()
        self.net, self.left = net, after

    def forward(self, x: Tensor) -> Tensor:
        self.left -= 1
        if self.left == 0:
            raise RuntimeError("broken")
        return self.net(x)


@every_attack
def test_output_is_a_new_detached_tensor_in_the_box_and_in_the_ball(attack: Attack) -> None:
    net, x, y = batch()
    for inputs in (x, x.double()):
        before = inputs.clone()
        adv = attack(net, inputs, y)
        assert adv.shape == x.shape and adv.dtype == inputs.dtype and not adv.requires_grad
        assert torch.equal(inputs, before) and adv.data_ptr() != inputs.data_ptr()
        assert adv.min() >= 0 and adv.max() <= 1 and not torch.equal(adv, inputs)
        ball: Ball | None = getattr(attack, "ball", None)
        if ball is not None:
            assert ball.size(adv.double() - inputs).max() <= ball.eps + 1e-6


def state(net: nn.Module) -> list[object]:
    flags: list[object] = [m.training for m in net.modules()]
    flags += [(p.requires_grad, None if p.grad is None else p.grad.tolist()) for p in net.parameters()]
    return [*flags, *(v.tolist() for v in net.state_dict().values())]


@every_attack
@pytest.mark.parametrize("training", [False, True])
def test_the_model_is_left_as_it_was_also_after_an_exception(attack: Attack, training: bool) -> None:
    net, x, y = batch()
    net.train(training)
    net.body[3].training = not training  # a submodule with a flag of its own
    net.body[0].bias.requires_grad_(False)
    net.body[0].weight.grad = torch.ones_like(net.body[0].weight)
    before = state(net)
    calls = Calls(net)
    assert torch.equal(attack(calls, x, y), outcome(attack))
    assert state(net) == before
    for after in range(1, min(3, len(calls.sizes)) + 1):
        with pytest.raises(RuntimeError, match="broken"):
            attack(Breaks(net, after), x, y)
        assert state(net) == before


@every_attack
def test_bad_input_is_refused(attack: Attack) -> None:
    net, x, y = batch()
    for value in (math.nan, math.inf, 1.1, -0.1):
        bad = x.clone()
        bad[3, 0, 0, 0] = value
        with pytest.raises(ValueError, match="nan" if math.isnan(value) else str(value)):
            attack(net, bad, y)
    with pytest.raises(ValueError, match="-1"):
        attack(net, x, y.index_fill(0, torch.tensor([2]), -1))
    with pytest.raises(ValueError, match="int32"):
        attack(net, x, y.int())
    with pytest.raises(ValueError, match="11"):
        attack(net, x, y[:11])
    with pytest.raises(ValueError, match="uint8"):
        attack(net, x.byte(), y)
    with pytest.raises(ValueError, match="x and y must be tensors, got list"):
        attack(net, x, y.tolist())
    if not isinstance(attack, (RandomNoise, *LEARNT)):  # which never ask the model how many classes there are
        with pytest.raises(ValueError, match="4"):
            attack(net, x, y.index_fill(0, torch.tensor([11]), 4))


@every_attack
def test_results_are_deterministic_and_work_under_no_grad_and_inference_mode(attack: Attack) -> None:
    net, x, y = batch()
    for mode in (torch.no_grad(), torch.inference_mode()):
        with mode:
            assert torch.equal(attack(net, x.clone(), y.clone()), outcome(attack))


@every_attack
def test_the_result_for_one_example_does_not_depend_on_its_batch(attack: Attack) -> None:
    net, x, y = batch()
    whole = outcome(attack)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(3))
    for rows in order.split(9):  # other places, other companions, other sizes
        assert torch.allclose(attack(net, x[rows], y[rows]), whole[rows], atol=1e-6)


@every_attack
def test_an_empty_batch_stays_empty(attack: Attack) -> None:
    net, x, y = batch()
    assert attack(net, x[:0], y[:0]).shape == (0, 2, 8, 8)


class Overwrites(nn.Module):
    """A model that leaves nothing of what it is given."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        logits = self.net(x.clone())
        x.fill_(0.5)
        return logits


@every_attack
def test_a_model_may_overwrite_what_it_is_given(attack: Attack) -> None:
    net, x, y = batch()
    before = x.clone()
    assert torch.equal(attack(Overwrites(net), x, y), outcome(attack)) and torch.equal(x, before)


@every_attack
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_the_box_the_ball_and_the_verdict(attack: Attack, dtype: torch.dtype) -> None:
    net, x = Net().eval(), images()[:6].to(dtype)
    model, y = Seen(net), Seen(net)(x).argmax(1)
    adv = attack(model, x, y)
    assert adv.dtype == dtype and adv.min() >= 0 and adv.max() <= 1 and not torch.equal(adv, x)
    assert all(part.dtype == dtype for part in model.shown)
    if (ball := ball_of(attack)) is not None:
        assert ball.size(adv.double() - x.double()).max() <= ball.eps + 1e-6
        if dtype == torch.bfloat16 and not isinstance(attack, (RandomNoise, *LEARNT)):
            wide = attack(net, x.float(), y)
            gained, possible = (cross_entropy(net(v), y) - cross_entropy(net(x), y) for v in (adv, wide))
            assert gained > 0.8 * possible
    else:  # what is returned is what was judged
        shown = {tuple(row.flatten().tolist()) for part in model.shown for row in part}
        assert all(tuple(row.flatten().tolist()) in shown for row in adv)


ASKS = [
    a
    for a in ATTACKS
    if not isinstance(a, (FGSM, Transferable, RandomNoise, *LEARNT)) and getattr(a, "keep_best", True)
]


@every_attack
@pytest.mark.filterwarnings("ignore:.*(NaN|not finite)")
def test_nan_is_never_offered_and_never_returned(attack: Attack) -> None:
    net, x, y = batch()
    x, y = x[:4], y[:4]
    for nothing in (Nothing(net, x[:2]), Nothing(net, gradients=True)):  # NaN near two images and for the two others
        model = Seen(nothing)
        adv = attack(model, x, y)
        assert adv.min() >= 0 and adv.max() <= 1
        if (ball := ball_of(attack)) is not None:
            assert ball.size(adv - x).max() <= ball.eps + 1e-6
        if attack in ASKS and not nothing.gradients:
            assert torch.equal(adv, x)  # the only points that it can vouch for


@pytest.mark.parametrize("attack", [a for a in ATTACKS if not isinstance(a, (RandomNoise, *LEARNT))], ids=repr)
def test_the_loss_is_not_lower_than_at_the_start(attack: Attack) -> None:
    net, x, y = batch()
    adv = outcome(attack)
    start, end = (cross_entropy(net(v), y, reduction="none") for v in (x, adv))
    kept = end > start - 1e-9
    if isinstance(attack, (SPSA, Square)):  # which lower the margin: it may change sides before the loss has risen
        kept |= net(adv).argmax(1) != y
    assert kept.all() and end.mean() > start.mean()


@pytest.mark.parametrize("attack", TARGETED, ids=repr)
def test_targeted_attacks_raise_the_probability_of_the_target(attack: Attack) -> None:
    net, x, y = batch()
    target = (y + 1) % 4
    adv = replace(attack, targeted=True)(net, x, target)  # type: ignore[call-arg]
    before, after = (-cross_entropy(net(v), target, reduction="none") for v in (x, adv))
    if hasattr(attack, "ball") or isinstance(attack, OnePixel):
        assert (after > before).all()
    else:  # a minimal change, or none where the target was not reached
        moved = (adv != x).flatten(1).any(1)
        assert moved.any() and (after > before)[moved].all() and (net(adv).argmax(1) == target)[moved].all()


@every_attack
def test_the_repr_rebuilds_the_attack_and_at_changes_only_eps(attack: Attack) -> None:
    names = {c.__name__: c for c in (FGSM, IFGSM, MIFGSM, PGD, RandomNoise, Linf, L2, L1)} | {
        type(attack).__name__: type(attack)
    }
    if isinstance(attack, LEARNT):  # what they have learnt is too much for a line
        assert len(repr(attack)) < 200 and "eps=0.05" in repr(attack.at(0.05))
        return
    assert eval(repr(attack), names) == attack
    other = attack.at(0.05)
    ball: Ball | None = getattr(attack, "ball", None)
    if ball is None:
        assert other == attack
    else:
        assert other != attack and other.at(ball.eps) == attack and "eps=0.05" in repr(other)


@pytest.mark.parametrize("shape", [(9,), (3, 5, 5)])
def test_fgsm_on_a_linear_model_equals_the_closed_form_exactly(shape: tuple[int, ...]) -> None:
    model = Line(math.prod(shape))
    x = torch.rand(16, *shape, generator=torch.Generator().manual_seed(0))
    y = torch.arange(16) % 2
    side = torch.where(y == 1, -1.0, 1.0).view(-1, *[1] * len(shape)) * model.w.detach().sign().view(shape)
    assert torch.equal(FGSM(Linf(0.3))(model, x, y), (x + 0.3 * side).clamp(0, 1))


@pytest.mark.parametrize("shape", [(12,), (3, 5, 5)])
@pytest.mark.parametrize("norm", [Linf, L2, L1])
@pytest.mark.parametrize(
    "kind", [FGSM, IFGSM, MIFGSM, PGD, partial(FABT, steps=20)], ids=["FGSM", "IFGSM", "MIFGSM", "PGD", "FABT"]
)
def test_crosses_a_linear_boundary_with_a_budget_just_above_the_optimum_and_not_below(
    kind: Callable[[Ball], Attack], norm: type[Ball], shape: tuple[int, ...]
) -> None:
    model = Line(math.prod(shape))
    near = 0.5 + 0.02 * torch.randn(8, *shape, generator=torch.Generator().manual_seed(0))
    for distance in (0.005, 0.02):
        x = model.at(distance, norm, near)
        y = model(x).argmax(1)
        for factor, crosses in ((1.1, True), (0.9, False)):
            adv = kind(norm(factor * distance))(model, x, y)
            assert ((model(adv).argmax(1) != y) == crosses).all()


def test_momentum_accumulates_gradients_of_unit_l1_norm() -> None:
    net, x, y = batch()
    seen, velocity = x.clone(), torch.zeros_like(x)
    for _ in range(3):
        point = seen.clone().requires_grad_()
        (grad,) = torch.autograd.grad(cross_entropy(net(point), y, reduction="sum"), point)
        velocity = 0.7 * velocity + grad / grad.abs().sum((1, 2, 3), keepdim=True)
        seen = (x + (seen + 0.05 * velocity.sign() - x).clamp(-0.12, 0.12)).clamp(0, 1)
    attack = MIFGSM(Linf(0.12), steps=3, step_size=0.05, momentum=0.7, keep_best=False)
    assert torch.allclose(attack(net, x, y), seen, atol=1e-6)


@pytest.mark.parametrize("attack", [PGD(L2(0.8), steps=20), PGD(Linf(0.06), steps=20, restarts=3), IFGSM(Linf(0.05))])
def test_early_stop_gives_the_same_verdicts_with_fewer_passes(attack: PGD) -> None:
    net, x = Net().eval(), images(40)
    y = net(x).argmax(1)
    plain, dropped = Calls(net), Calls(net)
    verdict = net(attack(plain, x, y)).argmax(1) != y
    early = net(replace(attack, early_stop=True)(dropped, x, y)).argmax(1) != y
    assert torch.equal(verdict, early) and 0 < verdict.sum()
    assert plain.sizes == [40] * (attack.restarts * (attack.steps + 1))
    assert sum(dropped.sizes) < 0.7 * sum(plain.sizes)


def test_every_restart_and_every_seed_begins_elsewhere_and_in_the_ball() -> None:
    net, x, y = batch()
    starts: list[Tensor] = []
    net.register_forward_pre_hook(lambda _, args: starts.append(args[0].detach().clone()))
    for seed in (0, 1):
        PGD(Linf(0.1), steps=1, restarts=3, seed=seed)(net, x, y)
    starts = starts[::2]  # without the judging passes
    assert len(starts) == 6 and all((s - x).abs().max() <= 0.1 + 1e-6 for s in starts)
    assert all((a - b).abs().mean() > 0.01 for i, a in enumerate(starts) for b in starts[:i])


def test_in_l2_the_first_start_is_near_the_image_and_the_restarts_are_anywhere_in_the_ball() -> None:
    net, x, y = batch()
    starts: list[Tensor] = []
    net.register_forward_pre_hook(lambda _, args: starts.append(args[0].detach().clone()))
    PGD(L2(0.5), steps=1, restarts=2)(net, x, y)
    first, second = (L2(0.5).size(s - x) for s in starts[::2])
    assert 0 < first.min() and first.max() <= 0.05 + 1e-6 and second.max() <= 0.5 + 1e-6
    assert second[2:].min() > 0.3  # of those that the box does not clip


class Ridge(nn.Module):
    """Class 1 only in a thin band of the mean pixel: a large step walks over it."""

    def forward(self, x: Tensor) -> Tensor:
        m = x.flatten(1).mean(1)
        return torch.stack([torch.zeros_like(m), 0.1 - (m - 0.6).abs()], 1)


def test_a_success_is_never_walked_away_from() -> None:
    x, y = torch.full((2, 1, 4, 4), 0.4), torch.zeros(2, dtype=torch.long)
    attack = IFGSM(Linf(0.4), steps=3, step_size=0.15)
    for a in (attack, replace(attack, early_stop=True)):
        assert (Ridge()(a(Ridge(), x, y)).argmax(1) == 1).all()
    assert (Ridge()(replace(attack, keep_best=False, step_size=0.4, steps=1)(Ridge(), x, y)).argmax(1) == 0).all()


def test_fgsm_needs_one_pass_and_pgd_one_more_than_its_steps() -> None:
    net, x, y = batch()
    for attack, passes in ((FGSM(Linf(0.1)), 1), (PGD(Linf(0.1), steps=7), 8), (RandomNoise(Linf(0.1)), 0)):
        calls = Calls(net)
        attack(calls, x, y)
        assert len(calls.sizes) == passes


def test_a_tiny_gradient_still_points_somewhere() -> None:
    g = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(L2(1).steepest(g * 1e-30), L2(1).steepest(g), atol=1e-6)
    assert not L2(1).steepest(torch.zeros(4, 3)).any() and not L2(1).unit(torch.zeros(4, 3)).any()


@pytest.mark.parametrize("ball", [Linf(0.2), L2(1.5), L1(9.0), Linf(0.0), L2(0.0), L1(0.0)])
def test_random_points_and_projections_lie_in_the_ball_and_surfaces_on_its_rim(ball: Ball) -> None:
    x = images(64)
    assert ball.size(ball.random(x)).max() <= ball.eps + 1e-6
    assert torch.allclose(ball.size(ball.surface(x)), torch.tensor(ball.eps), atol=1e-5)
    far = 10 * torch.randn_like(x)
    assert ball.size(ball.project(far)).max() <= ball.eps + 1e-5
    assert ball.size(ball.within(x, far).double() - x).max() <= ball.eps + 1e-6 * max(1, ball.eps)
    inside = ball.random(x) * 0.9
    assert torch.allclose(ball.project(inside), inside)
    if ball.eps:
        assert not torch.equal(ball.random(x, seed=1), ball.random(x)) and not torch.equal(
            ball.random(x, draw=1), ball.random(x)
        )
        assert torch.allclose(ball.size(ball.unit(inside)), torch.tensor(1.0))


def nearest(x: np.ndarray, d: np.ndarray, eps: float) -> np.ndarray:
    """The perturbation nearest to d (D,) in the L1 ball and the box around x (D,), split into rises and falls >= 0."""
    n = len(d)

    def excess(v: np.ndarray) -> np.ndarray:
        return v[:n] - v[n:] - d

    found = minimize(
        lambda v: np.square(excess(v)).sum(),
        np.zeros(2 * n),
        jac=lambda v: 2 * np.concatenate([excess(v), -excess(v)]),
        bounds=[(0, 1 - one) for one in x] + [(0, one) for one in x],
        constraints={"type": "ineq", "fun": lambda v: eps - v.sum(), "jac": lambda v: -np.ones(2 * n)},
        options={"ftol": 1e-14},
    )
    return found.x[:n] - found.x[n:]


def test_the_projection_onto_the_l1_ball_and_the_box_is_that_of_a_quadratic_programme() -> None:
    g = torch.Generator().manual_seed(0)
    x, d = torch.rand(12, 6, generator=g).double(), torch.randn(12, 6, generator=g).double()
    x[0], x[1, :3], d[2], d[3, :2] = 0.0, 1.0, 0.01, 0.0  # at the box, and inside the ball
    for one, far, found in zip(x.numpy(), d.numpy(), (L1(0.9).within(x, d) - x).numpy(), strict=True):
        assert np.abs(nearest(one, far, 0.9) - found).max() < 1e-5


def test_fgsm_in_l1_is_the_optimum_of_a_linear_model_in_the_box() -> None:
    g = torch.Generator().manual_seed(0)
    x, model = torch.rand(8, 20, generator=g), nn.Linear(20, 2)
    w = torch.randn(20, generator=g)
    with torch.no_grad():
        model.weight.copy_(torch.stack([w, torch.zeros(20)]))
    adv = FGSM(L1(2.5))(model, x, torch.zeros(8, dtype=torch.long))
    for one, other in zip(x.tolist(), adv, strict=True):
        room = sorted(((abs(slope), p if slope > 0 else 1 - p) for slope, p in zip(w.tolist(), one)), reverse=True)
        left, gain = 2.5, 0.0
        for slope, space in room:
            gain, left = gain + slope * min(space, left), left - min(space, left)
        assert (torch.tensor(one) - other) @ w == pytest.approx(gain, rel=1e-5)


def test_points_are_uniform_in_the_l1_ball() -> None:
    x = torch.linspace(0, 1, 4000).view(-1, 1, 1).expand(-1, 1, 3)
    d = L1(2.0).random(x)
    radius = L1(2.0).size(d) / 2
    assert (radius**3).mean() == pytest.approx(0.5, abs=0.02) and d.mean((0, 1)).abs().max() < 0.03
    assert (d[:, 0].abs() / d[:, 0].abs().sum(1, keepdim=True)).mean(0).sub(1 / 3).abs().max() < 0.02


@pytest.mark.parametrize("eps", [-0.1, math.nan, math.inf])
def test_a_ball_needs_a_finite_radius(eps: float) -> None:
    for norm in (Linf, L2, L1):
        with pytest.raises(ValueError, match=str(eps)):
            norm(eps)


@pytest.mark.parametrize(
    "options", [{"steps": 0}, {"step_size": -1.0}, {"restarts": 0}, {"momentum": math.nan}, {"step_size": math.inf}]
)
def test_pgd_refuses_meaningless_settings(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(options.values())))):
        PGD(Linf(0.1), **options)  # type: ignore[arg-type]


def test_probabilities_instead_of_logits_are_pointed_out() -> None:
    net, x, y = batch()
    with pytest.warns(UserWarning, match="probabilities"):
        FGSM(Linf(0.1))(nn.Sequential(net, nn.Softmax(1)), x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FGSM(Linf(0.1))(net, x, y)


@dataclass(frozen=True)
class Backward(Attack):
    """Calls backward() as a careless author might."""

    def run(self, f, x, y):  # type: ignore[no-untyped-def]
        x.requires_grad_()
        cross_entropy(f(x), y).backward()
        return x + x.grad


def test_even_a_careless_attack_leaves_no_gradients_in_the_model() -> None:
    net, x, y = batch()
    Backward()(net, x, y)
    assert all(p.grad is None for p in net.parameters())


def test_a_query_builds_no_graph_and_a_model_without_gradient_is_named() -> None:
    net, x, y = batch()
    with victim(net, x, y) as f:
        assert f(x.clone().requires_grad_()).requires_grad and not f.query(x.clone().requires_grad_()).requires_grad
    with pytest.raises(ValueError, match="no gradient"):
        FGSM(Linf(0.1))(torch.no_grad()(net.forward), x, y)
    with pytest.raises(ValueError, match="must return logits"):
        FGSM(Linf(0.1))(lambda x: net(x)[:, 0], x, y)


def test_uniform_noise_is_uniform_and_uncorrelated() -> None:
    keys = noise.key(images(64))
    u = noise.uniform(keys, (100, 100))
    assert u.dtype == torch.float32 and u.min() >= 0 and u.max() < 1
    counts = torch.histc(u, 64, 0, 1)
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 63 + 6 * math.sqrt(126)  # chi squared with 63 degrees of freedom

    def correlation(a: Tensor, b: Tensor) -> float:
        return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item() * math.sqrt(a.numel())

    assert abs(correlation(u[..., 1:], u[..., :-1])) < 5  # neighbours
    assert abs(correlation(u[1:], u[:-1])) < 5  # examples
    assert abs(correlation(u, noise.uniform(keys, (100, 100), draw=1))) < 5
    assert abs(correlation(u, noise.uniform(noise.key(images(64), seed=1), (100, 100)))) < 5
    assert abs(correlation(u, noise.normal(keys, (100, 100)))) < 5


def test_normal_noise_has_the_moments_of_a_normal() -> None:
    z = noise.normal(noise.key(images(64)), (100, 100)).double()
    assert abs(z.mean()) < 0.006 and abs(z.var() - 1) < 0.01
    assert abs((z**3).mean()) < 0.02 and abs((z**4).mean() - 3) < 0.05
    assert abs((z.abs() > 1.959964).double().mean() - 0.05) < 0.002


def test_keys_tell_images_seeds_and_pixel_orders_apart() -> None:
    x = images(4)
    assert torch.equal(noise.key(x), noise.key(x.clone())) and torch.equal(noise.key(x)[2:], noise.key(x[2:]))
    nudged = x.clone()
    nudged[0, 0, 5, 5] += 1e-6
    assert noise.key(nudged)[0] != noise.key(x)[0] and noise.key(nudged)[1] == noise.key(x)[1]
    assert noise.key(x.flip(3))[0] != noise.key(x)[0] and noise.key(x, seed=-1)[0] != noise.key(x)[0]
    assert torch.equal(noise.key(torch.zeros(1, 3)), noise.key(-torch.zeros(1, 3)))


def test_the_numbers_are_those_of_splitmix64() -> None:
    # Reference: plain Python integers, modulo 2**64.
    def mix(z: int) -> int:
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    key = torch.tensor([123456789, -5])
    expected = []
    for k in key.tolist():
        stream = mix((k + 0xBF58476D1CE4E5B9) % 2**64)
        expected.append([(mix((stream + i * 0x9E3779B97F4A7C15) % 2**64) >> 40) / 2**24 for i in range(1, 5)])
    assert noise.uniform(key, (4,)).tolist() == expected


def test_names_on_the_command_line_build_attacks_without_importing_torch_first() -> None:
    assert plugin.attack("pgd", 0.3, steps=7) == PGD(Linf(0.3), steps=7)
    assert plugin.attack("mifgsm", 2.0, norm="l2") == MIFGSM(L2(2.0))
    assert plugin.attack("square", 12.0, norm="l1") == Square(L1(12.0))
    for name in plugin.ATTACKS:
        assert isinstance(plugin.attack(name, 0.1), Attack)
    for wrong, hint in ((("pdg", 0.1), "pgd"), (("pgd", 0.1, "linfty"), "linf")):
        with pytest.raises(ValueError, match=f"{wrong[-1] if len(wrong) == 3 else wrong[0]}.*{hint}"):
            plugin.attack(*wrong)
    with pytest.raises(ValueError, match="'step'.*'steps'"):
        plugin.attack("pgd", 0.1, step=3)
    code = "import sys, json, attacks, attacks.plugin; print(json.dumps('torch' in sys.modules))"
    root = Path(plugin.__file__).parents[1]
    out = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert json.loads(out) is False and attacks.PGD is PGD  # which is imported when it is asked for
