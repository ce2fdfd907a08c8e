"""Filters against scipy.ndimage, and the attack that sees through them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn
from toys import filtered_images as images
from toys import small_classifier as net

from attacks import plugin
from attacks.core.ball import Linf
from attacks.defences.smoothing import BitDepth, Filter, Filtered, Gaussian, Mean, Median
from attacks.pgd import FGSM

FILTERS: list[Filter] = [Mean(3), Mean(5), Gaussian(0.7), Gaussian(2.0), Median(3), Median(5), BitDepth(1), BitDepth(8)]


@pytest.mark.parametrize(
    "ours, theirs",
    [
        (Mean(3), lambda a: ndimage.uniform_filter(a, 3, mode="nearest")),
        (Mean(5), lambda a: ndimage.uniform_filter(a, 5, mode="nearest")),
        (Median(1), lambda a: a),
        (Median(3), lambda a: ndimage.median_filter(a, 3, mode="nearest")),
        (Median(5), lambda a: ndimage.median_filter(a, 5, mode="nearest")),
        (Gaussian(0.7), lambda a: ndimage.gaussian_filter(a, 0.7, mode="nearest", truncate=4.0)),
        (Gaussian(3.0), lambda a: ndimage.gaussian_filter(a, 3.0, mode="nearest", truncate=4.0)),
    ],
    ids=lambda value: str(value) if isinstance(value, Filter) else "",
)
def test_filters_agree_with_scipy(ours: Filter, theirs: Callable[[np.ndarray], np.ndarray]) -> None:
    x = images()
    expected = np.stack([[theirs(c) for c in image] for image in x.double().numpy()])
    assert np.abs(ours(x).numpy() - expected).max() < 1e-6


@pytest.mark.parametrize("filter", FILTERS, ids=str)
def test_filters_keep_shape_range_and_flat_images(filter: Filter) -> None:
    x = images().round()
    out = filter(x)
    assert out.shape == x.shape and out.min() >= 0 and out.max() <= 1
    for level in (0.0, 1.0):
        assert torch.allclose(filter(torch.full((1, 1, 9, 9), level)), torch.tensor(level), atol=1e-6)


@pytest.mark.parametrize("bits", range(1, 9))
def test_bit_depth_has_so_many_levels_and_rounds_to_the_nearest(bits: int) -> None:
    x = torch.linspace(0, 1, 10_001).view(1, 1, 1, -1)
    out = BitDepth(bits)(x)
    assert len(out.unique()) == 2**bits and (out - x).abs().max() <= 0.5 / (2**bits - 1) + 1e-6


@pytest.mark.parametrize(
    "make, value",
    [
        (lambda: Mean(4), "4"),
        (lambda: Median(0), "0"),
        (lambda: Gaussian(0.0), "0.0"),
        (lambda: Gaussian(float("nan")), "nan"),
        (lambda: BitDepth(0), "0"),
        (lambda: BitDepth(9), "9"),
        (lambda: Median(11)(images()), "11"),
        (lambda: plugin.defence("medan", nn.Identity()), "medan.*median"),
        (lambda: plugin.defence("median+bitz", nn.Identity()), "bitz.*bits"),
        (lambda: plugin.defence("median+smoothed", nn.Identity()), "only filters.*smoothed"),
    ],
)
def test_bad_settings_are_refused(make: Callable[[], object], value: str) -> None:
    with pytest.raises(ValueError, match=value):
        make()


@pytest.mark.parametrize("filter", FILTERS, ids=str)
def test_straight_through_changes_the_gradient_and_not_the_output(filter: Filter) -> None:
    model, x = net(), images()
    defended = Filtered(filter, model)
    through = Filtered(filter, model, straight_through=True)
    assert torch.equal(defended(x), model(filter(x))) and torch.equal(through(x), defended(x))
    assert defended.adaptive().straight_through == (not filter.differentiable)
    filtered, inputs = filter(x).requires_grad_(), x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(model(filtered)[:, 0].sum(), filtered)
    (seen,) = torch.autograd.grad(through(inputs)[:, 0].sum(), inputs)
    assert torch.equal(seen, expected)


def test_the_adaptive_attack_moves_where_the_plain_one_is_blind() -> None:
    model, x = Filtered(BitDepth(2), net()), images()
    y = model(x).argmax(1)
    assert torch.equal(FGSM(Linf(0.2))(model, x, y), x)
    adv = FGSM(Linf(0.2))(model.adaptive(), x, y)
    assert (model(adv).gather(1, y[:, None]) < model(x).gather(1, y[:, None])).all()


def test_defences_are_built_by_name_and_none_is_the_model_itself() -> None:
    model, x = net(), torch.rand(3, 3, 9, 8)
    for name in plugin.DEFENCES:
        assert plugin.defence(name, model)(x).shape == (3, 3)
    assert plugin.defence("none", model) is model
    assert torch.equal(plugin.defence("median", model, k=5)(x), model(Median(5)(x)))
    assert torch.equal(plugin.defence("median:k=5+bits:bits=1", model)(x), model(BitDepth(1)(Median(5)(x))))
