"""Denoising and random filters, certificates and adversarial training against closed forms."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from scipy.stats import beta, binomtest
from scipy.stats import norm as normal
from torch import nn
from toys import SHAPE, make, stream
from toys import filtered_images as images
from toys import images as toy
from toys import small_classifier as net

from attacks import FGSM, L2, PGD, Linf, plugin
from attacks.core.rate import Rate
from attacks.defences.adversarial_training import AdversarialTrainingConfig, FastFGSM, TradesPGD
from attacks.defences.denoising import Bilateral, NonLocalMeans, TotalVariation, divergence, gradient
from attacks.defences.detection import Detector
from attacks.defences.ensemble import ProbabilityEnsemble
from attacks.defences.interval import IntervalTraining, certified, propagate, worst_logits
from attacks.defences.purify import Reconstruct
from attacks.defences.random import ResizePad
from attacks.defences.randomised_smoothing import (
    ABSTAIN,
    NoiseTrainingConfig,
    Smoothed,
    binomial_p_value,
    certified_accuracy,
    lower_confidence_bound,
)
from attacks.defences.scores import MaxSoftmax
from attacks.defences.smoothing import JPEG, BitDepth, Composed, Filter, Filtered, Mean, Median
from attacks.defences.test_time import TestTimeAugmented, move, turn
from attacks.evaluation.detectors import successful_examples
from attacks.evaluation.evaluate import evaluate
from attacks.evaluation.results import Evaluation, Row, Sizes, WorstCase
from attacks.evaluation.verdict import models_and_sources, table, to_json, verdicts
from genlab.data import Stream, load
from genlab.training.loop import fit
from genlab.training.method import TrainOptions
from genlab.training.update import Update

# --- filters


def test_bilateral_filter_is_the_weighted_mean_of_its_definition():
    x, (i, j) = images()[:1], (4, 7)
    around = x[0, :, i - 1 : i + 2, j - 1 : j + 2]
    space = torch.tensor([[2.0, 1, 2], [1, 0, 1], [2, 1, 2]])
    difference = (around - x[0, :, i, j].view(-1, 1, 1)).square().sum(0)
    weight = torch.exp(-space / (2 * 1.5**2) - difference / (2 * 0.3**2))
    expected = (weight * around).sum((1, 2)) / weight.sum()
    torch.testing.assert_close(Bilateral(3, 1.5, 0.3)(x)[0, :, i, j], expected)


def test_non_local_means_is_the_weighted_mean_of_its_definition():
    x, (i, j) = images()[:1], (4, 6)
    patch = lambda a, b: x[0, :, a - 1 : a + 2, b - 1 : b + 2]
    places = [(i + a, j + b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
    weight = torch.stack([torch.exp(-(patch(*p) - patch(i, j)).square().mean() / 0.4**2) for p in places])
    expected = sum(w * x[0, :, a, b] for w, (a, b) in zip(weight, places, strict=True)) / weight.sum()
    torch.testing.assert_close(NonLocalMeans(3, 3, 0.4)(x)[0, :, i, j], expected)


def test_test_time_augmentation_is_the_mean_over_its_copies_with_the_exact_gradient():
    model, x = net().double(), images().double()[..., :9, :9].clone()
    model[1] = nn.Linear(162, 16).double()
    defended = TestTimeAugmented(model, shift=2, flip=True, rotate=90.0)
    moved = [torch.zeros_like(x) for _ in range(4)]
    moved[0][:, :, 2:], moved[1][:, :, :-2] = x[:, :, :-2], x[:, :, 2:]
    moved[2][..., 2:], moved[3][..., :-2] = x[..., :-2], x[..., 2:]
    for ours, theirs in zip(list(defended.copies(x))[:5], [x, *moved], strict=True):
        assert torch.equal(ours, theirs)
    mean = torch.stack([model(copy).softmax(1) for copy in defended.copies(x)]).mean(0)
    assert len(list(defended.copies(x))) == 30 and defended.adaptive() is defended
    torch.testing.assert_close(defended(x).exp(), mean)
    assert torch.autograd.gradcheck(defended, x[:1].requires_grad_(), fast_mode=True)


def test_a_quarter_turn_is_clockwise_and_a_small_one_keeps_the_sides_of_the_image():
    x = images()
    square = x[..., :9, :9]
    torch.testing.assert_close(turn(square, 90.0), square.rot90(-1, (2, 3)))
    torch.testing.assert_close(turn(x, 180.0), x.flip(2, 3))
    with pytest.raises(ValueError, match="shift must be below the sides of the image, .9, 12., got 9"):
        TestTimeAugmented(net(), shift=9)(x)
    assert torch.equal(move(x, 0, 0), x)


def test_edges_survive_bilateral_and_not_the_mean():
    x = (torch.arange(12) >= 6).float().expand(1, 1, 9, 12)
    assert (Bilateral(5, 2.0, 0.1)(x) - x).abs().max() < 1e-6
    assert (Mean(5)(x) - x).abs().max() > 0.3


def test_total_variation_of_two_flat_halves_moves_them_towards_each_other_by_weight_over_width():
    x = torch.where(torch.arange(8) < 4, 0.2, 0.8).expand(1, 1, 8, 8)
    u = TotalVariation(weight=0.4, steps=3000)(x)
    expected = torch.where(torch.arange(8) < 4, 0.3, 0.7).expand(1, 1, 8, 8)  # 0.4 / 4 columns
    torch.testing.assert_close(u, expected, atol=2e-3, rtol=0)


def test_divergence_is_minus_the_transpose_of_the_gradient():
    g = torch.Generator().manual_seed(0)
    u, p = torch.rand(2, 1, 5, 4, generator=g), torch.rand(2, 2, 1, 5, 4, generator=g)
    torch.testing.assert_close((gradient(u) * p).sum(), -(u * divergence(p)).sum())


@pytest.mark.parametrize("filter", [Bilateral(), NonLocalMeans(5), TotalVariation(0.2), JPEG(50), ResizePad()], ids=str)
def test_more_filters_keep_shape_range_and_flat_images(filter: Filter):
    x = images()[:, :1].round()
    out = filter(x)
    assert out.shape == x.shape and out.min() >= 0 and out.max() <= 1
    flat = torch.zeros(1, 1, 9, 9)
    assert torch.allclose(filter(flat), flat, atol=1e-6)


def test_a_composed_filter_applies_its_parts_in_order_and_hides_no_gradient():
    x = images()
    both = Composed(Median(3), BitDepth(2))
    assert torch.equal(both(x), BitDepth(2)(Median(3)(x)))
    assert not both.differentiable and Composed(Median(3), Mean(3)).differentiable
    assert Composed(Median(3), ResizePad()).random and not both.random


def test_resize_and_pad_is_random_and_its_seed_makes_it_again():
    x = images()
    draw = lambda seed: (torch.manual_seed(seed), ResizePad(1.5)(x))[1]
    assert torch.equal(draw(1), draw(1)) and not torch.equal(draw(1), draw(2))


class Shaken(Filter):
    """Pixels times u, uniform in [0, 2]: on a linear model the mean gradient is the weight."""

    random = True

    def forward(self, x):
        return x * 2 * torch.rand(len(x), 1, 1, 1)


def test_averaging_over_draws_converges_to_the_expected_gradient():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(216, 3, bias=False))
    x = images()[:1].requires_grad_()

    def error(draws):
        found = []
        for _ in range(40):
            (g,) = torch.autograd.grad(Filtered(Shaken(), model).adaptive(draws)(x)[0, 0], x)
            found.append((g.flatten() - model[1].weight[0]).square().sum())
        return torch.stack(found).mean().item()

    assert error(1) / error(16) == pytest.approx(16, rel=0.6)


def test_a_random_defence_answers_once_and_its_attacker_averages():
    calls = []

    class Counted(nn.Module):
        def forward(self, x):
            calls.append(len(x))
            return x.flatten(1)[:, :3]

    adaptive = Filtered(ResizePad(), Counted()).adaptive(5)
    with torch.no_grad():
        adaptive(images())
    assert len(calls) == 1
    adaptive(images().requires_grad_())
    assert len(calls) == 6


@pytest.mark.parametrize(
    "make_bad, value",
    [
        (lambda: Bilateral(4), "4"),
        (lambda: Bilateral(3, colour=0), "0"),
        (lambda: NonLocalMeans(5, 2), "2"),
        (lambda: NonLocalMeans(5, strength=-1), "-1"),
        (lambda: TotalVariation(0), "0"),
        (lambda: JPEG(0), "0"),
        (lambda: ResizePad(1.0), "1.0"),
        (lambda: Composed(), "none"),
        (lambda: Smoothed(net(), 0.0), "0.0"),
        (lambda: Smoothed(net(), 1.0).certify(images(), alpha=0.0), "0.0"),
        (lambda: Smoothed(net(), 1.0).counts(images(), 0), "0"),
        (lambda: NoiseTrainingConfig(sigma=-1.0), "-1.0"),
        (lambda: IntervalTraining(nn.Sequential(nn.Linear(2, 2), nn.ReLU())), "ReLU"),
        (lambda: propagate(nn.BatchNorm2d(1), torch.zeros(1), torch.ones(1)), "BatchNorm2d"),
        (lambda: worst_logits(nn.Linear(2, 2), torch.zeros(1, 2), torch.zeros(1).long(), -0.1), "-0.1"),
        (lambda: plugin.defence("smoothed", net(), sigma=0.0), "0.0"),
    ],
)
def test_bad_settings_are_refused(make_bad, value):
    with pytest.raises(ValueError, match=value):
        make_bad()


# --- certificates


@pytest.mark.parametrize("k, n, alpha", [(0, 10, 0.05), (7, 10, 0.05), (10, 10, 0.001), (930, 1000, 0.001)])
def test_the_bound_on_a_proportion_is_clopper_and_pearsons(k, n, alpha):
    found = lower_confidence_bound(torch.tensor([k]), n, alpha).item()
    exact = binomtest(k, n, alternative="greater").proportion_ci(1 - alpha, method="exact").low
    assert found == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("n", [1, 10, 101, 10_000])
def test_bounds_p_values_and_quantiles_are_those_of_scipy_stats(n):
    k = torch.arange(0, n + 1, max(1, n // 50))
    for alpha in (1e-6, 0.001, 0.05):
        low = lower_confidence_bound(k[1:], n, alpha)
        torch.testing.assert_close(low, torch.from_numpy(beta.ppf(alpha, k[1:], n - k[1:] + 1)), rtol=1e-12, atol=0.0)
        quantile = torch.from_numpy(normal.ppf(low))
        torch.testing.assert_close(torch.special.ndtri(low), quantile, rtol=1e-12, atol=1e-12)
    exact = torch.tensor([binomtest(a, n, 0.5).pvalue for a in k.tolist()], dtype=torch.float64)
    torch.testing.assert_close(binomial_p_value(k, n - k), exact, rtol=1e-12, atol=0.0)


class Half(nn.Module):
    """Class 1 where the first pixel is above 0.5: smoothed, its certified radius is the distance to 0.5."""

    def forward(self, x):
        return torch.stack([0 * x[:, 0, 0, 0], x[:, 0, 0, 0] - 0.5], 1)


def test_the_certificate_of_a_linear_classifier_nears_its_distance_and_never_exceeds_it():
    x = torch.zeros(100, 1, 2, 2)
    x[:, 0, 0, 0] = torch.linspace(0, 1, 100)
    distance = (x[:, 0, 0, 0] - 0.5).abs().double()
    classes, radius = Smoothed(Half(), 0.5).certify(x, n=2000, alpha=0.01, n0=200)
    sure = classes != ABSTAIN
    assert (classes[sure] == (x[sure, 0, 0, 0] > 0.5)).all() and (radius[~sure] == 0).all()
    assert (radius > distance).double().mean() <= 0.02  # each is wrong with chance 0.01 at most
    assert (radius[distance > 0.3] > 0.7 * distance[distance > 0.3]).all() and sure[distance > 0.2].all()
    expected = 0.5 * normal.ppf(lower_confidence_bound(torch.tensor([2000]), 2000, 0.01).item())
    far = torch.full((1, 1, 2, 2), 9.0)
    assert Smoothed(Half(), 0.5).certify(far, n=2000, alpha=0.01)[1].item() == pytest.approx(expected)


def test_prediction_abstains_where_two_classes_are_alike():
    x = torch.full((4, 1, 2, 2), 0.5)
    x[2:, 0, 0, 0] = 2.0
    smoothed = Smoothed(Half(), 0.5)
    assert smoothed.predict(x, n=100).tolist() == [ABSTAIN, ABSTAIN, 1, 1]


def test_so_few_draws_that_they_could_only_abstain_are_refused():
    smoothed, x = Smoothed(Half(), 0.5), torch.full((1, 1, 2, 2), 9.0)
    for call, least in ((smoothed.predict, 11), (lambda x, n: smoothed.certify(x, n)[0], 10)):
        with pytest.raises(ValueError, match=f"n must be at least {least} for alpha=0.001, got {least - 1}"):
            call(x, least - 1)
        assert call(x, least).tolist() == [1]  # the least that works does
    with pytest.raises(ValueError, match="n must be at least 8 for alpha=0.01, got 1"):
        smoothed.predict(x, n=1, alpha=0.01)


def test_answers_in_train_mode_are_those_of_eval_mode_and_change_no_statistics():
    torch.manual_seed(0)
    x, y = torch.rand(6, 3, 9, 8), torch.tensor([0, 1, 2, 3, 0, 1])
    smoothed, plain = Smoothed(Small(), 0.3), Small()
    ways = {
        "predict": (smoothed, lambda: smoothed.predict(x, n=30)),
        "certify": (smoothed, lambda: torch.stack([v.double() for v in smoothed.certify(x, n=30, n0=20)])),
        "counts": (smoothed, lambda: smoothed.counts(x, 30)),
        "reconstruct": (plain, lambda: Reconstruct(plain.body[0])(x)),
        "successes": (plain, lambda: successful_examples(plain, {"pgd": PGD(Linf(0.5), steps=3)}, x, y)["pgd"][0]),
        "scores": (plain, lambda: Detector(MaxSoftmax(plain)).scores(x)),
    }  # fmt: skip
    for name, (module, answer) in ways.items():
        expected = (module.eval(), answer())[1]
        module.train()
        before = {k: v.clone() for k, v in module.state_dict().items()}
        assert torch.equal(answer(), expected), name
        assert module.training and all(torch.equal(v, module.state_dict()[k]) for k, v in before.items()), name


@pytest.mark.parametrize("name", ["adversarial-training", "noise-training", "interval-training"])
def test_methods_measure_in_eval_mode_and_go_back(name):
    method, seen = make(name).train(), set()
    for part in method.modules():
        part.register_forward_pre_hook(lambda m, _: seen.add(m.training))
    method.evaluate(toy(8))
    assert seen == {False} and all(m.training for m in method.modules())


def test_an_images_certificate_does_not_depend_on_its_batch_or_on_the_passes_together():
    x = images()
    classes, radius = Smoothed(net(), 0.3).certify(x, n=50)
    for i in range(len(x)):
        one, r = Smoothed(net(), 0.3, batch=7).certify(x[i : i + 1], n=50)
        assert one[0] == classes[i] and r[0] == radius[i]
    assert Smoothed(net(), 0.3).counts(x, 37).sum(1).tolist() == [37, 37, 37]


def test_the_smoothed_model_gives_the_mean_probability_and_a_gradient():
    x = torch.full((2, 1, 2, 2), 0.7, requires_grad=True)
    torch.manual_seed(0)
    found = Smoothed(Half(), 0.5, samples=4000)(x)
    torch.manual_seed(0)
    u = 0.7 + 0.5 * torch.randn(4000, 2, 1, 2, 2)[:, :, 0, 0, 0] - 0.5
    torch.testing.assert_close(found.exp()[:, 1], u.sigmoid().mean(0))
    assert torch.autograd.grad(found[:, 1].sum(), x)[0][:, 0, 0, 0].gt(0).all()


def test_certified_accuracy_counts_the_right_within_each_radius_and_falls():
    right, radius = torch.tensor([True, True, False]), torch.tensor([0.1, 0.5, 0.9])
    assert certified_accuracy(right, radius, torch.tensor([0.0, 0.2, 0.6])).tolist() == [2 / 3, 1 / 3, 0]


def test_interval_bounds_of_a_linear_classifier_are_exact():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), toy(32).x * 0.5 + 0.25
    y, eps = model(x).argmax(1), 0.05
    w = model[1].weight
    worst = worst_logits(model, x, y, eps)
    for k in range(3):
        adv = x + eps * (w[k] - w[y]).sign().view(x.shape)
        logits = model(adv)
        torch.testing.assert_close(worst[:, k], logits[:, k] - logits.gather(1, y[:, None])[:, 0])
    assert torch.equal(certified(model, x, y, eps), worst.scatter(1, y[:, None], -1.0).amax(1) < 0)


def test_no_point_of_the_box_leaves_its_bounds_and_no_attack_breaks_a_certificate():
    method = fit(make("interval-training"), stream(16), TrainOptions(images=1600, batch=16))
    net_, x, y = method.net, toy(64).x, toy(64).labels
    low, high = propagate(net_, (x - 0.05).clamp(0, 1), (x + 0.05).clamp(0, 1))
    logits = net_((x + 0.1 * torch.rand_like(x) - 0.05).clamp(0, 1))
    assert (logits >= low - 1e-4).all() and (logits <= high + 1e-4).all()
    sure = certified(net_, x, y, 0.02)
    assert 0.2 < sure.float().mean()
    adv = PGD(Linf(0.02), steps=10, restarts=2)(net_, x, y)
    assert (net_(adv).argmax(1) == y)[sure].all()


# --- adversarial training


class Recording(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.seen = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), []

    def forward(self, x):
        if torch.is_grad_enabled() and self.body[1].weight.requires_grad:
            self.seen.append(x.detach().clone())
        return self.body(x)


def test_the_network_learns_from_images_at_the_edge_of_the_ball_that_grows():
    method = make("adversarial-training fast")
    net_ = method.net = Recording()
    method.attack = FGSM(Linf(0.1))
    data, update = stream(8), Update(method.optimizers())
    sizes = []
    for update.progress in (0.0, 0.25, 0.5, 0.9):
        clean = next(stream_at(data.images))[0]
        method.step(data, update)
        sizes.append((net_.seen[-1] - clean).abs().max().item())
    assert sizes == pytest.approx([0.0, 0.05, 0.1, 0.1], abs=1e-6)


def stream_at(images_seen):
    data = stream(8)
    data.images = images_seen
    return data


def test_images_are_made_for_other_networks_too():
    method, asked = make("adversarial-training"), []

    class Other(nn.Module):
        def forward(self, x):
            asked.append(len(x))
            return x.flatten(1)[:, :3]

    method.others = (Other(),)
    data, update = stream(8), Update(method.optimizers())
    torch.manual_seed(0)
    for _ in range(20):
        method.step(data, update)
    assert 5 * method.attack.steps <= len(asked) <= 15 * method.attack.steps
    assert not [name for name in method.state_dict() if "others" in name]


def test_free_training_takes_so_many_steps_on_a_batch_and_stays_in_the_ball():
    method = make("adversarial-training free")
    net_ = method.net = Recording()
    method.config = replace(method.config, replays=5)
    clean = next(stream(8))[0]
    method.step(stream(8), Update(method.optimizers()))
    assert len(net_.seen) == 5
    moved = torch.stack(net_.seen) - clean
    assert moved.abs().max() <= method.ball.eps + 1e-6 and (moved[0] - moved[4]).abs().max() > 0.01


def test_trades_moves_away_from_the_answer_and_not_from_the_label():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), toy(16).x
    clean = model(x).log_softmax(1).detach()
    attack = TradesPGD(L2(0.5), 10, clean=clean)
    a, b = (attack(model, x, torch.full((16,), label)) for label in (0, 1))
    assert torch.equal(a, b)
    divergence_ = lambda z: (clean.exp() * (clean - model(z).log_softmax(1))).sum(1)
    start = (x + L2(0.5).random(x, 0, 0)).clamp(0, 1)
    assert (divergence_(a) > divergence_(start)).all()


def test_fast_fgsm_starts_at_random_and_takes_one_step_of_one_and_a_quarter_eps():
    x, y = toy(8).x, toy(8).labels
    attack = FastFGSM(Linf(0.1), seed=3)
    model = net_of(x)
    start = (x + Linf(0.1).random(x, 3, 0)).clamp(0, 1).requires_grad_()
    (g,) = torch.autograd.grad(nn.functional.cross_entropy(model(start), y, reduction="sum"), start)
    expected = (x + (start.detach() + 0.125 * g.sign() - x).clamp(-0.1, 0.1)).clamp(0, 1)
    torch.testing.assert_close(attack(model, x, y), expected)
    assert attack.at(0.2).ball.eps == 0.2


def net_of(x):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(x.shape[1:]), 3))


def test_training_on_attacks_resists_them_where_plain_training_does_not():
    known, test = load("digits"), load("digits", "test").subset(slice(0, 150))
    config = AdversarialTrainingConfig(eps=0.1, steps=3, net="mlp", width=64, lr=5e-3)
    hard, plain = (config.build(known.shape, 10) for _ in range(2))
    plain.attack = FGSM(Linf(0.0))
    for method in (hard, plain):
        fit(method, Stream(known, 64), TrainOptions(images=10_000, schedule="cosine"))
    x, y = test.x, test.labels

    def robust(model):
        return (model(PGD(Linf(0.1), steps=20)(model, x, y)).argmax(1) == y).float().mean().item()

    assert robust(hard) > robust(plain) + 0.2
    found = hard.evaluate(test)
    assert set(found) == {"accuracy", "robust_accuracy"} and found["robust_accuracy"] <= found["accuracy"]


def test_the_plugin_lists_methods_that_build():
    from genlab.core.registry import resolve

    for target, _ in plugin.METHODS.values():
        assert resolve(target)().build(SHAPE, 3)(toy(2).x).shape == (2, 3)


# --- what a defence is worth


def rows(success):
    """A report of one attack on four models: (fooled, correct) by name."""
    found = Evaluation()
    for model, (fooled, correct) in success.items():
        rate, nothing = Rate(fooled, correct), Sizes(None, None, None)
        source = "none" if model == "shield" else model
        found.rows.append(Row(model, source, "pgd", "", "linf", 0.1, 100, rate, 0.9, 0.5, *[nothing] * 3, 0, 0, 0))
        found.worst_case.append(WorstCase(model, source, "linf", 0.1, ("pgd",), rate, 0.5))
    return found


@pytest.mark.parametrize(
    "undefended, oblivious, adaptive, text",
    [(90, 10, 10, "helps"), (90, 10, 88, "oblivious only"), (90, 88, 92, "not significant"), (50, 48, 90, "hurts")],
)
def test_a_gain_that_vanishes_for_who_knows_is_called_by_its_name(undefended, oblivious, adaptive, text):
    counts = {"none": undefended, "shield": oblivious, "shield, adaptive": adaptive}
    found = rows({model: (n, 100) for model, n in counts.items()})
    (verdict,) = verdicts(found)
    assert (verdict.defence, verdict.text, verdict.clean) == ("shield", text, 0.9)
    assert to_json(found)["verdicts"][0]["verdict"] == text and text in str(table([verdict]).columns[-1]._cells)


def test_a_blind_filter_helps_only_if_unknown_and_its_hidden_gradient_is_named():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    x = torch.rand(100, 1, 8, 8)
    y = model(x).argmax(1)
    models, sources = models_and_sources(model, {"bits": Filtered(BitDepth(6), model), "trained": model.eval()})
    assert list(models) == ["none", "bits", "bits, adaptive"] and sources == {"bits": "none"}
    hidden = nn.Sequential(Filtered(BitDepth(6), model))  # an attacker who goes through it without a thought
    found = evaluate({"none": model, "shield": hidden, "shield, adaptive": models["bits, adaptive"]},
                     {"pgd": PGD(Linf(0.2), steps=5)}, x, y)  # fmt: skip
    assert [v.text for v in verdicts(found)] == ["oblivious only"]
    assert (
        "shield: the gradient is exactly zero on 100 % of the inputs: gradient-based attacks may fail."
        in found.warnings
    )


def test_a_committee_answers_with_the_mean_of_its_members_probabilities():
    torch.manual_seed(0)
    members = [nn.Linear(4, 3) for _ in range(3)]
    x = torch.rand(5, 4)
    expected = sum(m(x).softmax(1) for m in members) / 3
    torch.testing.assert_close(ProbabilityEnsemble(members)(x).exp(), expected)
    with pytest.raises(ValueError, match="none"):
        ProbabilityEnsemble([])


class Small(nn.Module):
    """Dropout and BatchNorm, so that a mode that is not restored would show."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Dropout(0.5), nn.Linear(216, 4))

    def forward(self, x):
        return self.body(x)


@pytest.mark.parametrize("name", plugin.DEFENCES)
def test_a_defended_model_keeps_the_contract_of_attacks(name):
    torch.manual_seed(0)
    model, x = Small().train(), torch.rand(4, 3, 9, 8)
    shield = plugin.defence(name, model)
    y, ball = shield.eval()(x).argmax(1), Linf(0.1)
    shield.train()
    before = {k: v.clone() for k, v in shield.state_dict().items()}

    def attacked():
        torch.manual_seed(1)
        return PGD(ball, steps=3)(shield.adaptive() if hasattr(shield, "adaptive") else shield, x, y)

    adv = attacked()
    assert torch.equal(adv, attacked())  # also where the defence is random
    assert adv.min() >= 0 and adv.max() <= 1 and ball.size(adv - x).max() <= 0.1 + 1e-6
    assert (adv != x).flatten(1).any(1).all()
    assert model.training and model.body[2].training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert all(torch.equal(v, shield.state_dict()[k]) for k, v in before.items())


@pytest.mark.parametrize("name", plugin.DEFENCES)
def test_a_defended_model_moves_and_is_saved_as_plain_tensors(name, tmp_path):
    torch.manual_seed(0)
    a, b = (plugin.defence(name, Small().eval()) for _ in range(2))
    torch.save(a.state_dict(), tmp_path / "weights")
    b.load_state_dict(torch.load(tmp_path / "weights", weights_only=True))
    x = torch.rand(2, 3, 9, 8)
    torch.manual_seed(2)
    expected = a.eval()(x)
    torch.manual_seed(2)
    assert torch.equal(b.eval()(x), expected)
    if name != "jpeg":  # which passes through a file
        assert plugin.defence(name, Small()).to("meta")(x.to("meta")).device.type == "meta"
