"""Wasserstein GAN with gradient penalty; Gulrajani et al. 2017, arXiv:1704.00028, Algorithm 1.

Pixels are in [0, 1], so `distance` is in those units. `consistency` adds the consistency term of CT-GAN: Wei et al.
2018, arXiv:1803.01541, eq. 4 and 5, with M' = 0 and with absolute differences of scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from genlab.core.ranges import Fraction, LearningRate, Steps, Weight
from genlab.methods.gan.adversarial import Adversarial, AdversarialConfig, Critic
from genlab.methods.gan.losses import gradient_norms, gradient_penalty
from genlab.training.method import BatchStream, Metrics, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update

BETAS = (0.0, 0.9)  # of Adam


@dataclass(frozen=True)
class WGANGPConfig(AdversarialConfig):
    """Wasserstein GAN with gradient penalty."""

    norm: Literal["batch", "layer", "none"] = "none"
    """normalisation in the critic; batch normalisation is refused"""
    penalty: Weight = 10.0
    """weight of the gradient penalty, lambda of the paper"""
    n_critic: Steps = 5
    """critic steps per generator step"""
    lr: LearningRate = 1e-4
    """learning rate of both Adams"""
    consistency: Weight = 0.0
    """weight of the consistency term of CT-GAN (in its paper 2); needs dropout"""
    dropout: Fraction = 0.0
    """dropout in the critic"""

    per_sample = True
    training = TrainOptions(images=1_000_000, batch=64, half_life=20_000)

    def check_relations(self) -> None:
        if self.consistency and not self.dropout:
            raise ValueError("the consistency term compares two passes with dropout: it needs dropout > 0")

    def build(self, shape: tuple[int, int, int], classes: int) -> WGANGP:
        return WGANGP(self.make_generator(shape), self.make_discriminator(shape, self.dropout), self)


class WGANGP(Adversarial):
    """generator: z (N, latent) -> x (N, C, H, W) in [0, 1];  critic: x -> (N,), unbounded, of every image
    independently."""

    config: WGANGPConfig

    def __init__(self, generator: nn.Module, critic: Critic, config: WGANGPConfig = WGANGPConfig()):
        super().__init__(generator, config)
        self.critic = critic

    def optimizers(self):
        nets = {"generator": self.generator, "critic": self.critic}
        return {name: adam(net, lr=self.config.lr, betas=BETAS) for name, net in nets.items()}

    def step(self, data: BatchStream, update: Update) -> Metrics:
        for _ in range(self.config.n_critic):
            real, _ = next(data)
            with torch.no_grad():
                fake = self.sample(len(real))
            distance = self.critic(real).mean() - self.critic(fake).mean()
            norms = gradient_norms(self.critic, real, fake)
            penalty = gradient_penalty(norms)
            loss = self.config.penalty * penalty - distance
            if self.config.consistency:
                loss = loss + self.config.consistency * self.inconsistency(real)
            update("critic", loss)
        generator = -self.critic(self.sample(len(real))).mean()
        update("generator", generator)
        return {"distance": distance, "penalty": penalty, "gradient_norm": norms.mean(), "generator": generator}

    def inconsistency(self, x: Tensor) -> Tensor:
        """The difference of two passes over x with different dropout: of the scores, plus 0.1 of the features'."""
        a, b = self.critic.features(x), self.critic.features(x)
        return ((self.critic.head(a) - self.critic.head(b)).abs().mean() + 0.1 * (a - b).norm(dim=1).mean()).float()
