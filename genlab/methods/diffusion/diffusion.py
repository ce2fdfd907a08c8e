"""Diffusion; Karras et al. 2022, arXiv:2206.00364 (EDM): preconditioning, noise levels and loss of table 1.

The same network samples as DDPM (Ho et al. 2020, arXiv:2006.11239) or DDIM (Song et al. 2021, arXiv:2010.02502), which
are settings of the sampler. Departures: no augmentation that the network is told of (the trainer has its own); noise
levels of training that grow with the images, since neighbouring pixels tell the same (Hoogeboom et al. 2023,
arXiv:2301.11093, section 3.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import hypot, log
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from genlab.core.ranges import Positive, Range, Weight
from genlab.methods.diffusion import samplers
from genlab.methods.diffusion.denoising import HIGHEST, Denoising, DenoisingConfig
from genlab.training.method import TrainOptions


@dataclass(frozen=True)
class DiffusionConfig(DenoisingConfig):
    """Diffusion: a denoiser at all noise levels, sampled along its ODE or with fresh noise; classes and guidance."""

    sampler: samplers.SamplerName = "heun"
    """Heun's or the midpoint method on the ODE (two passes per step), ddim (one pass), or ddpm (with fresh noise)"""
    churn: Weight = 0.0
    """noise added in sampling, S_churn of the paper; 0: deterministic but for ddpm"""
    sigma_data: Positive = 0.5
    """standard deviation of the pixels in [-1, 1] that the preconditioning assumes"""
    log_sigma: Annotated[float, Range(-10, 10)] | None = None
    """mean of the logarithm of the noise level in training; none: -1.2 for sides of 8 pixels, higher for larger ones by
    the logarithm of the ratio"""
    log_sigma_spread: Positive = 1.2
    """its standard deviation"""

    training: ClassVar[TrainOptions] = TrainOptions(
        images=150_000, batch=32, half_life=10_000, schedule="cosine", warmup=0.02
    )

    def build(self, shape: tuple[int, int, int], classes: int) -> Diffusion:
        return Diffusion(self.make_net(shape, classes), shape, self, classes if self.conditional else 0)


def log_sigma_for(side: int) -> float:
    """The mean logarithm of the noise levels of training for images of that side: the noise on the mean of a square of
    pixels is divided by the square's side."""
    return -1.2 + log(side / 8)


def expand(sigma: Tensor) -> Tensor:
    """(N,) -> (N, 1, 1, 1)."""
    return sigma[:, None, None, None]


@dataclass(frozen=True)
class Preconditioning:
    """The factors of D(x, sigma) = skip x + out F(inside x), by which the network F has inputs and targets of unit
    variance; table 1 and appendix B.6."""

    sigma_data: float

    def factors(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """skip, out and inside at the levels sigma, each of its shape."""
        total = (sigma.square() + self.sigma_data**2).sqrt()
        return (self.sigma_data / total).square(), sigma * self.sigma_data / total, 1 / total

    def weight(self, sigma: Tensor) -> Tensor:
        """The weight of the squared error of D: 1 / out², so that all levels count alike at the start of training."""
        return (sigma.square() + self.sigma_data**2) / (sigma * self.sigma_data).square()


class Diffusion(Denoising):
    """net: (scaled x (N, C, H, W), log(sigma) / 4 (N,), labels or None) -> (N, C, H, W), F of table 1."""

    config: DiffusionConfig

    @property
    def preconditioning(self) -> Preconditioning:
        return Preconditioning(self.config.sigma_data)

    def denoise(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        skip, out, inside = map(expand, self.preconditioning.factors(sigma))
        return skip * x + out * self.net(inside * x, sigma.log() / 4, labels).float()

    def loss(self, x: Tensor, labels: Tensor | None, progress: float) -> Tensor:
        spread = torch.randn(len(x), device=x.device)
        given = self.config.log_sigma
        mean = log_sigma_for(min(self.shape[1:])) if given is None else given
        sigma = (mean + self.config.log_sigma_spread * spread).exp()
        denoised = self.denoise(x + expand(sigma) * torch.randn_like(x), sigma, labels)
        return self.preconditioning.weight(sigma) * (denoised - x).square().flatten(1).mean(1)

    def path(self, z: Tensor, labels: Tensor | None, steps: int, guidance: float | None) -> Iterator[Tensor]:
        levels = self.levels(steps)
        denoise = self.denoiser(labels, guidance)
        way = samplers.steps(self.config.sampler, denoise, HIGHEST * z, levels, self.config.churn)
        return (x / hypot(1, sigma) for x, sigma in zip(way, levels[1:]))
