"""One rule for the images of a pass, whoever sends them."""

from __future__ import annotations

import torch
from torch import nn
from toys import Calls, Net, attacked_images, batch
from toys import images as toy_images

from attacks.core.ball import Linf
from attacks.defences.randomised_smoothing import Smoothed
from attacks.evaluation.evaluate import evaluate
from attacks.hopskipjump import HopSkipJump
from attacks.noise import RandomNoise
from attacks.one_pixel import OnePixel
from genlab.core.passes import pass_size
from genlab.metrics.accuracy import accuracy


def test_a_pass_is_bounded_in_images_and_in_memory_and_larger_on_a_gpu() -> None:
    assert pass_size((1, 28, 28), "cpu") == 200 and pass_size((1, 28, 28), "cuda") == 512
    assert pass_size((3, 224, 224), "cpu") == 6 and pass_size((3, 224, 224), "cuda") == 111
    assert pass_size((3, 4000, 4000), "cpu") == 1 and pass_size((0,), "cpu") == 200


def test_all_passes_keep_to_it() -> None:
    net, x = Calls(Net().eval()), attacked_images(300)
    y = net.net(x).argmax(1)
    evaluate({"net": net}, {"noise": RandomNoise(Linf(0.1))}, x, y)
    HopSkipJump(queries=80, initial_probes=30)(net, x[:12], y[:12])
    OnePixel(population=40, generations=1)(net, x[:12], y[:12])
    Smoothed(net).predict(x[:3], n=300)
    assert max(net.sizes) == 200


def test_the_accuracy_is_measured_in_passes() -> None:
    sizes: list[int] = []
    layer = nn.Flatten()
    layer.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    accuracy(nn.Sequential(layer, nn.Linear(64, 3)), toy_images(500))
    assert sizes == [200, 200, 100]


def test_certificates_of_no_images_are_empty() -> None:
    net, x, _ = batch()
    classes, radius = Smoothed(net).certify(x[:0], n=100)
    assert classes.shape == radius.shape == (0,)
    assert torch.equal(Smoothed(net).counts(x, 70), Smoothed(net, batch=9).counts(x, 70))
