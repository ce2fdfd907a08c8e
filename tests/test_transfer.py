"""Transfer of layers: what is copied, held or frozen, and progressive columns."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from toys import images

from genlab.data import Pair, Stream
from genlab.methods.classification.classifier import Classifier, ClassifierConfig
from genlab.methods.classification.transfer import Multitask, Transfer, TransferConfig, copy_layers, layers
from genlab.nets.classifiers import cnn, resnet, vgg
from genlab.nets.progressive import Progressive
from genlab.training.loop import fit
from genlab.training.method import TrainOptions
from genlab.training.update import Update

DATA = images(64)
CLASSES = len(DATA.classes)


def net(classes=CLASSES, seed=0, build=vgg):
    torch.manual_seed(seed)
    return build(DATA.shape, classes, 4)


def trained(method, data=DATA, steps=3):
    return fit(method, Stream(data, 16), TrainOptions(images=16 * steps, batch=16))


def values(module):
    return [value.clone() for value in module.state_dict().values()]


def same(a, b):
    return all(map(torch.equal, a, b))


@pytest.mark.parametrize("build, n", [(cnn, 4), (vgg, 7), (resnet, 8)])
def test_layers_begin_with_weights_and_are_the_whole_network(build, n):
    net = build((3, 8, 8), 3, 4)
    found = layers(net)
    assert len(found) == n and [part for layer in found for part in layer] == list(net)
    assert isinstance(found[-1][-1], nn.Linear)


def test_the_first_layers_are_copied_and_no_others():
    old, new = net(7, seed=1), net()
    before = values(new)
    copy_layers(old, new, 2)
    assert all(same(values(a), values(b)) for a, b in zip(layers(old)[:2], layers(new)[:2]))
    assert same(values(nn.Sequential(*layers(new)[2:])), before[-len(values(nn.Sequential(*layers(new)[2:]))) :])
    with pytest.raises(ValueError, match="0 to 7 layers to copy, got 8"):
        copy_layers(old, new, 8)
    with pytest.raises(ValueError, match="layer 7 of the networks differs"):
        copy_layers(old, new, 7)


def test_frozen_layers_stay_bit_for_bit_and_the_others_learn():
    old = net(7, seed=1)
    before = values(old)
    method = trained(Transfer(net(), old, 3, TransferConfig(frozen=True)))
    assert same(values(old), before) and same(values(method.source), before)
    for k, (a, b) in enumerate(zip(layers(method.net)[:6], layers(old))):
        assert same(values(a), values(b)) == (k < 3)  # also the running statistics of the norms
    tuned = trained(Transfer(net(), old, 3))
    assert not same(values(layers(tuned.net)[0]), values(layers(old)[0]))


def test_the_penalty_is_the_squared_distance_of_the_copied_weights_and_its_gradient_pulls_back():
    method = Transfer(net(), net(7, seed=1), 2, TransferConfig(near_weights=3.0, weight_decay=0.0))
    assert method.distance() == 0
    weight = method.net[1].weight
    with torch.no_grad():
        weight[0, 0, 0, 0] += 0.5
        method.net[-1].weight += 1.0  # is not copied
    assert method.distance().item() == pytest.approx(0.25)
    x, y = Stream(DATA, 16).sides()[0]
    expected = torch.autograd.grad(cross_entropy(method.net(x), y), weight)[0]
    expected[0, 0, 0, 0] += 3.0 * 0.5
    method.step(Stream(DATA, 16), Update(method.optimizers()))
    torch.testing.assert_close(weight.grad, expected, atol=1e-5, rtol=1e-4)


def test_a_held_network_stays_nearer_to_its_source():
    old = net(7, seed=1)
    free, near, alike = (
        trained(Transfer(net(), old, 6, TransferConfig(weight_decay=0.0, **how)), steps=8)
        for how in ({}, {"near_weights": 1.0}, {"near_outputs": 5.0})
    )
    assert near.distance() < 0.7 * free.distance()
    x = DATA.x
    with torch.no_grad():
        forgetting = [method.eval().forgetting(x, method.net[:-1](x)) for method in (free, alike)]
        assert Transfer(net(), old, 6).eval().forgetting(x, old.eval()[:-1](x)).abs() < 1e-6
    assert forgetting[1] < 0.7 * forgetting[0]


def test_both_tasks_move_the_common_layers_and_each_its_own_last_one():
    method = Multitask(net(), nn.Linear(16, 7), share=2.0, config=ClassifierConfig(weight_decay=0.0))
    data = Pair(DATA, images(64, seed=2))
    (x, y), (x_other, y_other) = Stream(data, 16).sides()
    features = method.net[:-1](torch.cat([x, x_other]))
    loss = cross_entropy(method.net[-1](features[:16]), y)
    total = loss + 2 * cross_entropy(method.other(features[16:]), y_other)
    expected = torch.autograd.grad(total, [method.net[1].weight, method.other.weight])
    method.step(Stream(data, 16), Update(method.optimizers()))
    torch.testing.assert_close((method.net[1].weight.grad, method.other.weight.grad), expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="needs two sets with labels"):
        method.step(Stream(DATA, 16), Update(method.optimizers()))


def test_a_progressive_network_begins_as_the_new_column_learns_the_lateral_weights_and_keeps_the_old_task():
    old, new = net(7, seed=1), net()
    model = Progressive(old, new).eval()
    before, x = values(old), DATA.x
    torch.testing.assert_close(model(x), new(x))
    assert len(model.lateral) == len(layers(new)) - 1
    trained(Classifier(model))
    assert same(values(model.old), before)
    assert all(layer.weight.abs().sum() > 0 for layer in model.lateral.values())
    with pytest.raises(ValueError, match="the same modules"):
        Progressive(net(build=cnn), new)


def test_a_lateral_layer_sees_the_old_column_below_it():
    old, new = (nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.ReLU(inplace=True), nn.Linear(2, 3)) for _ in range(2))
    model = Progressive(old, new)
    nn.init.ones_(model.lateral["3"].weight)
    x = torch.rand(5, 1, 2, 2)
    torch.testing.assert_close(model(x), new(x) + old[:3](x).sum(1, keepdim=True).expand(-1, 3))
