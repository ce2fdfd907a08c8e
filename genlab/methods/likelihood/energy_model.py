"""Energy-based model: a discriminator without a generator; Du & Mordatch 2019, arXiv:1903.08689, Algorithm 1.

p(x) is proportional to exp D(x). Its samples, which are the negatives of training, come from Langevin dynamics: chains
of noisy gradient steps on D. The chains are kept in a pool from one training step to the next; now and then one is
restarted from noise.

As in the paper, step size and noise are set separately, so that short chains suffice (the temperature is far below 1),
and the squared scores are a regulariser. Departures: images stay in [0, 1]; spectral normalisation is an option.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from genlab.core.picture import Picture, Pictures
from genlab.core.ranges import Count, LearningRate, Share, Steps, Weight, checked
from genlab.methods.gan.adversarial import Critic, DiscriminatorConfig
from genlab.training.method import BatchStream, Method, Metrics, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update

BETAS = (0.0, 0.999)  # of Adam


@dataclass(frozen=True)
class EnergyModelConfig(DiscriminatorConfig):
    """Energy-based model: a discriminator whose samples are drawn by Langevin dynamics."""

    norm: Literal["batch", "layer", "none"] = "none"
    """normalisation in the discriminator; batch normalisation is refused"""
    steps: Steps = 10
    """Langevin steps per training step"""
    step_size: Weight = 10.0
    """factor of the gradient in a Langevin step"""
    noise: Weight = 0.005
    """standard deviation of the noise in every Langevin step, and on real images"""
    restart: Share = 0.05
    """probability that a chain is restarted from noise, in [0, 1]"""
    pool: Count = 4096
    """chains kept"""
    regularisation: Weight = 0.1
    """weight of the squared scores in the loss"""
    lr: LearningRate = 1e-3
    """learning rate of Adam"""

    per_sample = True
    training = TrainOptions(images=300_000, batch=64, half_life=10_000, clip=0.1)

    def build(self, shape: tuple[int, int, int], classes: int) -> EnergyModel:
        return EnergyModel(self.make_discriminator(shape), shape, self)


class EnergyModel(Method):
    """discriminator: x (N, C, H, W) in [0, 1] -> (N,), the negative energy, of every image independently."""

    config: EnergyModelConfig
    pool: Tensor

    def __init__(
        self,
        discriminator: Critic,
        shape: tuple[int, int, int],
        config: EnergyModelConfig = EnergyModelConfig(),
    ):
        super().__init__(config)
        self.discriminator = discriminator
        self.register_buffer("pool", torch.rand(config.pool, *shape))
        self.batch_sizes = range(1, config.pool + 1)

    def optimizers(self):
        return {"discriminator": adam(self.discriminator, lr=self.config.lr, betas=BETAS)}

    def langevin(self, x: Tensor, steps: int) -> Tensor:
        """Images (N, C, H, W) in [0, 1] after so many Langevin steps."""
        step_size, noise = self.config.step_size, self.config.noise
        for _ in range(steps):
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                (gradient,) = torch.autograd.grad(self.discriminator(x).sum(), x)
            x = (x + step_size * gradient + noise * torch.randn_like(x)).clamp(0, 1).detach()
        return x

    def step(self, data: BatchStream, update: Update) -> Metrics:
        steps, noise, restart = self.config.steps, self.config.noise, self.config.restart
        real, _ = next(data)
        if len(real) > len(self.pool):
            raise ValueError(f"{len(self.pool)} chains are too few for batches of {len(real)}")
        chosen = torch.randperm(len(self.pool), device=self.device)[: len(real)]
        restarted = torch.rand(len(real), 1, 1, 1, device=self.device) < restart
        fake = self.langevin(torch.where(restarted, torch.rand_like(real), self.pool[chosen]), steps)
        self.pool[chosen] = fake
        real = real + noise * torch.randn_like(real)
        score_real, score_fake = self.discriminator(real), self.discriminator(fake)
        distance = score_real.mean() - score_fake.mean()
        squares = (score_real.square() + score_fake.square()).mean()
        update("discriminator", self.config.regularisation * squares - distance)
        return {"distance": distance, "score_real": score_real.mean(), "score_fake": score_fake.mean()}

    @torch.no_grad()
    @checked
    def sample(self, n: Count) -> Tensor:
        """n images (n, C, H, W) in [0, 1]: chains of the pool, each used once before any again, `steps` steps on."""
        chosen = torch.randperm(len(self.pool), device=self.device).repeat(-(-n // len(self.pool)))[:n]
        return self.langevin(self.pool[chosen], self.config.steps)

    @torch.no_grad()
    def pictures(self, data: Any) -> Pictures:
        """Besides samples, eight chains from noise: a row of eight images each, the number of steps between them
        doubling."""
        found = super().pictures(data)
        x = torch.rand_like(self.pool[:8])
        rows = [x]
        for doublings in range(7):
            x = self.langevin(x, self.config.steps * 2**doublings // 4)
            rows.append(x)
        heads = ["noise", *[""] * (len(rows) - 2), "last"]
        return found | {"chains": Picture(torch.stack(rows, 1).flatten(0, 1), len(rows), heads=heads)}
