"""What a decoder's outputs say about an image: the p(x given z) of a variational auto-encoder."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from genlab.likelihood.units import dequantise, discrete

LEAST = -7.0  # of log sigma: below the -6.8 of the uniform noise in a cell of 1/256, so no density grows without end


class Observation(Protocol):
    """`outputs` (N, channels * C, H, W) of a decoder as a distribution of images x (N, C, H, W) in [0, 1]."""

    @property
    def channels(self) -> int:
        """Outputs per channel of the image."""

    def mean(self, outputs: Tensor) -> Tensor:
        """The expected image (N, C, H, W), in [0, 1]."""

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        """log p(x) (N,), in nats."""


@dataclass(frozen=True)
class Bernoulli:
    """Independent pixels, black or white; outputs are logits. Of grey pixels it is a cross-entropy, no likelihood."""

    channels: ClassVar[int] = 1

    def mean(self, outputs: Tensor) -> Tensor:
        return outputs.sigmoid()

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        return -binary_cross_entropy_with_logits(outputs.float(), x, reduction="none").flatten(1).sum(1)


@dataclass(frozen=True)
class Gaussian:
    """Independent Gaussian pixels; log_prob bounds log P of 8-bit images, by `dequantise`.

    Outputs are the logits of the means and, unless `sigma` (in pixels of [0, 1]) is given, log sigma beside them.
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
