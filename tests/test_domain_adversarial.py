"""Domain-adversarial training: the reversed gradient in closed form, and what the method may know of its target."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from toys import make, source

from genlab.data import Pair, Stream
from genlab.data.pairs import labelled_sides
from genlab.methods.classification.domain_adversarial import ramp, reverse_gradient
from genlab.training.update import Update


def test_the_reversed_gradient_is_minus_lambda_times_the_gradient():
    x, weight = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3)
    same = reverse_gradient(x, 0.7)
    assert torch.equal(same, x)
    (weight * same).sum().backward()
    assert torch.equal(x.grad, -0.7 * weight)


def test_lambda_rises_as_in_section_5_2_2():
    assert ramp(0.0) == 0 and ramp(0.1) == pytest.approx(math.tanh(0.5)) and 0.9999 < ramp(1.0) < 1


def test_features_ascend_the_domain_loss_that_the_domain_classifier_descends():
    method, data = make("domain-adversarial"), Stream(source("domain-adversarial"), 8)
    (x, y), (x_target, _) = data.sides()
    f = method.features(torch.cat([x, x_target]))
    label_loss = cross_entropy(method.net[-1](f[:8]), y)
    domain_loss = binary_cross_entropy_with_logits(method.domain(f), torch.arange(16).ge(8).float())
    features, domain = list(method.net[:-1].parameters()), list(method.domain.parameters())
    expected = torch.autograd.grad(label_loss - ramp(0.5) * domain_loss, features, retain_graph=True)
    expected += torch.autograd.grad(domain_loss, domain)
    data.images, update = 0, Update(method.optimizers())
    update.progress = 0.5
    method.step(data, update)
    for parameter, gradient in zip(features + domain, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_labels_of_the_target_are_never_used():
    pair, trained = source("domain-adversarial"), []
    hidden = replace(pair.b, labels=torch.zeros_like(pair.b.labels))
    for data in (pair, Pair(pair.a, hidden)):
        method = make("domain-adversarial")
        method.step(Stream(data, 8), Update(method.optimizers()))
        trained.append(method.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(trained[0].values(), trained[1].values(), strict=True))


def test_sides_are_what_a_stream_yields_and_one_set_has_none():
    data, again = (Stream(source("domain-adversarial"), 8) for _ in range(2))
    (x_a, y_a), (x_b, y_b) = data.sides()
    assert all(map(torch.equal, (x_a, x_b), next(again))) and data.images == again.images == 8
    means = [0.15 + 0.3 * y.double() for y in (y_a, y_b)]  # of the toy's classes
    for x, mean in zip((x_a, x_b), means):
        assert (x.double().mean((1, 2, 3)) - mean).abs().max() < 0.1
    with pytest.raises(ValueError, match="two sets with labels, as in --data unpaired:A,B"):
        labelled_sides(Stream(source(), 8))
