"""Minimal-norm attacks on linear models, whose nearest boundary is known in every norm."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize
from torch import Tensor, nn
from toys import Largest

from attacks.carlini import CarliniL0, CarliniL2, CarliniLinf
from attacks.core.goal import Smallest
from attacks.core.minimal import ORDER, clearly_adversarial, margin_loss, polish, project_to_hyperplane, size, slack
from attacks.core.model import Attack, victim
from attacks.ddn import DDN
from attacks.deepfool import DeepFool, DeepFoolLinf
from attacks.elastic_net import EAD
from attacks.fmn import FMN, FMNL0, FMNL1, FMNLinf, project
from attacks.jsma import JSMA, MOST, TABLE, best_pair
from attacks.lbfgs import LBFGS
from attacks.minimal import exchange
from attacks.pdgd import PDGD, PDPGD, proximal
from attacks.sigma_zero import SigmaZero

CLASSES, ENTRIES = 4, 30
DUAL = {"l1": math.inf, "l2": 2.0, "linf": 1.0}
ATTACKS: list[tuple[Attack, str]] = [
    (DeepFool(), "l2"),
    (DeepFool(polish=0), "l2"),
    (DeepFoolLinf(), "linf"),
    (CarliniL2(steps=100, searches=6), "l2"),
    (CarliniLinf(lr=0.002, steps=100, searches=40, initial_c=0.1), "linf"),
    (EAD(beta=1.0, steps=300), "l1"),
    (LBFGS(), "l2"),
    (FMN(), "l2"),
    (FMNLinf(step_size=1.0), "linf"),
    (FMNL1(), "l1"),
    (DDN(), "l2"),
    (PDGD(steps=100), "l2"),
    (PDPGD(steps=100), "l1"),
    (PDPGD(steps=100, norm="l2"), "l2"),
    (PDPGD(steps=100, norm="linf"), "linf"),
]
every_attack = pytest.mark.parametrize(("attack", "norm"), ATTACKS, ids=repr)


def linear() -> tuple[nn.Linear, Tensor, Tensor]:
    """Four classes, a hundred images near the middle of the box, whose nearest boundary is far from its sides."""
    g = torch.Generator().manual_seed(0)
    model = nn.Linear(ENTRIES, CLASSES)
    weights = torch.randn(CLASSES, ENTRIES, generator=g)
    weights[:, 0] = torch.tensor([6.0, -6.0, 3.0, -3.0])  # so that the smallest change in L1 is one entry
    model.load_state_dict({"weight": weights, "bias": -0.5 * weights.sum(1)})
    x = 0.5 + 0.08 * torch.randn(200, ENTRIES, generator=g)
    y = model(x).argmax(1)
    x = x[distances(model, x, y, "l1").amin(1).topk(100).indices]
    return model, x, model(x).argmax(1)


def simple() -> tuple[nn.Linear, Tensor, Tensor]:
    """Those whose nearest boundary in every norm is that of the runner-up, where attacks that follow it go."""
    model, x, y = linear()
    second = model(x).topk(2).indices[:, 1]
    same = torch.stack([distances(model, x, y, norm).argmin(1) == second for norm in DUAL]).all(0)
    return model, x[same][:8], y[same][:8]


def distances(model: nn.Linear, x: Tensor, y: Tensor, norm: str) -> Tensor:
    """(N, K): from x to where class k overtakes y; infinite for y itself."""
    logits, w = model(x).detach(), model.weight.detach()
    lead = logits.gather(1, y[:, None]) - logits
    length = torch.linalg.vector_norm(w[None] - w[y][:, None], DUAL[norm], dim=2)
    return torch.where(length > 0, lead / length, math.inf)


@every_attack
def test_the_known_optimum_of_a_linear_model_is_met_within_2_percent(attack: Attack, norm: str) -> None:
    limit = 1.04 if isinstance(attack, CarliniLinf | EAD) else 1.021  # these are not moved along the boundary
    model, x, y = linear() if isinstance(attack, DeepFool) else simple()
    adv = attack(model, x, y)
    assert (model(adv).argmax(1) != y).all()
    ratio = size(adv - x, norm) / distances(model, x, y, norm).amin(1)
    assert ratio.min() > 0.999 and ratio.max() < limit, ratio


@every_attack
def test_targeted_attacks_reach_their_target_at_the_known_distance(attack: Attack, norm: str) -> None:
    if not hasattr(attack, "targeted"):
        pytest.skip("untargeted by nature")
    model, x, y = simple()
    wanted = distances(model, x, y, norm).argmin(1)
    optimum = distances(model, x, y, norm).amin(1)
    adv = replace(attack, targeted=True)(model, x, wanted)  # type: ignore[call-arg]
    assert (model(adv).argmax(1) == wanted).all()
    ratio = size(adv - x, norm) / optimum
    assert ratio.max() < 1.05, ratio


def sparse() -> tuple[nn.Linear, Tensor, Tensor]:
    """Entries that raise the second logit by 1 each, twelve of them; the first leads by 3.5, so four are needed."""
    model, g = nn.Linear(ENTRIES, 2), torch.Generator().manual_seed(0)
    weights = 0.01 * torch.randn(2, ENTRIES, generator=g)
    weights[0], weights[1, :12] = 0.0, 1.0
    model.load_state_dict({"weight": weights, "bias": torch.tensor([3.5, 0.0])})
    x = torch.zeros(4, ENTRIES)
    return model, x, torch.zeros(4, dtype=torch.long)


@pytest.mark.parametrize("outputs", ["logits", "probabilities"])
@pytest.mark.parametrize("direction", ["increase", "both"])
def test_jsma_moves_the_least_number_of_pixels(direction: str, outputs: str) -> None:
    model, x, y = sparse()
    adv = JSMA(gamma=1.0, direction=direction, outputs=outputs)(model, x, y)
    assert (model(adv).argmax(1) == 1).all() and (size(adv - x, "l0") == 4).all()
    other = JSMA(gamma=1.0, direction=direction, outputs=outputs, targeted=True)(model, x, 1 - y)
    assert torch.equal(other, adv)


def test_jsma_darkens_where_only_that_helps() -> None:
    model, x, y = sparse()
    with torch.no_grad():
        model.weight.neg_()
        model.bias.copy_(torch.tensor([-8.5, 0.0]))
    adv = JSMA(gamma=1.0, direction="decrease")(model, 1 - x, y)
    assert (model(adv).argmax(1) == 1).all() and (size(adv - (1 - x), "l0") == 4).all()
    assert torch.equal(JSMA(gamma=1.0)(model, 1 - x, y), 1 - x)  # nothing to brighten: the original comes back


def test_carlini_l0_moves_the_least_number_of_pixels() -> None:
    model, x, y = sparse()
    adv = CarliniL0()(model, x, y)
    assert (model(adv).argmax(1) == 1).all() and (size(adv - x, "l0") == 4).all()


@pytest.mark.parametrize("attack", [SigmaZero(steps=60), FMNL0(steps=60), PDPGD(norm="l0")], ids=repr)
def test_l0_attacks_change_the_least_number_of_entries(attack: Attack) -> None:
    model, x, y = sparse()
    adv = attack(model, x, y)
    assert (model(adv).argmax(1) == 1).all() and (size(adv - x, "l0") == 4).all()


class Plateau(nn.Module):
    """Class 1 where the mean pixel is above 0.601; below 0.6 all gradients are zero."""

    def forward(self, x: Tensor) -> Tensor:
        rise = 50 * (x.flatten(1).mean(1) - 0.6).relu() - 0.05
        return torch.stack([torch.zeros_like(rise), rise], 1)


@pytest.mark.parametrize(
    "attack",
    [
        *(DeepFool(), DeepFoolLinf(), FMN(), FMNLinf(), FMNL1(), FMNL0(), DDN()),
        *(PDGD(steps=100), PDPGD(steps=100), SigmaZero(steps=100)),
    ],
    ids=repr,
)
def test_minimal_attacks_succeed_from_afar_where_the_gradient_vanishes(attack: Attack) -> None:
    x, y = torch.full((2, 1, 5, 5), 0.4), torch.zeros(2, dtype=torch.long)
    adv, norm = attack(Plateau(), x, y), getattr(attack, "norm", "l2")
    assert (Plateau()(adv).argmax(1) == 1).all()
    optimum = {"l0": 9.0, "l1": 25 * 0.201, "l2": 5 * 0.201, "linf": 0.201}[norm]
    assert (size(adv - x, norm) < 1.1 * optimum + (norm == "l0")).all()


def test_the_proximal_operators_minimise_their_objective() -> None:
    d = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    level = torch.linspace(0.05, 1.0, 12)
    grid = torch.cartesian_prod(*3 * [torch.linspace(-2.5, 2.5, 31)])
    for norm in ("l0", "l1", "l2", "linf"):

        def cost(z: Tensor, norm: str = norm) -> Tensor:  # (12, M, 3) -> (12, M)
            length = z.abs().pow(2 / 3).sum(-1) if norm == "l0" else torch.linalg.vector_norm(z, ORDER[norm], dim=-1)
            return level[:, None] * length + (z - d[:, None]).square().sum(-1) / 2

        best = cost(grid[None].expand(12, -1, -1)).amin(1)
        assert (cost(proximal(d, level, norm)[:, None])[:, 0] < best + 1e-5).all()  # type: ignore[arg-type]


def test_the_best_pair_is_the_best_of_all_pairs() -> None:
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 16, 60, generator=g).unbind()
    allowed = torch.rand(16, 60, generator=g) > 0.2
    pair = best_pair(a, b, allowed, 30).tolist()
    a, b, allowed = a.numpy(), b.numpy(), allowed.numpy()
    for i in range(16):
        values = {
            (p, q): (a[i, p] + a[i, q]) * (b[i, p] + b[i, q])
            for p in range(60)
            for q in range(p)
            if allowed[i, p] and allowed[i, q] and p % 30 != q % 30
            if a[i, p] + a[i, q] > 0 and b[i, p] + b[i, q] > 0
        }
        assert {*max(values, key=lambda k: values[k])} == {*pair[i]}


def test_the_best_pair_is_two_pixels_also_where_only_two_can_move_or_none_helps() -> None:
    a = torch.tensor([[1.0, -3.0, -4.0, -1.0, 3.0, 4.0]])  # three pixels, each up or down
    assert best_pair(a, -a, torch.ones(1, 6, dtype=torch.bool), 3).tolist() == [[5, 4]]
    allowed = torch.tensor([[True, True, False, True, False, False]])
    assert sorted(best_pair(a, -a, allowed, 3)[0].tolist()) == [0, 1]


def pairless(n: int, features: int) -> tuple[Tensor, Tensor]:
    """Slopes of which no pair is admissible, though any single one might be in one."""
    a = torch.randn(n, features, generator=torch.Generator().manual_seed(0))
    return a, -a


def test_candidates_for_pairs_are_bounded_and_each_image_pays_for_its_own() -> None:
    a, b = pairless(3, 20_000)
    allowed = torch.ones(3, 20_000, dtype=torch.bool)
    with Largest() as largest:
        pair = best_pair(a, b, allowed, 20_000)
    assert pair.tolist() == a.topk(2).indices.tolist() and largest.numel <= max(TABLE, 3 * 20_000)
    g = torch.Generator().manual_seed(1)
    a = torch.randn(32, 784, generator=g).exp()  # a few are worth much more than the others
    b = a * (0.9 + 0.2 * torch.rand(32, 784, generator=g))
    allowed = torch.ones(32, 784, dtype=torch.bool)
    with Largest() as plain:
        easy = best_pair(a, b, allowed, 784)
    hard = a.clone(), b.clone()
    for v, w in zip(hard, pairless(1, 784), strict=True):
        v[:1] = w
    with Largest() as one:
        pair = best_pair(*hard, allowed, 784)
    assert one.numel <= max(MOST**2, plain.numel) and one.total < 2 * plain.total + 10 * MOST**2
    assert torch.equal(pair[1:], easy[1:])


def test_jsma_leaves_images_alone_that_cannot_move_and_they_cost_the_others_nothing() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    net[1].load_state_dict({"weight": ten_classes()[0].T, "bias": torch.zeros(10)})
    x = 0.5 * ten_classes()[1][:12]
    white = x.clone()
    white[0] = 1.0
    costs = []
    for images in (x, white):
        calls = list[int]()
        hook = net.register_forward_hook(lambda _, args, __: calls.append(len(args[0])))  # noqa: B023
        y = net(images).argmax(1)
        with Largest() as largest:
            adv = JSMA()(net, images, y)
        hook.remove()
        costs.append((sum(calls), largest.total, largest.numel))
    assert torch.equal(adv[0], white[0]) and torch.equal(adv[1:], JSMA()(net, x, y)[1:])
    assert all(after <= 1.1 * before for before, after in zip(*costs, strict=True))


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 1), (3, 224, 224)])
@pytest.mark.parametrize("direction", ["increase", "both"])
def test_jsma_works_on_images_of_any_size_in_bounded_memory(shape: tuple[int, int, int], direction: str) -> None:
    entries = math.prod(shape)
    g = torch.Generator().manual_seed(0)
    w = torch.randn(entries, 3, generator=g)
    model = Function(lambda z: z.flatten(1) @ w + torch.tensor([0.0, 20.0, 0.0]))
    x = torch.ones(2, *shape)
    x[1] = torch.rand(shape, generator=g)
    y = model(x).argmax(1)
    with Largest() as largest:
        adv = JSMA(gamma=min(1.0, 20 / entries), direction=direction)(model, x, y)  # type: ignore[arg-type]
    assert adv.shape == x.shape and largest.numel <= max(TABLE, 16 * x.numel())
    if direction == "increase" or entries == 1:
        assert torch.equal(adv[0], x[0])


class Bent(nn.Module):
    """Four classes with curved boundaries, in float64."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.body = nn.Sequential(nn.Linear(ENTRIES, 32), nn.Softplus(), nn.Linear(32, CLASSES)).double()
        self.passes = 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += len(x)
        return 20 * (self.body(3 * x.double()) - self.body(torch.full_like(x[:1], 1.5).double()))


def bent() -> tuple[Bent, Tensor, Tensor]:
    model = Bent()
    x = torch.rand(16, ENTRIES, generator=torch.Generator().manual_seed(1))
    return model, x, model(x).argmax(1)


QUICK = [
    CarliniL2(steps=30, searches=4),
    CarliniLinf(steps=20, searches=6),
    CarliniL0(steps=30, searches=5),
    EAD(steps=30, searches=4),
    LBFGS(steps=20, searches=4),
    JSMA(gamma=0.8),
    *(a for a, _ in ATTACKS if isinstance(a, DeepFool)),
    *(replace(a, steps=30) for a, _ in ATTACKS if isinstance(a, FMN)),
]


@pytest.mark.parametrize("attack", QUICK, ids=repr)
def test_examples_that_finish_early_change_nothing_for_the_others(attack: Attack) -> None:
    model, x, y = bent()
    whole = attack(model, x, y)
    alone = torch.cat([attack(model, x[i : i + 1], y[i : i + 1]) for i in range(2)])
    assert torch.allclose(alone, whole[:2], atol=1e-6)
    assert (model(whole).argmax(1) != y).all()
    wrong = (y + 1) % CLASSES  # already misclassified: nothing to do, one pass
    model.passes = 0
    assert torch.equal(attack(model, x, wrong), x) and model.passes <= 2 * len(x)


@pytest.mark.parametrize("attack", [CarliniL2(steps=40), EAD(steps=40), LBFGS(steps=30)], ids=repr)
def test_more_searches_are_never_worse(attack: CarliniL2) -> None:
    model, x, y = bent()
    norm, before = "l1" if isinstance(attack, EAD) else "l2", torch.full((len(x),), math.inf)
    for searches in (1, 3, 5):
        best = Smallest(x)
        adv = replace(attack, searches=searches, initial_c=1.0)(model, x, y)
        best.offer(slice(None), adv, model(adv).argmax(1) != y, size(adv - x, norm))
        assert (best.size <= before + 1e-6).all()
        before = best.size
    assert before.isfinite().all()


def ten_classes(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Weights (784, 10) and 32 images of a linear model with leads of 0.3 to 40."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(784, 10, generator=g), torch.rand(32, 1, 28, 28, generator=g)


class Function(nn.Module):
    """A function from images to logits as a model."""

    def __init__(self, logits: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.forward = logits  # type: ignore[method-assign]


HALF = [
    DeepFool(),
    DeepFoolLinf(),
    FMN(),
    FMNLinf(),
    FMNL1(),
    CarliniL2(steps=40, searches=4),
    CarliniLinf(steps=20, searches=6),
    CarliniL0(steps=30, searches=8),
    EAD(steps=40, searches=4),
    LBFGS(steps=20, searches=4),
    JSMA(),
    JSMA(direction="both", outputs="logits"),
]


@pytest.mark.parametrize("attack", HALF, ids=repr)
def test_ties_of_a_half_precision_model_are_left_behind(attack: Attack) -> None:
    dtype = torch.float16 if isinstance(attack, FMNL1 | DeepFoolLinf) else torch.bfloat16
    w, x = ten_classes()
    x = x if isinstance(attack, DeepFool | FMN) else x[:6]
    model = Function(lambda z: z.flatten(1).to(dtype) @ w.to(dtype))
    y = model(x).argmax(1)
    adv = attack(model, x, y)
    assert adv.dtype == x.dtype and clearly_adversarial(model(adv), y, False).all()
    alone = torch.cat([model(one[None]).argmax(1) for one in adv])
    assert (alone != y).all()  # whatever the batch


def test_the_slack_follows_the_resolution_of_the_logits_and_else_their_spread() -> None:
    logits = torch.tensor([[3.0, -1.0, 0.5]])
    assert slack(logits).item() == pytest.approx(4e-5)
    assert slack(logits.double() + 1e6).item() == pytest.approx(4e-5)
    assert slack(logits + 1e6).item() == pytest.approx(2 * 2**-23 * 1e6, rel=1e-3)
    assert slack(logits.bfloat16()).item() == 2 * 2**-7 * 3
    tie = torch.tensor([[2.0, 2.0, 0.0]]).bfloat16()
    y = torch.tensor([0])
    assert (
        not clearly_adversarial(tie, y, False)
        and not clearly_adversarial(tie, y, True)
        and margin_loss(tie, y, False).item() == 2 * slack(tie)
    )
    ahead = torch.tensor([[2.0, 3.0, 0.0]]).bfloat16()
    assert (
        clearly_adversarial(ahead, y, False)
        and margin_loss(ahead, y, False) < 0
        and not clearly_adversarial(ahead, y, False, confidence=1.0)
    )


@pytest.mark.parametrize("attack", [DeepFool(), FMN()], ids=repr)
def test_a_number_added_to_all_logits_costs_no_more_than_their_resolution(attack: Attack) -> None:
    w, x = ten_classes()
    exact = x.flatten(1).double() @ w.double()
    y = exact.argmax(1)
    lead = (exact.gather(1, y[:, None]) - exact).scatter(1, y[:, None], math.inf)
    best, sizes = torch.full((len(x),), math.inf), dict[float, Tensor]()
    for k in range(10):
        d = project_to_hyperplane(x, (w[:, k] - w[:, y].T).view_as(x), lead[:, k].float(), "l2", rounds=50)
        best = torch.where(lead[:, k].isfinite(), torch.minimum(best, size(d, "l2")), best)
    for c, mean in ((0.0, 1.025), (1e4, 1.03), (1e5, 1.05), (1e6, 1.25)):
        model = Function(lambda z, c=c: z.flatten(1) @ w + c)  # type: ignore[misc]
        adv = attack(model, x, y)
        assert clearly_adversarial(model(adv), y, False).all()
        sizes[c] = ratio = size(adv - x, "l2") / best
        assert ratio.min() > 0.99 and ratio.mean() < mean
        assert (ratio < 1.03 * (1 + 2.5 * slack(model(x)) / lead.amin(1))).all()
    assert (sizes[1e4] < 1.025 * sizes[0.0]).all()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_polishing_only_shrinks_successes_and_leaves_failures_alone(norm: str) -> None:
    model, x, y = bent()
    rough = (DeepFool if norm == "l2" else DeepFoolLinf)(polish=0, overshoot=0.3)
    far, near = rough(model, x, y), replace(rough, polish=12)(model, x, y)
    assert (model(near).argmax(1) != y).all()
    assert (size(near - x, norm) <= size(far - x, norm) + 1e-6).all()
    assert size(near - x, norm).mean() < 0.97 * size(far - x, norm).mean()
    nothing = Smallest(x)
    polish(model, x, y, nothing, norm, 3)  # type: ignore[arg-type]
    assert torch.equal(nothing.x, x)


def test_exchanged_pixels_are_fewer_where_restoring_them_ends() -> None:
    model = nn.Linear(8, 2)
    weights = torch.tensor([1.0] * 6 + [4.0] * 2)  # of the other class: four small entries cross, or a single large one
    weights = torch.stack([torch.zeros(8), weights])
    model.load_state_dict({"weight": weights, "bias": torch.tensor([0.0, -1.9 - float(weights[1].sum()) / 2])})
    x, y = torch.full((3, 8), 0.5), torch.zeros(3, dtype=torch.long)
    found, start = Smallest(x), x.clone()
    start[:, :6] = 1.0
    start[2, 6:] = 1.0
    found.offer(slice(None), start, torch.tensor([True, False, True]), size(start - x, "l0"))
    with victim(model, x, y) as f:
        exchange(f, x, y, found, 20)
    assert found.size.tolist() == [1, math.inf, 1]
    assert (model(found.x).argmax(1) != y).tolist() == [True, False, True]


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_a_hyperplane_is_crossed_at_its_nearest_point_inside_the_box(norm: str) -> None:
    g = torch.Generator().manual_seed(0)
    x, w = torch.rand(50, 20, generator=g), torch.randn(50, 20, generator=g)
    x[:, :8] = x[:, :8].round()  # entries on the sides of the box
    reach = torch.where(w > 0, 1 - x, -x).mul(w).sum(1)
    back = torch.where(w < 0, 1 - x, -x).mul(w).sum(1)
    for rise in (0.6 * reach, 0.3 * back):
        d = project_to_hyperplane(x, w, rise, norm)
        assert (x + d).min() > -1e-6 and (x + d).max() < 1 + 1e-6
        assert torch.allclose((w * d).sum(1), rise, rtol=1e-4)
        side = w * rise.sign()[:, None]
        u = side if norm == "l2" else side.sign()
        level = torch.where((x + d > 1e-6) & (x + d < 1 - 1e-6), d / u, math.nan)  # one multiplier for all free entries
        assert torch.allclose(level, level.nanmean(1, keepdim=True).expand_as(level), rtol=1e-3, equal_nan=False) or (
            (level - level.nanmean(1, keepdim=True)).abs().nan_to_num(0).max() < 1e-4
        )
    assert torch.equal(
        x + project_to_hyperplane(x, w, 2 * reach, norm), torch.where(w > 0, 1.0, 0.0)
    )  # out of reach: the far corner


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_the_projection_onto_a_hyperplane_in_the_box_solves_its_programme(norm: str) -> None:
    g = torch.Generator().manual_seed(0)
    x, w = torch.rand(6, 7, generator=g), torch.randn(6, 7, generator=g)
    w[:, 0] = 0.0
    rise = torch.where(w > 0, 1 - x, -x).mul(w).sum(1) * torch.linspace(0.2, 0.9, 6)
    d = project_to_hyperplane(x, w, rise, norm)
    assert torch.allclose((w * d).sum(1), rise, atol=1e-4) and (x + d).min() > -1e-6 and (x + d).max() < 1 + 1e-6
    for one, normal, height, found in zip(x.numpy(), w.numpy(), rise.tolist(), size(d, norm).tolist()):
        if norm == "l2":
            limits = list(zip(-one, 1 - one))
            plane = {"type": "eq", "fun": lambda v, a=normal, b=height: a @ v - b}
            best = minimize(lambda v: v @ v, np.zeros(7), jac=lambda v: 2 * v, bounds=limits, constraints=plane)
            optimum = best.fun**0.5
        else:  # d = up - down; in L-infinity all are below one level
            limits = [(0, 1 - v) for v in one] + [(0, v) for v in one] + [(0, None)]
            cost = [float(norm == "l1")] * 14 + [float(norm == "linf")]
            below = np.hstack([np.eye(14), -np.ones((14, 1))]) if norm == "linf" else None
            equal = np.concatenate([normal, -normal, [0]])[None]
            right = None if below is None else np.zeros(14)
            optimum = linprog(cost, A_ub=below, b_ub=right, A_eq=equal, b_eq=[height], bounds=limits).fun
        assert found == pytest.approx(optimum, rel=1e-3)


def test_the_projection_onto_the_l1_ball_is_the_nearest_point() -> None:
    g = torch.Generator().manual_seed(0)
    d, radius = torch.randn(20, 12, generator=g), torch.linspace(0.1, 20, 20)
    p = project(d, radius, "l1")
    assert (size(p, "l1") <= radius * 1.0001).all() and torch.allclose(p[-1], d[-1], atol=1e-6)
    inside = project(torch.randn(200, 20, 12, generator=g).flatten(0, 1), radius.repeat(200), "l1").view(200, 20, 12)
    assert (((d - p) * (inside - p)).sum(2) < 1e-4).all()  # the variational inequality of a projection


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (DeepFool, {"steps": 0}),
        (DeepFool, {"candidates": 1}),
        (DeepFool, {"overshoot": -0.1}),
        (DeepFool, {"norm": "l3"}),
        (DeepFool, {"polish": -1}),
        (CarliniL2, {"searches": 0}),
        (CarliniL2, {"confidence": math.nan}),
        (CarliniL2, {"initial_c": 0.0}),
        (CarliniLinf, {"shrink": 1.0}),
        (CarliniL0, {"share": 1.5}),
        (EAD, {"rule": "l2"}),
        (EAD, {"beta": -1.0}),
        (LBFGS, {"memory": 0}),
        (JSMA, {"theta": 0.0}),
        (JSMA, {"gamma": 1.1}),
        (JSMA, {"direction": "up"}),
        (JSMA, {"outputs": "softmax"}),
        (FMN, {"norm": "l3"}),
        (FMN, {"step_size": math.inf}),
        (FMN, {"gamma": 1.0}),
    ],
)
def test_meaningless_options_are_refused_by_name(kind: type[Attack], options: dict[str, object]) -> None:
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=f"{name} must be .*{value}"):
        kind(**options)
