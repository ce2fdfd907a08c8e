"""Detectors of images unlike those of training: a learnt confidence, generated outliers, one-class models."""

import math
from dataclasses import replace

import pytest
import torch
from test_detection import draw
from toys import CLASSES, METHODS, SHAPE, images, make, stream

from attacks.defences.one_class import IsolationForest, OneClassSVM
from genlab.data import Stream
from genlab.methods.classification.confidence_branch import hinted_loss
from genlab.methods.classification.generated_outliers import from_uniform
from genlab.training.update import Update


@pytest.mark.parametrize("p, price", [(0.2, 0.1), (0.9, 0.1), (0.5, 2.0)])
def test_the_confidence_that_pays_most_is_the_closed_form(p, price):
    confidence = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    logits = torch.tensor([[math.log(p), math.log(1 - p)]], dtype=torch.float64).expand(len(confidence), 2)
    loss = hinted_loss(logits, confidence, torch.zeros(len(confidence), dtype=torch.int64))
    c = confidence.sigmoid()
    assert torch.allclose(loss, -(c * p + 1 - c).log())
    best = c[(loss - price * c.log()).argmin()].item()
    assert best == pytest.approx(min(1, price / ((1 + price) * (1 - p))), abs=1e-3)


def test_hints_become_dearer_while_the_confidence_is_below_the_budget_and_cheaper_above():
    for bias, direction in ((-3.0, 1), (3.0, -1)):  # -log c is 3.05 and 0.05, the budget 0.3
        method = make("confidence-branch")
        with torch.no_grad():
            method.branch.weight.zero_(), method.branch.bias.fill_(bias)
        method.step(stream(8, "confidence-branch"), Update(method.optimizers()))
        assert (method.price.item() - 0.1) * direction > 0
        x = draw(3, 1, 8, 8)
        assert torch.allclose(method.doubt(x), -method.branch(method.net[:-1](x))[:, 0])


def test_the_divergence_from_uniform_is_0_for_equal_logits_and_its_formula_else():
    logits = torch.tensor([[0.0, math.log(3)]])
    assert from_uniform(logits).item() == pytest.approx(0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75))
    assert from_uniform(torch.full((4, 3), 7.0)).item() == pytest.approx(0, abs=1e-6)


def test_the_classifier_is_unsure_on_what_is_generated_and_the_generator_goes_where_it_is():
    def divergence(**weights):
        torch.manual_seed(0)
        method = replace(METHODS["generated-outliers"], lr=0.1, **weights).build(SHAPE, CLASSES)
        data, update = Stream(images(), 16), Update(method.optimizers())
        return [method.step(data, update)["divergence"] for _ in range(30)][-1].item()

    free = divergence(uniform=0.0, border=0.0)
    assert divergence(uniform=0.0, border=10.0) < 0.95 * free
    assert divergence(uniform=1.0, border=0.0) < 0.2 * free


def test_the_svm_is_scikit_learns_and_has_its_slope():
    from sklearn.svm import OneClassSVM as Fitted

    x, other = draw(40, 1, 4, 4).double(), draw(9, 1, 4, 4, seed=1).double().requires_grad_()
    ours = OneClassSVM.fit(x, 0.2)
    theirs = Fitted(nu=0.2, gamma="scale").fit(x.flatten(1).numpy())
    assert torch.allclose(ours(other), -torch.from_numpy(theirs.decision_function(other.detach().flatten(1).numpy())))
    assert torch.autograd.gradcheck(ours, other)


def test_the_forest_isolates_what_is_far_away():
    x = 0.5 + 0.1 * draw(200, 1, 3, 3)
    forest = IsolationForest.fit(x)
    assert forest(x).max() < forest(torch.rand(5, 1, 3, 3).round()).min() < 1


def test_one_class_models_need_images():
    for kind in (OneClassSVM, IsolationForest):
        with pytest.raises(ValueError, match="images.*got 0"):
            kind.fit(draw(0, 1, 3, 3))
    with pytest.raises(ValueError, match="vary"):
        OneClassSVM.fit(torch.ones(3, 1, 3, 3))
