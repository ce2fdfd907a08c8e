"""Generative adversarial networks; Goodfellow et al. 2014, arXiv:1406.2661, Algorithm 1.

Departures, both those of DCGAN (Radford et al. 2016, arXiv:1511.06434): Adam in place of momentum, and the generator
learns from the fakes that the discriminator was just trained on, which saves one generator pass per step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from genlab.data import Images
from genlab.losses import OBJECTIVES, Objective
from genlab.nets.dcgan import Discriminator, Generator
from genlab.optim import adam
from genlab.train import Config, Method, Metrics, Options, Stream, Update


class GAN(Method):
    """generator: z (N, latent) -> x (N, C, H, W) in [0, 1];  discriminator: x -> (N,), a logit.

    `n_discriminator` is k of Algorithm 1.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        latent: int,
        objective: Objective = OBJECTIVES["nonsaturating"],
        n_discriminator: int = 1,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
    ):
        super().__init__()
        self.generator, self.discriminator, self.latent = generator, discriminator, latent
        self.objective, self.n_discriminator, self.lr, self.betas = objective, n_discriminator, lr, betas

    def optimizers(self):
        return {
            "generator": adam(self.generator, lr=self.lr, betas=self.betas),
            "discriminator": adam(self.discriminator, lr=self.lr, betas=self.betas),
        }

    def sample(self, n: int) -> Tensor:
        """n images (n, C, H, W) in [0, 1]."""
        return self.generator(torch.randn(n, self.latent, device=self.device))

    def step(self, data: Stream, update: Update) -> Metrics:
        for k in reversed(range(self.n_discriminator)):
            real, _ = next(data)
            with torch.set_grad_enabled(k == 0):  # the last fakes also teach the generator
                fake = self.sample(len(real))
            scores = self.discriminator(real), self.discriminator(fake.detach())
            discriminator = self.objective.discriminator(*scores)
            update("discriminator", discriminator)
        generator = self.objective.generator(self.discriminator(fake))
        update("generator", generator)
        return {
            "discriminator": discriminator,
            "generator": generator,
            "score_real": scores[0].mean(),
            "score_fake": scores[1].mean(),
        }

    @torch.no_grad()
    def pictures(self, data: Images) -> dict[str, Tensor]:
        return {"samples": self.eval().sample(64)}


@dataclass(frozen=True)
class GANConfig(Config):
    """Generative adversarial network with DCGAN networks."""

    objective: Literal["nonsaturating", "minimax"] = "nonsaturating"
    """the generator's loss: -log D or log(1 - D)"""
    latent: int = 64
    """dimensions of z"""
    width: int = 64
    """channels at the finest level; doubled at every coarser one"""
    n_discriminator: int = 1
    """discriminator steps per generator step"""
    lr: float = 2e-4
    """learning rate of both Adams"""

    training: ClassVar[Options] = Options(images=1_000_000, batch=64, half_life=10_000)

    def build(self, shape: tuple[int, int, int], classes: int) -> GAN:
        return GAN(
            Generator(shape, self.latent, self.width),
            Discriminator(shape, self.width),
            self.latent,
            OBJECTIVES[self.objective],
            self.n_discriminator,
            self.lr,
        )
