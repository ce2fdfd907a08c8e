"""Consistency model, tuned from diffusion; Geng et al. 2024, arXiv:2406.14548 (ECT), after Song et al. 2023,
arXiv:2303.01469: a function that leads from any noise level to the end of the ODE at once.

Training starts as diffusion (r = 0 of the paper), then the output at level t learns from its own output at a lower
level r of the same image and noise, and r approaches t in stages (section 3.2, with n(t) = 1 + k sigmoid(-b t)).
Departures: a share of one training in place of a pre-trained model; dropout, if any, is not shared by the two passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from genlab.core.labels import Labels
from genlab.core.ranges import Fraction, Positive, Range, Steps
from genlab.methods.diffusion.denoising import HIGHEST
from genlab.methods.diffusion.diffusion import Diffusion, DiffusionConfig, expand
from genlab.training.method import TrainOptions

K, B = 8.0, 1.0  # of n(t)
LOG_SIGMA, SPREAD = -1.1, 2.0  # of the noise levels after the start, for CIFAR-10
HUBER = 0.00054  # times the root of the number of pixels (Song & Dhariwal 2023, arXiv:2310.14189, section 3.3)


@dataclass(frozen=True)
class ConsistencyConfig(DiffusionConfig):
    """Consistency model (ECT): samples in one or two steps."""

    steps: Steps = 2
    """steps of the sampler"""
    middle: Positive = 0.8
    """noise level of the second step; halved for every further one"""
    pretraining: Fraction = 0.4
    """share of the training that is diffusion"""
    stages: Annotated[int, Range(1, 20)] = 8
    """stages of the rest; in each, the two noise levels are half as far apart as in the one before"""
    likelihood_images: Annotated[int, Range(0, 0)] = 0
    """a consistency model has no likelihood"""

    training: ClassVar[TrainOptions] = TrainOptions(images=300_000, batch=32, half_life=10_000)

    def build(self, shape: tuple[int, int, int], classes: int) -> Consistency:
        return Consistency(self.make_net(shape, classes), shape, self, classes if self.conditional else 0)


def lower_level(t: Tensor, stage: int) -> Tensor:
    """r of the paper, of the shape of t, for stages 1, 2, ...: from 0 to t as the stage grows."""
    return (t * (1 - (1 + K * (-B * t).sigmoid()) / 2**stage)).clamp(min=0)


class Consistency(Diffusion):
    """net: as that of Diffusion; `denoise` is the consistency function, which is the identity at level 0."""

    config: ConsistencyConfig

    def stage(self, progress: float) -> int:
        """0 while training is diffusion, then 1 to `stages`."""
        rest = (progress - self.config.pretraining) / (1 - self.config.pretraining)
        return 0 if rest < 0 else min(self.config.stages, 1 + int(rest * self.config.stages))

    def loss(self, x: Tensor, labels: Tensor | None, progress: float) -> Tensor:
        stage = self.stage(progress)
        return self.distance(x, labels, stage) if stage else super().loss(x, labels, progress)

    def distance(self, x: Tensor, labels: Tensor | None, stage: int) -> Tensor:
        """The distance of the outputs at t and r (pseudo-Huber) over t - r, (N,)."""
        t = (LOG_SIGMA + SPREAD * torch.randn(len(x), device=x.device)).exp()
        r = lower_level(t, stage)
        noise = torch.randn_like(x)
        output = self.denoise(x + expand(t) * noise, t, labels)
        with torch.no_grad():
            lower = self.denoise(x + expand(r) * noise, r.clamp(min=1e-6), labels)
            target = torch.where(expand(r) > 0, lower, x)
        squares = (output - target).square().flatten(1).mean(1)
        return ((squares + HUBER**2).sqrt() - HUBER) / (t - r)

    def path(self, z: Tensor, labels: Tensor | None, steps: int, guidance: float | None) -> Iterator[Tensor]:
        """Multistep sampling (Algorithm 1 of arXiv:2303.01469): noise of a lower level is added between the steps."""
        function = self.denoiser(labels, guidance)
        x = function(HIGHEST * z, HIGHEST)
        yield x
        for i in range(steps - 1):
            level = self.config.middle / 2**i
            x = function(x + level * torch.randn_like(x), level)
            yield x

    def encode(self, x: Tensor, labels: Labels | None = None, steps: int | None = None) -> Tensor:
        raise ValueError("a consistency model leads from noise to images alone: only diffusion can be inverted")

    def log_prob(self, x: Tensor, labels: Labels | None = None, steps: int | None = None, probes: int = 1) -> Tensor:
        raise ValueError("a consistency model has no likelihood: use diffusion or flow matching")
