"""Invertible layers, for images (N, C, H, W) and points (N, C); the change of variables: log p(x) = log p(z) + log_det.

A layer has `forward(x) -> (z, log_det)`, with log |det dz/dx| (N,), or a single number if it is the same for all x, and
`inverse(z) -> x`. Invertible operations are computed in float32, also under autocast.

ActNorm, InvertibleConv1x1   Kingma & Dhariwal 2018 (Glow), arXiv:1807.03039, section 3.1 and 3.2, eq. 10 and 11
Logit          Dinh et al. 2017 (RealNVP), arXiv:1605.08803, section 4.1
"""

from __future__ import annotations

from collections.abc import Iterable
from math import log

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, softplus

from genlab.core import distributed

LogDet = Tensor | float


class Layer(nn.Module):
    """An invertible layer."""

    def forward(self, x: Tensor) -> tuple[Tensor, LogDet]:
        raise NotImplementedError

    def inverse(self, z: Tensor) -> Tensor:
        raise NotImplementedError


class Chain(Layer):
    """A composition of layers."""

    def __init__(self, layers: Iterable[Layer]):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> tuple[Tensor, LogDet]:
        total: LogDet = 0.0
        for layer in self.layers:
            x, log_det = layer(x)
            total = total + log_det
        return x, total

    def inverse(self, z: Tensor) -> Tensor:
        for layer in reversed(self.layers):
            z = layer.inverse(z)  # type: ignore[operator]
        return z


class Affine(Layer):
    """x -> scale x + shift, with fixed numbers."""

    def __init__(self, scale: float = 1.0, shift: float = 0.0):
        super().__init__()
        self.scale, self.shift = scale, shift

    def forward(self, x: Tensor) -> tuple[Tensor, LogDet]:
        return self.scale * x + self.shift, x[0].numel() * log(abs(self.scale))

    def inverse(self, z: Tensor) -> Tensor:
        return (z - self.shift) / self.scale


class Logit(Layer):
    """x in [0, 1] -> logit(alpha / 2 + (1 - alpha) x), unbounded."""

    def __init__(self, alpha: float):
        super().__init__()
        if not 0 < alpha < 1:
            raise ValueError(f"alpha of the logit lies in (0, 1), got {alpha}")
        self.alpha = alpha

    def forward(self, x: Tensor) -> tuple[Tensor, LogDet]:
        z = (self.alpha / 2 + (1 - self.alpha) * x).logit()
        return z, (log(1 - self.alpha) + softplus(z) + softplus(-z)).flatten(1).sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        return (z.sigmoid() - self.alpha / 2) / (1 - self.alpha)


class ActNorm(Layer):
    """Per-channel scale and shift, initialised so that the first training batch has outputs of mean 0 and variance 1.

    The statistics of that batch, over all ranks, are buffers; the learned scale and shift start at the identity.
    least: lower limit of the standard deviations, relative to their root mean square.
    """

    def __init__(self, channels: int, least: float = 1e-6):
        super().__init__()
        self.least = least
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("log_std", torch.zeros(channels))
        self.register_buffer("measured", torch.tensor(False))
        self.log_scale, self.shift = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))
        self.unmeasured = True  # whether `measured` must still be read, which synchronises with a GPU

    mean: Tensor
    log_std: Tensor
    measured: Tensor

    @torch.no_grad()
    def measure(self, x: Tensor) -> None:
        """Stores the statistics of x at the first call."""
        if not self.measured:
            x = x.transpose(0, 1).flatten(1).double()
            mean, square = distributed.average([x.mean(1), x.square().mean(1)])
            self.mean.copy_(mean)
            variance = (square - mean.square()).clamp(min=1e-12)
            self.log_std.copy_(variance.clamp(min=self.least**2 * variance.mean()).log() / 2)
            self.measured.fill_(True)
        self.unmeasured = False

    def scale_and_shift(self) -> tuple[Tensor, Tensor, Tensor]:
        """Scale and shift per channel, each (C,), and the log-determinant per position."""
        logs = self.log_scale - self.log_std
        slope = logs.exp()
        return slope, self.shift - self.mean * slope, logs.sum()

    def forward(self, x: Tensor) -> tuple[Tensor, LogDet]:
        if self.training and self.unmeasured:
            self.measure(x)
        slope, intercept, log_det = self.scale_and_shift()
        return x * per_channel(slope, x) + per_channel(intercept, x), x[0, 0].numel() * log_det

    def inverse(self, z: Tensor) -> Tensor:
        slope, intercept, _ = self.scale_and_shift()
        return (z - per_channel(intercept, z)) / per_channel(slope, z)


class InvertibleConv1x1(ActNorm):
    """ActNorm and an invertible 1x1 convolution W = P L (U + diag s), fused into one matrix product.

    P and the sign of s are fixed; `triangles` holds L (unit diagonal) below and U above the diagonal.
    """

    def __init__(self, channels: int):
        super().__init__(channels)
        p, lower, upper = torch.linalg.lu(torch.linalg.qr(torch.randn(channels, channels))[0])
        self.register_buffer("order", p)
        self.register_buffer("sign", upper.diagonal().sign())
        self.log_diagonal = nn.Parameter(upper.diagonal().abs().log())
        self.triangles = nn.Parameter(lower.tril(-1) + upper.triu(1))

    order: Tensor
    sign: Tensor

    def weight(self) -> Tensor:
        """W (C, C)."""
        lower = self.triangles.tril(-1) + torch.eye(len(self.sign), device=self.sign.device)
        return self.order @ lower @ (self.triangles.triu(1) + (self.sign * self.log_diagonal.exp()).diag())

    def forward(self, x: Tensor) -> tuple[Tensor, LogDet]:
        if self.training and self.unmeasured:
            self.measure(x)
        with torch.autocast(x.device.type, enabled=False):
            slope, intercept, log_det = self.scale_and_shift()
            w = self.weight()
            z = linear(x.movedim(1, -1), w * slope, w @ intercept).movedim(-1, 1)
        return z, x[0, 0].numel() * (log_det + self.log_diagonal.sum())

    def inverse(self, z: Tensor) -> Tensor:
        with torch.autocast(z.device.type, enabled=False):
            z = linear(z.movedim(1, -1), torch.linalg.inv(self.weight().double()).to(z)).movedim(-1, 1)
        return super().inverse(z)


def per_channel(values: Tensor, x: Tensor) -> Tensor:
    """One value per channel (C,), to be broadcast over x (N, C, ...)."""
    return values.view(-1, *[1] * (x.ndim - 2))
