"""Attacks that follow no common pattern: step sizes found on the way, moved pixels, few pixels, patches, programs."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from toys import Calls, Line, Net, batch
from toys import attacked_images as images

from attacks.auto import Auto, in_turn
from attacks.auto_fast import PLANS, Plan
from attacks.auto_pgd import AutoPGD, AutoPGDT, checkpoints, dlr, targeted_dlr
from attacks.core import random as noise
from attacks.core.ball import L1, L2, Ball, Linf
from attacks.core.goal import margin
from attacks.core.model import victim
from attacks.evaluation import landscape
from attacks.evaluation.evaluate import evaluate
from attacks.one_pixel import OnePixel, log_odds, paint_pixels, three_others
from attacks.patch import Patch, TrainedPatch, mask, non_printability, palette, total_variation
from attacks.pgd import FGSM, PGD
from attacks.reprogramming import Program, Reprogramming, grid_mask, squares
from attacks.spatial import Spatial, move, roughness
from attacks.transferable import Transferable, gaussian
from attacks.views import PARAMETERS, Views
from genlab.data import Images
from genlab.data.jpeg import jpeg


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Module, Images]:
    """A small net that tells bright corners apart, and 400 such images (1, 8, 8) in four classes."""
    g = torch.Generator().manual_seed(0)
    y = torch.randint(4, (400,), generator=g)
    x = 0.6 * torch.rand(400, 1, 8, 8, generator=g)
    for label in range(4):
        row, column = 4 * (label // 2), 4 * (label % 2)
        x[y == label, :, row : row + 4, column : column + 4] += 0.3
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 4))
        optimizer = torch.optim.Adam(net.parameters(), 0.03)
        for _ in range(40):
            optimizer.zero_grad()
            cross_entropy(net(x), y).backward()
            optimizer.step()
    data = Images(x.mul(255).byte(), y, tuple("abcd"), "corners")
    assert (net(data.x).argmax(1) == y).float().mean() > 0.97
    net.zero_grad()
    return net.eval(), data


def success(net: nn.Module, x: Tensor, y: Tensor) -> float:
    return (net(x).argmax(1) != y).float().mean().item()


@pytest.mark.parametrize("norm", [Linf, L2])
def test_auto_pgd_crosses_a_linear_boundary_just_above_the_optimum_and_not_below(norm: type[Ball]) -> None:
    model, distance = Line(12), 0.01
    x = model.at(distance, norm, 0.5 + 0.02 * torch.randn(8, 12, generator=torch.Generator().manual_seed(0)))
    y = model(x).argmax(1)
    for factor, crosses in ((1.1, True), (0.9, False)):
        for attack in (AutoPGD(norm(factor * distance), steps=30), Auto(norm(factor * distance), 30)):
            adv = attack(model, x, y)
            assert ((model(adv).argmax(1) != y) == crosses).all()


def test_auto_pgd_in_l1_nears_the_optimum_of_a_linear_model_in_the_box() -> None:
    g = torch.Generator().manual_seed(0)
    x, y, model = torch.rand(8, 1, 6, 6, generator=g), torch.zeros(8, dtype=torch.long), nn.Linear(36, 2)
    with torch.no_grad():
        model.weight.copy_(torch.randn(2, 36, generator=g) / 10)
        model.bias.copy_(torch.tensor([5.0, 0.0]))
    model = nn.Sequential(nn.Flatten(), model)
    best, found = FGSM(L1(5.0))(model, x, y), AutoPGD(L1(5.0), steps=60)(model, x, y)
    gained, possible = ((model(x) - model(v)) @ torch.tensor([1.0, -1.0]) for v in (found, best))
    assert (gained > 0.97 * possible).all() and (gained < possible + 1e-4).all()


@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.7)])
def test_auto_pgd_fools_at_least_as_often_as_pgd_at_equal_passes(trained: tuple[nn.Module, Images], ball: Ball) -> None:
    net, data = trained
    rates = [success(net, a(net, data.x, data.labels), data.labels) for a in (PGD(ball), AutoPGD(ball, steps=40))]
    assert 0.1 < rates[0] <= rates[1] < 1
    calls = Calls(net)
    AutoPGD(ball, steps=40, early_stop=False)(calls, data.x[:5], data.labels[:5])
    assert calls.sizes == [5] * 41


def test_auto_pgd_with_and_without_early_stop_gives_the_same_verdicts(trained: tuple[nn.Module, Images]) -> None:
    net, data = trained
    attack = AutoPGD(Linf(0.1), steps=20, restarts=2)
    verdicts = [net(a(net, data.x, data.labels)).argmax(1) for a in (attack, replace(attack, early_stop=False))]
    assert torch.equal(verdicts[0] == data.labels, verdicts[1] == data.labels)


def test_checkpoints_are_those_of_the_paper() -> None:
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]


def test_difference_of_logits_ratios_ignore_scale_and_shift_of_the_logits() -> None:
    z = torch.randn(50, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y, target = z.argmax(1), z.argsort(1)[:, 2]
    for loss in (lambda z: dlr(z, y), lambda z: targeted_dlr(z, y, target), lambda z: targeted_dlr(z, None, target)):
        assert torch.allclose(loss(z), loss(1e4 * z - 7), atol=1e-8)
        assert (loss(z) < 0).all() and (loss(z) >= -2).all()
    with pytest.raises(ValueError, match="at least 4.*got 3"):
        targeted_dlr(z[:, :3], None, y.clamp_max(2))
    s = z.sort(1, descending=True).values
    assert torch.allclose(dlr(z, y), -(s[:, 0] - s[:, 1]) / (s[:, 0] - s[:, 2]))


def test_the_ensemble_is_never_below_its_parts_and_spares_what_is_fooled(trained: tuple[nn.Module, Images]) -> None:
    net, data = trained
    attack = Auto(Linf(0.1), steps=20, queries=20)
    adv = attack(net, data.x, data.labels)
    fooled = net(adv).argmax(1) != data.labels
    for part in attack.parts(4):
        assert (fooled | (net(part(net, data.x, data.labels)).argmax(1) == data.labels)).all()
    calls = Calls(net)
    adv = replace(attack, ball=Linf(1.0))(calls, data.x, data.labels)
    assert success(net, adv, data.labels) == 1 and calls.sizes[-1] <= len(data)


def test_later_attacks_see_only_what_is_left(trained: tuple[nn.Module, Images]) -> None:
    net, data = trained
    seen: list[int] = []

    class Spy(PGD):
        def run(self, f, x, y):  # type: ignore[no-untyped-def]
            seen.append(len(x))
            return super().run(f, x, y)

    class Wrapped(PGD):
        def run(self, f, x, y):  # type: ignore[no-untyped-def]
            return in_turn([Spy(Linf(0.08)), Spy(Linf(0.1)), Spy(Linf(1.0)), Spy(Linf(1.0))], f, x, y)

    adv = Wrapped(Linf(1.0))(net, data.x, data.labels)
    assert len(data) >= seen[0] > seen[1] > seen[2] and len(seen) == 3 and success(net, adv, data.labels) == 1


def test_the_fast_version_fools_no_fewer_and_spares_images_far_from_the_boundary(
    trained: tuple[nn.Module, Images], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Plan(more=("dlr", 20, 2), rounds=((30, 0.16), (30, 0.1)))
    monkeypatch.setitem(PLANS, "linf", short)
    monkeypatch.setattr("attacks.auto_fast.LONG", 20)
    net, data = trained
    x, y = data.x[:12], data.labels[:12]
    attacks = Auto(Linf(0.1), steps=20, queries=50), Auto(Linf(0.1), version="fast")
    standard, fast = (success(net, attack(net, x, y), y) for attack in attacks)
    assert 0.1 < standard <= fast < 0.9
    calls = Calls(net)
    Auto(Linf(0.01), version="fast")(calls, x, y)  # a margin that stays large is not attacked for long
    assert sum(calls.sizes) < 140 * len(x)


@pytest.mark.parametrize("classes, shape", [(2, (1, 4, 4)), (3, (9,)), (5, (2, 3, 3))])
def test_the_fast_version_takes_any_number_of_classes_and_inputs_that_are_no_images(
    classes: int, shape: tuple[int, ...]
) -> None:
    g = torch.Generator().manual_seed(0)
    x, net = torch.rand(6, *shape, generator=g), nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), classes))
    with torch.no_grad():
        net[1].weight.copy_(torch.randn(net[1].weight.shape, generator=g))
        net[1].bias.zero_()
    y = net(x).argmax(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert success(net, Auto(Linf(1.0), version="fast")(net, x, y), y) == 1
    assert torch.equal(Auto(Linf(0.0), version="fast")(net, x, y), x)


class Odd(nn.Module):
    """`net` with something that leads AutoAttack astray."""

    def __init__(self, net: nn.Module, kind: str) -> None:
        super().__init__()
        self.net, self.kind = net, kind

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "optimises":
            with torch.enable_grad():
                at = x.detach().requires_grad_()
                (grad,) = torch.autograd.grad(self.net(at).logsumexp(1).sum(), at)
            x = x + 0 * grad
        logits = self.net(x)
        if self.kind == "random":
            return logits + 0.01 * torch.randn_like(logits)
        if self.kind == "probabilities":
            return logits.softmax(1)
        if self.kind == "zero":
            return logits.detach() + 0 * logits
        if self.kind == "lies":  # a gradient that leads back
            return 2 * logits.detach() - logits
        return logits


@pytest.mark.parametrize(
    "kind, words",
    [
        ("plain", None),
        ("random", "outputs are random"),
        ("probabilities", "look like probabilities"),
        ("zero", "exactly zero"),
        ("lies", "Square, which uses no gradients"),
        ("optimises", "computes gradients when it predicts"),
    ],
)
def test_each_flag_of_autoattack_is_raised_by_its_model_alone(
    trained: tuple[nn.Module, Images], kind: str, words: str | None
) -> None:
    net, data = trained
    x, y = data.x[:24], data.labels[:24]
    attack = Auto(Linf(0.25 if kind in ("plain", "lies") else 0.01), steps=3, queries=60)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        attack(Odd(net, kind), x, y)
    texts = [str(each.message) for each in found]
    assert len(texts) == (words is not None) and all(str(words) in text for text in texts)
    if kind == "random":
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert replace(attack, version="rand").parts(4)[1] == AutoPGD(attack.ball, 3, "dlr", eot=20)
            replace(attack, version="rand", steps=1)(Odd(net, kind), x[:2], y[:2])


def test_the_mean_over_passes_of_a_random_model_converges_to_its_gradient(trained: tuple[nn.Module, Images]) -> None:
    net, data = trained
    x, y = data.x[:8], data.labels[:8]

    def error(passes: int) -> float:
        with victim(nn.Sequential(Blur(), net), x, y) as f:
            torch.manual_seed(1)
            found = [f.ascend(x, lambda logits: -margin(logits, y), passes)[2] for _ in range(8)]
            return (torch.stack(found) - expected).square().mean().sqrt().item()

    with victim(net, x, y) as f:
        expected = f.ascend(x, lambda logits: -margin(logits, y))[2]
    assert error(16) == pytest.approx(error(1) / 4, rel=0.2)
    calls = Calls(net)
    AutoPGD(Linf(0.01), steps=3, eot=5, early_stop=False)(calls, x, y)
    PGD(Linf(0.01), steps=3, eot=5)(calls, x, y)
    assert calls.sizes == [8] * 40


class Blur(nn.Module):
    """The identity, whose gradient is noisy."""

    def forward(self, x: Tensor) -> Tensor:
        return x.detach() + (x - x.detach()) * (1 + torch.randn_like(x))


def test_all_off_the_transferable_attack_is_ifgsm_and_each_part_changes_it() -> None:
    from attacks.pgd import IFGSM

    net, x, y = batch()
    plain = Transferable(Linf(0.1), steps=5, momentum=0, diversity=0, kernel=1)
    expected = IFGSM(Linf(0.1), steps=5, step_size=0.02, keep_best=False)(net, x, y)
    assert torch.allclose(plain(net, x, y), expected, atol=1e-6)
    for change in ({"momentum": 1.0}, {"diversity": 1.0}, {"kernel": 3}):
        assert not torch.allclose(replace(plain, **change)(net, x, y), expected, atol=1e-3)


def test_the_gaussian_kernel_is_that_of_the_paper() -> None:
    k = gaussian(15)
    assert k.shape == (15, 15) and abs(k.sum() - 1) < 1e-6
    assert abs(k[7, 8] / k[7, 7] - math.exp(-1 / (2 * 49 / 3))) < 1e-6 and gaussian(1).item() == 1


def test_a_zero_flow_is_the_identity_and_a_whole_flow_a_shift() -> None:
    x = images(3).double()
    flow = torch.zeros(3, 2, 8, 8, dtype=torch.float64)
    assert torch.allclose(move(x, flow), x, atol=1e-9) and not roughness(flow).any()
    flow[:, 0], flow[:, 1] = 2, -1
    moved = move(x, flow)
    assert torch.allclose(moved[:, :, :6, 1:], x[:, :, 2:, :7], atol=1e-9) and not roughness(flow).any()
    flow[0, 0, 3, 3] = 5  # four neighbours, 3 pixels apart, seen from both ends
    assert torch.allclose(roughness(flow), torch.tensor([24.0, 0, 0], dtype=torch.float64), atol=1e-3)


def test_moved_pixels_fool_with_a_flow_that_more_weight_makes_smoother(trained: tuple[nn.Module, Images]) -> None:
    net, data = trained
    x, y = data.x[:40], data.labels[:40]
    adv = Spatial(steps=100)(net, x, y)
    assert success(net, adv, y) > 0.9
    failed = net(adv).argmax(1) == y
    assert torch.equal(adv[failed], x[failed])
    assert adv.max() <= x.max() + 1e-6  # values only move
    calls = Calls(net)
    Spatial(steps=100, patience=3)(calls, x, y)
    assert sum(calls.sizes) < 0.8 * 101 * 40


@pytest.mark.parametrize("k", [1, 3, 5])
def test_at_most_k_pixels_change(k: int, trained: tuple[nn.Module, Images]) -> None:
    net, data = trained
    x, y = data.x[:20], data.labels[:20]
    adv = OnePixel(k, population=10, generations=5)(net, x, y)
    changed = (adv != x).any(1).flatten(1).sum(1)
    assert changed.max() <= k and changed.max() > 0


def test_more_generations_find_more_and_the_fooled_leave(trained: tuple[nn.Module, Images]) -> None:
    net, data = trained
    x, y = data.x[:40], data.labels[:40]
    rates, odds = [], []
    for generations in (0, 20):
        calls = Calls(net)
        adv = OnePixel(8, population=30, generations=generations)(calls, x, y)
        rates.append(success(net, adv, y))
        odds.append(log_odds(net(adv), y).mean())
    assert rates[1] > rates[0] and odds[1] < odds[0] and sum(calls.sizes) < 30 * 40 * 21


def test_the_three_others_are_others_and_all_equally_likely() -> None:
    u = noise.uniform(torch.arange(4000), (5, 3))
    found = torch.stack(three_others(u), -1)
    own = torch.arange(5).view(1, 5, 1).expand(4000, 5, 1)
    assert (torch.cat([own, found], -1).sort(-1).values.diff(dim=-1) > 0).all()
    counts = torch.stack([(found[:, i] == j).sum() for i in range(5) for j in range(5) if i != j])
    assert ((counts / 3000 - 1).abs() < 0.07).all()


def test_genes_are_rows_columns_and_colours() -> None:
    x = torch.zeros(1, 3, 4, 5)
    genes = torch.tensor([[[[0.99, 0.0, 0.2, 0.4, 1.6], [7.0, -3.0, 0.3, 0.3, 0.3]]]])
    out = paint_pixels(x, genes)[0, 0]
    assert out[:, 3, 0].tolist() == pytest.approx([0.3] * 3) and out.count_nonzero() == 3  # the later one is seen
    assert paint_pixels(x, genes[:, :, :1])[0, 0, :, 3, 0].tolist() == pytest.approx([0.2, 0.4, 1.0])


def test_log_odds_keep_the_order_of_the_probabilities_where_those_round_to_one() -> None:
    logits = torch.tensor([[40.0, 0, 0], [41.0, 0, 0], [0.3, 0.1, 0.0]])
    odds = log_odds(logits, torch.zeros(3, dtype=torch.long))
    p = logits.softmax(1)[:, 0]
    assert p[0] == p[1] and odds[0] < odds[1] and torch.isclose(odds[2].sigmoid(), p[2])


MIDDLE = torch.full((1, PARAMETERS), 0.5)


def test_the_middle_view_of_something_as_large_as_the_image_is_itself() -> None:
    x = images(4)
    assert torch.allclose(Views().render(x, MIDDLE.expand(4, -1), (8, 8)), x, atol=1e-5)
    assert Views().brightness_shift(MIDDLE).item() == 0
    seen = Views(scale=(0.5, 0.5)).render(torch.ones(1, 1, 8, 8), MIDDLE, (8, 8))
    assert seen.sum().item() == pytest.approx(16, abs=1e-4) and seen[0, 0, 2:6, 2:6].min() > 0.99


def test_views_place_turn_and_light_as_told() -> None:
    patch, cover = torch.tensor([[[0.1, 0.2], [0.3, 0.4]]]), torch.ones(1, 2, 2)
    views, x = Views(rotation=90.0, scale=(1.0, 1.0), place=1.0, brightness=0.2), torch.zeros(1, 1, 8, 8)
    corner = views.paste(x, patch, cover, torch.tensor([[0.5, 0.5, 0.0, 1.0, 0.5]]))[0, 0]
    assert torch.allclose(corner[:2, 6:], patch[0], atol=1e-5) and abs(corner.sum() - 1.0) < 1e-4
    turned = views.paste(x, patch, cover, torch.tensor([[1.0, 0.5, 0.0, 0.0, 1.0]]))[0, 0]
    assert torch.allclose(turned[:2, :2], torch.rot90(patch[0], -1) + 0.2, atol=1e-5)
    assert not turned[3:].any() and not turned[:, 3:].any()


def test_the_size_of_what_is_seen_is_its_scale_squared_at_every_angle() -> None:
    u = torch.rand(50, PARAMETERS, generator=torch.Generator().manual_seed(0))
    views = Views(rotation=180.0, scale=(1.5, 1.5), place=0.3)
    seen = views.render(torch.ones(1, 1, 6, 10), u, (32, 40))
    assert torch.allclose(seen.sum((1, 2, 3)), torch.tensor(60 * 2.25), rtol=0.02)


def test_gradients_reach_the_picture_through_every_view() -> None:
    patch = torch.full((1, 4, 4), 0.5, requires_grad=True)
    Views().paste(torch.rand(6, 1, 12, 12), patch, torch.ones(1, 4, 4), torch.rand(6, PARAMETERS)).sum().backward()
    assert (patch.grad > 1).all()


def test_jpeg_changes_little_and_less_at_high_quality() -> None:
    for channels in (1, 3):
        x = torch.nn.functional.interpolate(torch.rand(3, channels, 4, 4), size=32, mode="bilinear")
        errors = [(jpeg(x, quality) - x).abs().mean() for quality in (10, 75, 95)]
        assert errors[0] > errors[1] > errors[2] and errors[1] < 0.03
    with pytest.raises(ValueError, match="0"):
        jpeg(x, 0)


def test_masks_are_what_they_are_called() -> None:
    assert mask("square", 6).all() and abs(mask("disc", 40).mean() - math.pi / 4) < 0.01
    glasses = mask("glasses", 28)
    assert torch.equal(glasses, glasses.flip(2)) and 0.1 < glasses.mean() < 0.4 and not glasses[0, 20:].any()


def test_penalties_are_zero_for_flat_printable_patches_only() -> None:
    cover = mask("disc", 8)
    flat, rough = torch.full((3, 8, 8), 0.5), torch.rand(3, 8, 8)
    assert total_variation(flat, cover) == 0 < total_variation(rough, cover)
    colours = palette(3)
    assert non_printability(flat, cover, colours) < 1e-6 < non_printability(flat + 0.2, cover, colours)
    outside = torch.where(cover > 0, flat, rough)
    assert total_variation(outside, cover) == 0 and len(colours) == 27 and palette(1).shape == (5, 1)


def test_a_patch_learnt_on_some_images_turns_others_into_the_target(trained: tuple[nn.Module, Images]) -> None:
    net, data = trained
    learn, test = data.subset(slice(0, 300)), data.subset(slice(300, 400))
    attack = Patch(target=2, size=0.75, views=Views(place=0.2), images=6000, lr=0.1)
    before = [p.clone() for p in net.parameters()]
    ready = attack.prepare(net.train(), learn)
    assert isinstance(ready, TrainedPatch) and net.training
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(before, net.parameters(), strict=True))
    net.eval()
    others = test.labels != 2
    seen = net(ready(net, test.x, test.labels)).argmax(1)
    grey = replace(ready, patch=torch.full_like(ready.patch, 0.5))
    assert (seen == 2)[others].float().mean() > 0.8
    assert (net(grey(net, test.x, test.labels)).argmax(1) == 2)[others].float().mean() < 0.3
    report = evaluate({"net": net}, {"patch": attack}, test.x, test.labels, data=learn)
    assert report.rows[0].success.value is not None and report.rows[0].success.value > 0.5


def test_a_ready_patch_keeps_the_contract_and_an_unready_one_says_so(trained: tuple[nn.Module, Images]) -> None:
    net, data = trained
    x, y = data.x[:12], data.labels[:12]
    ready = TrainedPatch(Views(), torch.rand(1, 4, 4), mask("disc", 4))
    whole = ready(net, x, y)
    assert torch.allclose(ready(net, x.flip(0), y.flip(0)).flip(0), whole, atol=1e-6)
    assert torch.allclose(torch.cat([ready(net, x[:5], y[:5]), ready(net, x[5:], y[5:])]), whole, atol=1e-6)
    assert not torch.equal(replace(ready, draw=1)(net, x, y), whole)
    with pytest.raises(ValueError, match="Patch must be trained first"):
        Patch()(net, x, y)
    with pytest.raises(ValueError, match="4, got 7"):
        Patch(target=7).prepare(net, data)


def test_squares_show_as_many_as_their_label_says() -> None:
    data = squares(500, cells=4, pixels=2)
    assert data.shape == (1, 8, 8) and torch.equal(data.x.sum((1, 2, 3)) / 4, data.labels + 1.0)
    assert set(data.labels.tolist()) == set(range(10))
    assert torch.equal(squares(500).pixels, data.pixels) and not torch.equal(squares(500, seed=1).pixels, data.pixels)
    apart, seen = squares(500, cells=4, pixels=2, gap=1), grid_mask(4, 2, 1)
    assert apart.shape == (1, 11, 11) and torch.equal(apart.x.sum((1, 2, 3)) / 4, apart.labels + 1.0)
    assert seen.sum() == 64 and not (apart.x * (1 - seen)).any()
    with pytest.raises(ValueError, match="17"):
        squares(3, most=17)


def test_a_program_counts_with_a_victim_whose_weights_stay_as_they_are(trained: tuple[nn.Module, Images]) -> None:
    net, _ = trained
    data = squares(1000, cells=2, pixels=1, most=3)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    program = Reprogramming(images=10_000, lr=0.1).learn(net.train(), (1, 8, 8), data)
    assert net.training and all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    net.eval()
    assert not program.mask[:, 3:5, 3:5].any() and torch.equal(program.frame(data.x)[:, :, 3:5, 3:5], data.x)
    untrained = Program(net, (1, 8, 8), torch.ones(1, 2, 2), 3, 4)
    accuracy = [p.evaluate(squares(300, 2, 1, most=3, seed=1))["accuracy"] for p in (untrained, program)]
    assert accuracy[1] > max(0.45, accuracy[0] + 0.1)
    assert {name for name, _ in program.named_parameters()} == {"w"}
    assert len(set(program.classes.tolist())) == 3


def test_the_random_direction_changes_less_than_the_gradient_and_the_attack(trained: tuple[nn.Module, Images]) -> None:
    net, data = trained
    x, y = data.x[:30], data.labels[:30]
    ways = landscape.directions(net, x, y, Linf(0.1), PGD(Linf(0.1)))
    ends = {name: landscape.line(net, x, y, step, [0.0, 0.1]) for name, step in ways.items()}
    assert all(torch.allclose(end[0], net(x).softmax(1).gather(1, y[:, None])[:, 0]) for end in ends.values())
    assert ends["attack"][1].mean() < ends["gradient"][1].mean() + 0.05 < ends["random"][1].mean() - 0.1
    a, b = ways["attack"], landscape.orthogonalise(ways["attack"], ways["random"])
    assert (a * b).sum((1, 2, 3)).abs().max() < 1e-4
    assert torch.allclose(landscape.plane(net, x, y, a, b, [0.0, 0.1])[1, 0], ends["attack"][1])


@pytest.mark.parametrize(
    ("make", "value"),
    [
        (lambda: AutoPGD(Linf(0.1), loss="hinge"), "hinge"),  # type: ignore[arg-type]
        (lambda: AutoPGD(Linf(0.1), steps=0), "0"),
        (lambda: AutoPGDT(Linf(0.1), classes=0), "0"),
        (lambda: Auto(Linf(0.1), queries=0), "0"),
        (lambda: Transferable(Linf(0.1), kernel=4), "4"),
        (lambda: Transferable(Linf(0.1), diversity=1.5), "1.5"),
        (lambda: Spatial(tau=-1.0), "-1.0"),
        (lambda: OnePixel(population=3), "3"),
        (lambda: Patch(shape="star"), "star"),  # type: ignore[arg-type]
        (lambda: Patch(size=0.0), "0.0"),
        (lambda: Views(scale=(1.2, 0.8)), "1.2, 0.8"),
        (lambda: Views(rotation=200.0), "200"),
        (lambda: Program(Net(), (1, 8, 8), torch.ones(1, 8, 8), 3, 4), "8x8"),
        (lambda: Program(Net(), (1, 8, 8), torch.ones(1, 4, 4), 5, 4), "5"),
    ],
)
def test_meaningless_settings_are_refused_by_name(make, value: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=value):
        make()
