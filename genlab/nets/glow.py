"""Three flows, x (N, *shape) -> z (N, D) of N(0, I): NICE, RealNVP and Glow. A shape (D,) is that of points.

Departures: a Gaussian prior in all flows; ActNorm instead of RealNVP's batch normalisation, and as NICE's final
scaling; plain convolutions in RealNVP's couplings. Glow's learned prior of the split-off half given the other half is
implemented as one more coupling, so that all of z is standard normal. On request, fully connected couplings and biases
per position, which the papers do not have.
"""

from __future__ import annotations

from math import prod
from typing import Literal

from torch import nn

from genlab.nets.coupling import ConvNet, Coupling, DenseNet, MaskedCoupling, PointNet, checkerboard, zeroed
from genlab.nets.flow import ActNorm, Chain, InvertibleConv1x1, Layer
from genlab.nets.multiscale import Flatten, MultiScale, Squeeze, scales

FlowName = Literal["nice", "realnvp", "glow"]
SIZES: dict[FlowName, tuple[int, int, int]] = {"nice": (1, 4, 500), "realnvp": (2, 3, 32), "glow": (2, 8, 32)}
"""levels, steps, width"""


def flow(
    kind: FlowName,
    shape: tuple[int, ...],
    levels: int,
    steps: int,
    width: int,
    position_bias: bool = False,
    dense: int = 0,
) -> Layer:
    """A flow of images (C, H, W) or points (D,).

    Args:
        levels: number of scales; RealNVP and Glow on images only.
        steps: couplings in total (NICE, and points), per mask and level (RealNVP), or per level (Glow).
        width: hidden units or channels of the networks in the couplings.
        position_bias: a bias per position in the couplings' convolutions, for aligned images such as centred digits.
        dense: couplings after the last level whose networks, with 8 width hidden units, see all positions at once.

    Raises:
        ValueError: a number below 1, points of one dimension, or sides that cannot be halved so often.
    """
    if min(levels, steps, width) < 1:
        raise ValueError(f"a flow needs levels, steps and width of at least 1, got {levels}, {steps} and {width}")
    if prod(shape) < 2:
        raise ValueError(f"a coupling needs at least 2 dimensions, got the shape {shape}")
    if kind == "nice" or len(shape) == 1:
        return Chain([Flatten(shape), *vector_layers(kind, prod(shape), steps, width)])
    if kind == "realnvp":
        halvings = [1] * (levels - 1) + [0]
        entering = [shape, *((c // 2, h, w) for c, h, w in scales(shape, halvings)[:-1])]
        stack = [realnvp_level(s, h, steps, width, position_bias) for s, h in zip(entering, halvings)]
    else:
        halvings = [1] * levels
        leaving = scales(shape, halvings)
        stack = [glow_level(s, steps, width, position_bias, s != leaving[-1]) for s in leaving]
    stack[-1] = Chain([*stack[-1].layers, *dense_layers(kind, scales(shape, halvings)[-1], dense, 8 * width)])
    return MultiScale(shape, stack, halvings)


def vector_layers(kind: FlowName, d: int, steps: int, width: int) -> list[Layer]:
    """Layers for vectors (N, d): couplings with alternating masks; for Glow, an invertible matrix before each."""
    layers: list[Layer] = []
    for step in range(steps):
        if kind == "glow":
            layers += [InvertibleConv1x1(d), Coupling(PointNet(d - d // 2, d // 2 * 2, width))]
        else:
            affine, mask = kind == "realnvp", checkerboard(d, odd=step % 2 == 1)
            layers += [ActNorm(d)] if affine else []
            layers += [MaskedCoupling(PointNet(d, d * (1 + affine), width), mask, affine=affine)]
    return [*layers, ActNorm(d, least=0.1)]  # pixels that are constant in the first batch may vary later


def dense_layers(kind: FlowName, shape: tuple[int, ...], steps: int, width: int) -> list[Layer]:
    """Couplings of RealNVP or Glow with fully connected networks, which decide on an image as a whole."""
    c, *size = shape
    layers: list[Layer] = []
    for step in range(steps):
        if kind == "glow":
            layers += [InvertibleConv1x1(c), Coupling(DenseNet(c // 2, c, width, tuple(size)))]
        else:
            mask = checkerboard(*size, odd=step % 2 == 1)
            layers += [ActNorm(c), MaskedCoupling(DenseNet(c, 2 * c, width, tuple(size)), mask)]
    return layers


def realnvp_level(shape: tuple[int, ...], halvings: int, steps: int, width: int, position_bias: bool) -> Chain:
    """A level of RealNVP: checkerboard couplings and, if there is a squeeze, channel-wise couplings after it."""
    c, h, w = shape
    full, half = ((h, w), (h // 2, w // 2)) if position_bias else (None, None)
    layers: list[Layer] = []
    for step in range(steps if halvings else steps + 1):
        layers += [ActNorm(c), MaskedCoupling(ConvNet(c, 2 * c, width, full), checkerboard(h, w, odd=step % 2 == 1))]
    if halvings:
        layers += [Squeeze()]
        for step in range(steps):
            layers += [ActNorm(4 * c), Coupling(ConvNet(2 * c, 4 * c, width, half), swap=step % 2 == 1)]
    return Chain(layers)


def glow_level(shape: tuple[int, ...], steps: int, width: int, position_bias: bool, splits: bool) -> Chain:
    """A level of Glow with output `shape`; splits: whether half of the channels are split off after it."""
    c, *size = shape
    layers: list[Layer] = [Squeeze()]
    for _ in range(steps):
        net = ConvNet(c // 2, c, width, tuple(size) if position_bias else None)
        layers += [InvertibleConv1x1(c), Coupling(net)]
    return Chain([*layers, Coupling(zeroed(nn.Conv2d(c // 2, c, 3, padding=1)))] if splits else layers)
