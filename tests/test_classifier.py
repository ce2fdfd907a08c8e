"""The classifier's options: hinge loss, the check of the first loss, dropout in blocks, spatial transformer."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn.functional import multi_margin_loss
from toys import SHAPE, images, stream

from genlab.methods.classification.classifier import Classifier, ClassifierConfig, hinge
from genlab.nets.classifiers import LENETS, NETWORKS
from genlab.nets.dropout import with_dropout
from genlab.nets.spatial_transformer import PACE, SpatialTransformer
from genlab.training.loop import fit
from genlab.training.method import TrainOptions


def test_the_hinge_loss_is_that_of_torch_times_the_classes_and_c_minus_1_at_the_start():
    logits, y = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    torch.testing.assert_close(hinge(logits, y), 4 * multi_margin_loss(logits, y))
    assert hinge(torch.full((6, 4), 2.5), y) == 3 and hinge(10 * torch.eye(4)[y], y) == 0


@pytest.mark.parametrize("loss, expected", [("cross-entropy", "log 3 = 1.10"), ("hinge", "3 - 1 = 2.00")])
def test_a_first_loss_unlike_that_of_an_untrained_network_is_warned_of(loss, expected):
    config = ClassifierConfig("mlp", 8, loss=loss)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(config.build(SHAPE, 3), stream(64), TrainOptions(images=64))
    wild = config.build(SHAPE, 3)
    with torch.no_grad():
        wild.net[-1].bias.copy_(torch.tensor([50.0, 0, 0]))
    with pytest.warns(UserWarning, match=f"far from {expected}: check labels"):
        fit(wild, stream(64), TrainOptions(images=64))


def test_a_label_without_an_output_is_named_with_the_hinge_loss_too():
    with pytest.raises(ValueError, match="label 2, but the network has no output"):
        fit(ClassifierConfig("mlp", 8, loss="hinge").build(SHAPE, 2), images(64), TrainOptions(images=64))


@pytest.mark.parametrize("name", [*NETWORKS, *LENETS])
def test_dropout_in_blocks_is_before_every_layer_but_the_first(name):
    torch.manual_seed(0)
    net = (NETWORKS | LENETS)[name]((1, 16, 16), 3)
    x = torch.rand(4, 1, 16, 16)
    plain = net.eval()(x)
    net = with_dropout(net, 0.5, "blocks")
    assert torch.equal(net.eval()(x), plain)
    order = [part for part in net.modules() if isinstance(part, nn.Conv2d | nn.Linear | nn.Dropout)]
    dropped = [type(a) is nn.Dropout for a, b in zip(order, order[1:]) if type(b) is not nn.Dropout]
    assert sum(dropped) == (7 if name == "resnet" else len(dropped))  # six blocks and the last layer
    net.train()
    assert not torch.equal(net(x), net(x))


def test_dropout_in_blocks_needs_blocks():
    for net in (nn.Linear(2, 2), nn.Sequential(nn.Flatten(), nn.Linear(2, 2))):
        with pytest.raises(ValueError, match="dropout .*needs"):
            with_dropout(net, 0.5, "blocks")


def test_a_spatial_transformer_begins_as_the_identity_and_learns():
    method = ClassifierConfig("mlp", 8, spatial_transformer=True).build(SHAPE, 3)
    transformer, x = method.net[0], torch.rand(5, *SHAPE)
    torch.testing.assert_close(transformer(x), x)
    first = transformer.theta(x).detach()
    fit(method, stream(16), TrainOptions(images=160))
    assert not torch.equal(transformer.theta(x), first)


def test_a_spatial_transformer_resamples_by_theta():
    transformer, x = SpatialTransformer((2, 6, 9), width=4), torch.rand(3, 2, 6, 9)
    with torch.no_grad():
        transformer.localisation[-1].bias.copy_(torch.tensor([-2.0, 0, 0, 0, 0, 0]) / PACE)
    torch.testing.assert_close(transformer(x), x.flip(3))
    with torch.no_grad():  # three columns of nine to the left
        transformer.localisation[-1].bias.copy_(torch.tensor([0, 0, 2 / 3, 0, 0, 0]) / PACE)
    torch.testing.assert_close(transformer(x)[..., :6], x[..., 3:])
    assert not transformer(x)[..., 6:].any()


def test_own_networks_take_a_spatial_transformer():
    net = nn.Sequential(SpatialTransformer(SHAPE), nn.Flatten(), nn.Linear(64, 3))
    assert Classifier(net)(torch.rand(2, *SHAPE)).shape == (2, 3)
