"""Reference implementations of Glow, for `recipes/benchmark_flow.py`.

`unfused_glow`: ActNorm, 1x1 convolution and coupling as separate layers in channels-first memory format, each with a
log-determinant per image, as in published code. `normflows`: the blocks of that library.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from genlab.nets.coupling import ConvNet
from genlab.nets.flow import InvertibleConv1x1, Layer
from genlab.nets.glow import flow
from genlab.nets.multiscale import MultiScale


class UnfusedStep(Layer):
    """A step of Glow as three separate operations; forward only."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.s, self.t = (nn.Parameter(torch.zeros(1, channels, 1, 1)) for _ in range(2))
        self.mix, self.net = InvertibleConv1x1(channels), ConvNet(channels // 2, channels, width)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.contiguous()  # copies at the start of a level only
        places, none = x[0, 0].numel(), torch.zeros(len(x), device=x.device)
        total = none - places * self.s.sum()
        x = (x - self.t) * (-self.s).exp()
        total = total + (torch.zeros_like(none) + places * self.mix.log_diagonal.sum())
        x = conv2d(x, self.mix.weight()[..., None, None])
        a, b = x.chunk(2, 1)
        outputs = self.net(a)
        shift, scale = outputs[:, 0::2], (outputs[:, 1::2] + 2).sigmoid()
        return torch.cat([a, (b - shift) * scale], 1), total + scale.log().sum((1, 2, 3))


def unfused_glow(shape: tuple[int, int, int], steps: int, width: int) -> MultiScale:
    """Glow with two levels of `steps` unfused steps; x -> (z, log_det)."""
    net = flow("glow", shape, 2, steps, width)
    assert isinstance(net, MultiScale)
    for level, (channels, *_) in zip(net.levels, net.shapes):
        layers = list(level.layers)  # type: ignore[arg-type]
        level.layers = nn.ModuleList(
            [layers[0], *(UnfusedStep(channels, width) for _ in range(steps)), *layers[2 * steps + 1 :]]
        )
    return net


def normflows(shape: tuple[int, int, int], steps: int, width: int) -> nn.Module:
    """Glow with two levels of normflows' blocks: x -> negative log-density (N,); ImportError if it is not installed."""
    import normflows as nf

    c, h, w = shape
    priors = [nf.distributions.DiagGaussian(s) for s in ((8 * c, h // 4, w // 4), (2 * c, h // 2, w // 2))]
    levels = [
        [*(nf.flows.GlowBlock(k * c, width) for _ in range(steps)), nf.flows.Squeeze()] for k in (8, 4)
    ]  # from z to x
    return nf.MultiscaleFlow(priors, levels, [nf.flows.Merge()], class_cond=False)
