"""Wasserstein GAN; Arjovsky et al. 2017, arXiv:1701.07875, Algorithm 1.

Departure: RMSProp divides by a bias-corrected mean square, which matters in the first hundred steps only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from genlab.core.ranges import LearningRate, Positive, Steps
from genlab.methods.gan.adversarial import Adversarial, AdversarialConfig
from genlab.training.method import BatchStream, Metrics, TrainOptions
from genlab.training.optim import rmsprop
from genlab.training.update import Update


@dataclass(frozen=True)
class WGANConfig(AdversarialConfig):
    """Wasserstein GAN with weight clipping."""

    weight_clip: Positive | None = 0.01
    """largest magnitude of a weight of the critic, c of the paper; none: unconstrained, and the critic diverges"""
    n_critic: Steps = 5
    """critic steps per generator step"""
    lr: LearningRate = 5e-5
    """learning rate of both RMSProps"""

    training = TrainOptions(images=3_000_000, batch=64, half_life=50_000)

    def check_relations(self) -> None:
        if self.spectral and self.weight_clip is not None:
            raise ValueError(
                f"weight_clip {self.weight_clip} has no effect under spectral normalisation: use weight_clip none"
            )

    def build(self, shape: tuple[int, int, int], classes: int) -> WGAN:
        critic = self.make_discriminator(shape)
        return WGAN(self.make_generator(shape), critic, self)


class WGAN(Adversarial):
    """generator: z (N, latent) -> x (N, C, H, W) in [0, 1];  critic: x -> (N,), unbounded."""

    config: WGANConfig

    def __init__(self, generator: nn.Module, critic: nn.Module, config: WGANConfig = WGANConfig()):
        super().__init__(generator, config)
        self.critic = critic

    def optimizers(self):
        lr = self.config.lr
        return {"generator": rmsprop(self.generator, lr=lr), "critic": rmsprop(self.critic, lr=lr)}

    def step(self, data: BatchStream, update: Update) -> Metrics:
        c = self.config.weight_clip
        for _ in range(self.config.n_critic):
            real, _ = next(data)
            with torch.no_grad():
                fake = self.sample(len(real))
            distance = self.critic(real).mean() - self.critic(fake).mean()
            update("critic", -distance)
            if c is not None:
                with torch.no_grad():
                    for weight in self.critic.parameters():
                        weight.clamp_(-c, c)
        generator = -self.critic(self.sample(len(real))).mean()
        update("generator", generator)
        return {"distance": distance, "generator": generator}
