"""Wasserstein GAN with gradient penalty; Gulrajani et al. 2017, arXiv:1704.00028, Algorithm 1.

Pixels are in [0, 1], so `distance` is in those units. `consistency` adds the term of CT-GAN: Wei et al. 2018,
arXiv:1803.01541, eq. 4 and 5, with M' = 0 and with absolute differences of scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from genlab.core.ranges import Fraction, LearningRate, Steps, Weight
from genlab.methods.gan.adversarial import Adversarial, AdversarialConfig, Critic
from genlab.methods.gan.losses import gradient_norms, gradient_penalty
from genlab.training.method import Metrics, Stream, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update


class WGANGP(Adversarial):
    """generator: z (N, latent) -> x (N, C, H, W) in [0, 1];  critic: x -> (N,), unbounded, each x by itself."""

    def __init__(
        self,
        generator: nn.Module,
        critic: Critic,
        latent: int,
        penalty: float = 10.0,
        n_critic: int = 5,
        lr: float = 1e-4,
        consistency: float = 0.0,
    ):
        super().__init__(generator, latent)
        self.critic, self.penalty, self.n_critic, self.lr = critic, penalty, n_critic, lr
        self.consistency = consistency

    def optimizers(self):
        return {name: adam(getattr(self, name), lr=self.lr, betas=(0.0, 0.9)) for name in ("generator", "critic")}

    def step(self, data: Stream, update: Update) -> Metrics:
        for _ in range(self.n_critic):
            real, _ = next(data)
            with torch.no_grad():
                fake = self.sample(len(real))
            distance = self.critic(real).mean() - self.critic(fake).mean()
            slope = gradient_norms(self.critic, real, fake)
            penalty = gradient_penalty(slope)
            apart = self.consistency * self.disagreement(real) if self.consistency else 0.0
            update("critic", self.penalty * penalty - distance + apart)
        generator = -self.critic(self.sample(len(real))).mean()
        update("generator", generator)
        return {"distance": distance, "penalty": penalty, "slope": slope.mean(), "generator": generator}

    def disagreement(self, x: Tensor) -> Tensor:
        """How far two passes over x with different dropout differ: in the score, and a tenth of it in the features."""
        a, b = self.critic.features(x), self.critic.features(x)
        return ((self.critic.head(a) - self.critic.head(b)).abs().mean() + 0.1 * (a - b).norm(dim=1).mean()).float()


@dataclass(frozen=True)
class WGANGPConfig(AdversarialConfig):
    """Wasserstein GAN with gradient penalty."""

    norm: Literal["batch", "layer", "none"] = "none"
    """normalisation in the critic, where batch normalisation is refused"""
    penalty: Weight = 10.0
    """weight of the gradient penalty"""
    n_critic: Steps = 5
    """critic steps per generator step"""
    lr: LearningRate = 1e-4
    """learning rate of both Adams"""
    consistency: Weight = 0.0
    """weight of the consistency term (the paper's: 2); needs dropout"""
    dropout: Fraction = 0.0
    """dropout in the critic"""

    per_sample = True
    training = TrainOptions(images=1_000_000, batch=64, half_life=20_000)

    def build(self, shape: tuple[int, int, int], classes: int) -> WGANGP:
        if self.consistency and not self.dropout:
            raise ValueError("without dropout two passes agree: the consistency term needs dropout > 0")
        generator, critic = self.make_generator(shape), self.make_discriminator(shape, self.dropout)
        return WGANGP(generator, critic, self.latent, self.penalty, self.n_critic, self.lr, self.consistency)
