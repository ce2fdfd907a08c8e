"""Decoder likelihoods: p(x given z) of an auto-encoder, as a distribution of images whose parameters are the decoder's
outputs."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from genlab.likelihood.units import dequantise, discrete, logistic_mass

LEAST = -7.0  # minimal log sigma, slightly below that of dequantisation noise (-6.8); keeps the density bounded


class DecoderLikelihood(Protocol):
    """`outputs` (N, channels * C, H, W) of a decoder as a distribution of images x (N, C, H, W) in [0, 1]."""

    @property
    def channels(self) -> int:
        """Decoder outputs per image channel."""

    def mean(self, outputs: Tensor) -> Tensor:
        """The mean of the distribution: an image (N, C, H, W) in [0, 1]."""

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        """log p(x) (N,), in nats."""


@dataclass(frozen=True)
class BernoulliLikelihood:
    """Independent binary pixels; outputs are logits. For grey pixels log_prob is a cross-entropy, not a likelihood."""

    channels: ClassVar[int] = 1

    def mean(self, outputs: Tensor) -> Tensor:
        return outputs.sigmoid()

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        return -binary_cross_entropy_with_logits(outputs.float(), x, reduction="none").flatten(1).sum(1)


@dataclass(frozen=True)
class GaussianLikelihood:
    """Independent Gaussian pixels; by uniform dequantisation log_prob is a lower bound of log P of 8-bit images.

    Outputs are the logits of the means and, unless `sigma` (in pixels of [0, 1]) is given, log sigma.
    """

    sigma: float | None = None

    def __post_init__(self) -> None:
        if self.sigma is not None and not self.sigma > 0:
            raise ValueError(f"a Gaussian's sigma is positive, got {self.sigma}")

    @property
    def channels(self) -> int:
        return 1 if self.sigma else 2

    def split(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Means in [0, 1] and log sigma, each (N, C, H, W)."""
        outputs = outputs.float()
        if self.sigma:
            return outputs.sigmoid(), torch.full_like(outputs, log(self.sigma))
        logits, log_sigma = outputs.chunk(2, 1)
        return logits.sigmoid(), softplus(log_sigma - LEAST) + LEAST

    def mean(self, outputs: Tensor) -> Tensor:
        return self.split(outputs)[0]

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        mean, log_sigma = self.split(outputs)
        squares = ((dequantise(x) - mean) * (-log_sigma).exp()).square()
        return discrete(-(squares / 2 + log_sigma + log(2 * pi) / 2).flatten(1).sum(1), x.shape[1:])


@dataclass(frozen=True)
class LogisticLikelihood:
    """Independent 8-bit pixels with a discretised logistic distribution (Salimans et al. 2017, arXiv:1701.05517, eq. 2,
    one component); the intervals of black and white extend to infinity.

    Outputs are the means, as pixels of [0, 1] minus 0.5, and log scales.
    """

    channels: ClassVar[int] = 2

    def mean(self, outputs: Tensor) -> Tensor:
        return (outputs.float().chunk(2, 1)[0] + 0.5).clamp(0, 1)

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        middle, log_scale = outputs.float().chunk(2, 1)
        inverse_scale = (7 - softplus(log_scale + 5)).exp()  # of scales of at least exp(-7)
        low, high = ((x - 0.5 - middle + side / 510) * inverse_scale for side in (-1, 1))
        low = torch.where(x < 0.5 / 255, -torch.inf, low)
        mass = logistic_mass(low, torch.where(x > 1 - 0.5 / 255, torch.inf, high))
        return mass.flatten(1).sum(1)
