"""Detectors against closed forms, the false alarms they promise, and attacks that evade them."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor, nn

from attacks.carlini import CarliniL2
from attacks.core.ball import L2, Linf
from attacks.core.model import Attack
from attacks.defences.detection import Detector, GuardedClassifier, undetected
from attacks.defences.scores import (
    Entropy,
    JensenShannon,
    LogisticRegressionScore,
    Mahalanobis,
    MaxSoftmax,
    NegativeLogLikelihood,
    ReconstructionError,
    Squeezing,
)
from attacks.defences.smoothing import BitDepth, Filtered, Mean
from attacks.detector_aware import DetectorAware
from attacks.evaluation.detectors import Comparison, evasion, halves, successful_examples
from attacks.evaluation.evaluate import evaluate
from attacks.evaluation.roc import Costs, auc, roc
from attacks.pgd import PGD


class Pixels(nn.Module):
    """What `read` says of the flattened image, in the precision of the image."""

    def __init__(self, read: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.read = read

    def forward(self, x: Tensor) -> Tensor:
        return self.read(x.flatten(1))


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def net(classes: int = 3) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(36, 16), nn.Tanh(), nn.Dropout(0.5), nn.Linear(16, classes)).eval()


SCORES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "squeezing": lambda m: Squeezing(m, BitDepth(1), Mean(3)),
    "max-softmax": MaxSoftmax,
    "entropy": Entropy,
    "mahalanobis": lambda m: Mahalanobis.fit(m[:2], draw(50, 1, 6, 6), torch.arange(50) % 3, noise=0.01),  # type: ignore[index]
    "reconstruction": lambda m: ReconstructionError(Mean(3)),
    "divergence": lambda m: JensenShannon(m, Mean(3), 1.0),
    "unlikely": lambda m: NegativeLogLikelihood(lambda x: -(x - 0.5).square().flatten(1).sum(1)),
    "together": lambda m: LogisticRegressionScore.fit(
        [MaxSoftmax(m), Entropy(m)], draw(9, 1, 6, 6), draw(9, 1, 6, 6, seed=1)
    ),
}


@pytest.mark.parametrize("fpr", [0.01, 0.1, 0.5])
def test_a_threshold_keeps_its_false_positive_rate_on_held_out_images(fpr: float) -> None:
    brightness = Detector(Pixels(lambda x: x.mean(1)))
    found = brightness.calibrate(draw(4000, 1, 2, 2), fpr)
    rate = found(draw(4000, 1, 2, 2, seed=1)).double().mean().item()
    assert abs(rate - fpr) < 4 * math.sqrt(2 * fpr * (1 - fpr) / 4000)


def test_the_rate_holds_on_average_even_from_very_few_images() -> None:
    x, score = draw(500, 20, 1, 1, 1), Detector(Pixels(lambda x: x[:, 0]))
    alarms = [score.calibrate(some[:19], 0.1)(some[19:]).item() for some in x]
    assert abs(np.mean(alarms) - 0.1) < 4 * math.sqrt(0.09 / 500)  # exactly 0.1 by symmetry


@pytest.mark.parametrize("name", SCORES)
def test_scores_are_one_number_per_image_that_attacks_can_differentiate(name: str) -> None:
    score, x = SCORES[name](net()), draw(5, 1, 6, 6).requires_grad_()
    values = score(x)
    (slope,) = torch.autograd.grad(values.sum(), x)
    assert values.shape == (5,) and slope.isfinite().all() and (slope.flatten(1) != 0).any(1).all()
    assert torch.allclose(torch.cat([score(one[None]) for one in x]), values, atol=1e-6)


def test_confidence_scores_are_those_of_the_probabilities_and_stay_exact_where_these_saturate() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0], [50.0, 0.0, -9.0], [3.0, 1.0, 2.0], [-300.0, 0.0, 0.0]], requires_grad=True)
    p = logits.detach().double().softmax(1)
    most, entropy = MaxSoftmax(lambda x: x)(logits), Entropy(lambda x: x)(logits)
    assert torch.allclose(most.double(), torch.cat([1 - p.amax(1)[:1], p[1:2, 1:].sum(1), 1 - p.amax(1)[2:]]))
    assert most[1].item() == pytest.approx(math.exp(-50), rel=1e-4)
    assert torch.allclose(entropy.double(), torch.special.entr(p).sum(1), atol=1e-6)
    assert torch.autograd.grad((most + entropy).sum(), logits)[0].isfinite().all()


def test_squeezing_is_the_largest_gap_between_answers() -> None:
    model, x = net(), draw(4, 1, 6, 6)
    gaps = [(model(x).softmax(1) - model(f(x)).softmax(1)).abs().sum(1) for f in (BitDepth(1), Mean(3))]
    assert torch.allclose(Squeezing(model, BitDepth(1), Mean(3))(x), torch.maximum(*gaps), atol=1e-6)
    assert Squeezing(model, BitDepth(1))(x.round()).abs().max() == 0


def test_mahalanobis_of_gaussian_features_is_the_closed_form() -> None:
    root = torch.tensor([[1.0, 0.0], [2.0, 0.5]], dtype=torch.float64)
    y, centres = torch.arange(6000) % 2, torch.tensor([[0.0, 0.0], [9.0, -3.0]], dtype=torch.float64)
    features = (
        torch.randn(6000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) @ root.T + centres[y]
    )
    wide = torch.cat([features, features.sum(1, keepdim=True), torch.ones(6000, 1)], 1)  # of rank 2
    found = [Mahalanobis.fit(lambda x: x, f, y) for f in (features, wide)]
    asked = torch.tensor([[1.0, 1.0], [8.0, -3.0], [4.0, 4.0]], dtype=torch.float64)
    precision = (root @ root.T).inverse()
    exact = torch.stack([((asked - c) @ precision * (asked - c)).sum(1) for c in centres]).amin(0)
    assert torch.allclose(found[0](asked), exact, rtol=0.06)
    same = torch.cat([asked, asked.sum(1, keepdim=True), torch.full((3, 1), 7.0)], 1)
    assert torch.allclose(found[1](same), found[0](asked), rtol=1e-6)


def test_mahalanobis_pools_maps_and_its_step_brings_an_image_nearer_to_a_class() -> None:
    x, y = draw(60, 2, 6, 6).double(), torch.arange(60) % 3
    maps = Mahalanobis.fit(lambda x: x, x, y)
    assert torch.allclose(maps(x), Mahalanobis.fit(lambda x: x.mean((2, 3)), x, y)(x), rtol=1e-9)
    stepped = Mahalanobis(lambda x: x, maps.whiten, maps.means, noise=1e-4)
    assert (stepped(x) < maps(x)).all()


def test_reconstruction_divergence_and_likelihood_are_their_formulas() -> None:
    x, model = draw(4, 1, 6, 6), net(2)
    assert torch.allclose(ReconstructionError(lambda x: x - 0.5)(x), torch.tensor(0.25))
    assert torch.allclose(ReconstructionError(lambda x: x - 0.5, p=1)(x), torch.tensor(0.5))
    assert JensenShannon(model, lambda x: x)(x).abs().max() < 1e-7
    apart = JensenShannon(Pixels(lambda x: 900 * (2 * x[:, :2] - 1)), lambda x: 1 - x)
    assert torch.allclose(apart(torch.tensor([[[[1.0, 0.0]]]])), torch.tensor(math.log(2)))
    assert torch.equal(NegativeLogLikelihood(lambda x: x[:, 0, 0, 0])(x), -x[:, 0, 0, 0])


def test_scores_together_tell_more_than_each_alone() -> None:
    clean = torch.randn(500, 1, 1, 2, generator=torch.Generator().manual_seed(0))
    attacked = torch.randn(500, 1, 1, 2, generator=torch.Generator().manual_seed(1)) + 1
    ends = Pixels(lambda x: x[:, 0]), Pixels(lambda x: 100 * x[:, 1])
    both = Detector(LogisticRegressionScore.fit(ends, clean, attacked))
    alone = [auc(Detector(end).scores(clean), Detector(end).scores(attacked)) for end in ends]
    assert auc(both.scores(clean), both.scores(attacked)) == pytest.approx(0.84, abs=0.03)  # Phi(1)
    assert max(alone) < 0.80


def test_area_and_curve_agree_with_scikit_learn_ties_included() -> None:
    clean, attacked = (10 * draw(70)).round(), (10 * draw(50, seed=1)).round() + 2
    kinds, scores = np.r_[np.zeros(70), np.ones(50)], torch.cat([clean, attacked]).numpy()
    assert auc(clean, attacked) == pytest.approx(roc_auc_score(kinds, scores), abs=1e-12)
    curve, theirs = roc(clean, attacked), roc_curve(kinds, scores, drop_intermediate=False)
    assert np.allclose(curve.false_positive_rate, theirs[0]) and np.allclose(curve.true_positive_rate, theirs[1])
    assert torch.trapezoid(curve.true_positive_rate, curve.false_positive_rate).item() == pytest.approx(
        auc(clean, attacked)
    )
    assert auc(torch.zeros(3), torch.zeros(4)) == 0.5 and auc(torch.zeros(3), torch.ones(4)) == 1


@pytest.mark.parametrize("costs", [Costs(), Costs(miss=10), Costs(alarm=10), Costs(share=0.01), Costs(miss=0)], ids=str)
def test_the_cheapest_threshold_is_the_best_of_all_and_never_worse_than_not_looking(costs: Costs) -> None:
    clean, attacked = draw(40), draw(30, seed=1) + 0.4
    least = costs.measure(clean, attacked, costs.cheapest(clean, attacked))
    assert least <= min(costs.measure(clean, attacked, t) for t in torch.linspace(-0.1, 1.5, 401).tolist()) + 1e-12
    assert least <= costs.without_detector
    assert costs.measure(clean, attacked, math.inf) == pytest.approx(costs.share * costs.miss)


def guarded(rule: float = 0.1) -> GuardedClassifier:
    """Two classes, is the first pixel bright? An alarm where the first two pixels differ by more than `rule`."""
    model = Pixels(lambda x: torch.stack([0.5 - x[:, 0], x[:, 0] - 0.5], 1) * 20)
    return GuardedClassifier(model, Detector(Pixels(lambda x: (x[:, 0] - x[:, 1]).abs()), rule))


def test_the_alarm_is_the_answer_exactly_where_a_detector_raises_it() -> None:
    x, model = draw(200, 1, 1, 3), guarded()
    sharp = GuardedClassifier(model.model, *model.detectors, Detector(Pixels(lambda x: x[:, 2]), 0.9))  # type: ignore[arg-type]
    alarm, plain = model.detectors[0](x), model.model(x).argmax(1)
    assert torch.equal(model(x).argmax(1), torch.where(alarm, 2, plain)) and 0.2 < alarm.double().mean() < 0.9
    assert torch.equal(sharp(x).argmax(1), torch.where(alarm | (x[:, 0, 0, 2] > 0.9), 2, plain))
    assert torch.equal(sharp(x)[:, :2], sharp.model(x))


@pytest.mark.parametrize(
    "inner",
    [
        PGD(Linf(0.3), steps=60, step_size=0.025),
        PGD(L2(0.5), steps=90, step_size=0.03, early_stop=True),
        CarliniL2(steps=60, searches=2, initial_c=1.0),
    ],
    ids=lambda attack: type(attack).__name__,
)
def test_attacks_that_know_the_detector_evade_it_where_others_are_caught(inner: Attack) -> None:
    model, x = guarded(), 0.3 + 0.01 * draw(12, 1, 1, 3)
    y = torch.arange(12) % 2
    x = torch.where((y == 0).view(-1, 1, 1, 1), x, 1 - x)
    oblivious = inner(model.model, x, y)
    assert (model.model(oblivious).argmax(1) != y).all() and undetected(model, x, oblivious, y).fooled <= 5
    models = {"plain": model.model, "guarded": model}
    caught = evaluate(models, {"oblivious": inner}, x, y, sources={"guarded": "plain"}).rows
    for row in (row for row in caught if row.attack == "oblivious"):
        before = 12 if row.model == "plain" else undetected(model, x, oblivious, y).fooled
        assert row.success.fooled == before  # who is caught has not succeeded
    adv = DetectorAware(inner)(model, x, y)
    assert undetected(model, x, adv, y).value == 1.0
    row = evaluate({"guarded": model}, {"both": DetectorAware(inner)}, x, y).rows[0]
    assert row.success.value == 1.0 and row.eps == (inner.ball.eps if hasattr(inner, "ball") else None)  # type: ignore[attr-defined]


def test_an_alarm_on_the_way_does_not_hold_the_attack_back() -> None:
    sure = guarded().model
    model = GuardedClassifier(sure, Detector(MaxSoftmax(sure), 0.1, unit=0.01))
    x, y = 0.3 + 0.01 * draw(10, 1, 1, 3), torch.zeros(10, dtype=torch.int64)
    half_way = x + (0.5 - x) * torch.tensor([1.0, 0.0, 0.0])
    assert (model(half_way).argmax(1) == 2).all()
    assert (
        undetected(model, x, DetectorAware(PGD(Linf(0.4), steps=20, random_start=False))(model, x, y), y).value == 1.0
    )


def test_an_attack_that_finds_no_way_round_the_detector_returns_the_original() -> None:
    model, x, y = guarded(), torch.full((4, 1, 1, 3), 0.3), torch.zeros(4, dtype=torch.int64)
    assert torch.equal(DetectorAware(PGD(Linf(0.1)))(model, x, y), x)
    everything = GuardedClassifier(model.model, Detector(Pixels(lambda x: x[:, 0]), 0.35))
    assert torch.equal(DetectorAware(PGD(Linf(0.6)))(everything, x, y), x)
    assert undetected(everything, x, PGD(Linf(0.6))(everything.model, x, y), y).fooled == 0
    assert DetectorAware(PGD(Linf(0.6))).at(0.2).ball == Linf(0.2)


def test_a_guarded_model_attacks_through_its_filter() -> None:
    filtered = Filtered(BitDepth(1), net())
    model = GuardedClassifier(filtered, Detector(MaxSoftmax(filtered), 0.5)).adaptive()
    assert model.model.straight_through and torch.equal(model(draw(3, 1, 6, 6))[:, :3], filtered(draw(3, 1, 6, 6)))


def test_a_comparison_chooses_on_the_first_half_and_measures_on_the_second() -> None:
    score = Pixels(lambda x: x[:, 0])
    clean, bright = halves(draw(200, 1, 1, 1)), halves(0.5 + draw(100, 1, 1, 1, seed=1))
    found = Comparison.of({"bright": score}, clean, {"lamps": bright, "same": clean})
    a, b = score(clean[1]), score(bright[1])
    assert found.areas() == [{"detector": "bright", "lamps": auc(a, b), "same": 0.5}]
    rule = Costs(miss=3, share=0.2)
    best = rule.cheapest(score(clean[0]), score(bright[0]))
    blind, measured = found.costs({"dear": rule}, "lamps")
    assert blind == {"detector": "none", "dear": rule.without_detector}
    assert measured["dear"] == rule.measure(a, b, best) and measured["dear"] != rule.measure(a, b, 0.9)


def test_successes_and_evasions_count_only_what_was_right_before() -> None:
    model, x = guarded().model, draw(40, 1, 1, 3)
    y = (x[:, 0, 0, 0] > 0.45).long()
    made = successful_examples(model, {"pgd": PGD(Linf(0.2))}, x, y)["pgd"]
    near = (x[:, 0, 0, 0] - 0.5).abs() < 0.2
    wrong = model(x).argmax(1) != y
    assert wrong.any() and [len(part) for part in made] == [
        int((near & ~wrong)[h].sum()) for h in (slice(20), slice(20, 40))
    ]
    score = Pixels(lambda x: (x[:, 0] - x[:, 1]).abs())
    rows = evasion(model, {"gap": score, "blind": Pixels(lambda x: x[:, 2])}, PGD(Linf(0.3)), x, y, 0.5)
    assert [row["detector"] for row in rows] == ["gap", "blind"]
    assert all(row["oblivious"] <= row["adaptive"] and row["clean"] <= 1 - row["false-positive rate"] for row in rows)
    assert rows[0]["oblivious"] < rows[0]["adaptive"]


class Coder(nn.Module):
    """An auto-encoder whose work is a method."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.drop = nn.Parameter(torch.tensor(0.5)), nn.Dropout(0.5)

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.drop(x) * self.scale


def test_a_detector_moves_and_is_saved_with_all_it_borrows_and_leaves_their_mode() -> None:
    coder, x = Coder(), draw(40, 1, 6, 6)
    found = Detector(ReconstructionError(coder.reconstruct)).calibrate(x, 0.1)
    assert torch.equal(found.scores(x), found.scores(x, batch=7)) and coder.drop.training
    torch.save(found.state_dict(), file := io.BytesIO())
    file.seek(0)
    again = Detector(ReconstructionError(Coder().reconstruct))
    again.load_state_dict(torch.load(file, weights_only=True))
    assert again.threshold == found.threshold and torch.equal(again.eval()(x), found.eval()(x))
    for name in SCORES:
        moved = GuardedClassifier(net(), Detector(SCORES[name](net()), 0.5)).to("meta")
        assert all(t.is_meta for t in [*moved.parameters(), *moved.buffers()])
    assert Detector(ReconstructionError(coder.reconstruct)).to("meta").score.autoencode.owner.scale.is_meta  # type: ignore


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda x: Detector(Entropy(net()))(x), "no threshold: call calibrate"),
        (lambda x: Detector(Entropy(net())).calibrate(x, 0.0), r"in \(0, 1\), got 0.0"),
        (lambda x: Detector(Entropy(net())).calibrate(x, 1.0), r"in \(0, 1\), got 1.0"),
        (lambda x: Detector(Entropy(net())).calibrate(x[:0], 0.5), "at least 1 clean images, got 0"),
        (lambda x: Detector(Entropy(net())).calibrate(x, 0.01), "at least 99 clean images, got 8"),
        (
            lambda x: Detector(NegativeLogLikelihood(lambda x: x[:, 0, 0, 0] * math.inf)).calibrate(x, 0.5),
            "finite, got -inf",
        ),
        (lambda x: Squeezing(net()), "at least 1 filter"),
        (lambda x: GuardedClassifier(net()), "at least 1 detector"),
        (lambda x: Mahalanobis.fit(net(), x[:0], torch.zeros(0, dtype=torch.int64)), "got 0"),
        (lambda x: Mahalanobis.fit(lambda x: x * 0, x, torch.zeros(8, dtype=torch.int64)), "8 images do not vary"),
        (lambda x: LogisticRegressionScore.fit([Entropy(net())], x, x[:0]), "8 clean, 0 attacked"),
        (lambda x: JensenShannon(net(), Mean(3), 0.0), "temperature.*0.0"),
        (lambda x: DetectorAware(PGD(Linf(0.1), targeted=True)), "untargeted"),
        (lambda x: auc(torch.zeros(0), torch.zeros(3)), "0 clean and 3 attacked"),
        (lambda x: roc(torch.tensor([math.nan]), torch.zeros(3)), "nan"),
        (lambda x: Costs(share=1.5), "share.*1.5"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(make: Callable[[Tensor], Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        make(draw(8, 1, 6, 6) + 0.1)
    assert "\n" not in str(refused.value)
