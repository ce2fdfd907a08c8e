"""The discriminator alone generates: images are what it scores highly; Du & Mordatch 2019, arXiv:1903.08689.

p(x) is proportional to exp D(x), Algorithm 1. Negatives are mined from the model itself: chains that climb D by
Langevin's noisy steps, kept in a pool from one training step to the next and now and then started anew from noise.

As in the paper, step and noise are separate, so that short chains arrive (the temperature is far below 1), and scores
are pulled to 0. Departures: images stay in [0, 1]; spectral normalisation is an option.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from genlab.core.ranges import Count, LearningRate, Share, Steps, Weight
from genlab.methods.gan.adversarial import Critic, DiscriminatorConfig
from genlab.training.method import Method, Metrics, Stream, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update


class EnergyModel(Method):
    """discriminator: x (N, C, H, W) in [0, 1] -> (N,), the negative energy, each x by itself.

    A chain takes `steps` steps of `rate` times the slope of the score, plus noise of deviation `noise`, each time that
    it is drawn from the pool; `restart` is the chance that it begins again instead.
    """

    pool: Tensor

    def __init__(
        self,
        discriminator: Critic,
        shape: tuple[int, int, int],
        pool: int = 4096,
        steps: int = 10,
        rate: float = 10.0,
        noise: float = 0.005,
        restart: float = 0.05,
        pull: float = 0.1,
        lr: float = 1e-3,
    ):
        super().__init__()
        self.discriminator, self.steps, self.rate, self.noise = discriminator, steps, rate, noise
        self.restart, self.pull, self.lr = restart, pull, lr
        self.register_buffer("pool", torch.rand(pool, *shape))
        self.batch_sizes = range(1, pool + 1)

    def optimizers(self):
        return {"discriminator": adam(self.discriminator, lr=self.lr, betas=(0.0, 0.999))}

    def climb(self, x: Tensor, steps: int) -> Tensor:
        """Images (N, C, H, W) in [0, 1], `steps` steps of Langevin further up the score."""
        for _ in range(steps):
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                (slope,) = torch.autograd.grad(self.discriminator(x).sum(), x)
            x = (x + self.rate * slope + self.noise * torch.randn_like(x)).clamp(0, 1).detach()
        return x

    def step(self, data: Stream, update: Update) -> Metrics:
        real, _ = next(data)
        if len(real) > len(self.pool):
            raise ValueError(f"{len(self.pool)} chains are too few for batches of {len(real)}")
        drawn = torch.randperm(len(self.pool), device=self.device)[: len(real)]
        anew = torch.rand(len(real), 1, 1, 1, device=self.device) < self.restart
        fake = self.climb(torch.where(anew, torch.rand_like(real), self.pool[drawn]), self.steps)
        self.pool[drawn] = fake
        real = real + self.noise * torch.randn_like(real)
        score_real, score_fake = self.discriminator(real), self.discriminator(fake)
        distance = score_real.mean() - score_fake.mean()
        update("discriminator", self.pull * (score_real.square() + score_fake.square()).mean() - distance)
        return {"distance": distance, "score_real": score_real.mean(), "score_fake": score_fake.mean()}

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """n images (n, C, H, W) in [0, 1]: chains of the pool, in turn, `steps` steps further."""
        drawn = torch.randperm(len(self.pool), device=self.device).repeat(-(-n // len(self.pool)))[:n]
        return self.climb(self.pool[drawn], self.steps)

    @torch.no_grad()
    def pictures(self, data: Any) -> dict[str, Tensor]:
        """Besides samples: eight chains from noise, each a row of eight pictures with ever more steps between."""
        found = super().pictures(data)
        x = torch.rand_like(self.pool[:8])
        rows = [x]
        for doublings in range(7):
            x = self.climb(x, self.steps * 2**doublings // 4)
            rows.append(x)
        return found | {"climb": torch.stack(rows, 1).flatten(0, 1)}


@dataclass(frozen=True)
class EnergyModelConfig(DiscriminatorConfig):
    """Energy-based model: the discriminator alone, whose negatives climb its own score."""

    norm: Literal["batch", "layer", "none"] = "none"
    """normalisation in the discriminator, where batch normalisation is refused"""
    steps: Steps = 10
    """steps of Langevin per training step"""
    rate: Weight = 10.0
    """size of a step, by the slope of the score"""
    noise: Weight = 0.005
    """deviation of the noise in every step, and on real images"""
    restart: Share = 0.05
    """chance that a chain begins again from noise, in [0, 1]"""
    pool: Count = 4096
    """chains"""
    pull: Weight = 0.1
    """weight of the squared scores in the loss"""
    lr: LearningRate = 1e-3
    """learning rate of Adam"""

    per_sample = True
    training = TrainOptions(images=300_000, batch=64, half_life=10_000, clip=0.1)

    def build(self, shape: tuple[int, int, int], classes: int) -> EnergyModel:
        discriminator = self.make_discriminator(shape)
        chains = self.pool, self.steps, self.rate, self.noise, self.restart
        return EnergyModel(discriminator, shape, *chains, self.pull, self.lr)
