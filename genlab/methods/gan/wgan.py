"""Wasserstein GAN; Arjovsky et al. 2017, arXiv:1701.07875, Algorithm 1.

Departure: RMSProp divides by a bias-corrected mean square, which matters in the first hundred steps only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from genlab.core.ranges import LearningRate, Positive, Steps
from genlab.methods.gan.adversarial import Adversarial, AdversarialConfig
from genlab.training.method import Metrics, Stream, TrainOptions
from genlab.training.optim import rmsprop
from genlab.training.update import Update


class WGAN(Adversarial):
    """generator: z (N, latent) -> x (N, C, H, W) in [0, 1];  critic: x -> (N,), unbounded.

    `weight_clip` is c of the paper; None leaves the critic unconstrained: it diverges, and distance means nothing.
    """

    def __init__(
        self,
        generator: nn.Module,
        critic: nn.Module,
        latent: int,
        weight_clip: float | None = 0.01,
        n_critic: int = 5,
        lr: float = 5e-5,
    ):
        super().__init__(generator, latent)
        self.critic, self.weight_clip, self.n_critic, self.lr = critic, weight_clip, n_critic, lr

    def optimizers(self):
        return {"generator": rmsprop(self.generator, lr=self.lr), "critic": rmsprop(self.critic, lr=self.lr)}

    def step(self, data: Stream, update: Update) -> Metrics:
        for _ in range(self.n_critic):
            real, _ = next(data)
            with torch.no_grad():
                fake = self.sample(len(real))
            distance = self.critic(real).mean() - self.critic(fake).mean()
            update("critic", -distance)
            if self.weight_clip is not None:
                with torch.no_grad():
                    for weight in self.critic.parameters():
                        weight.clamp_(-self.weight_clip, self.weight_clip)
        generator = -self.critic(self.sample(len(real))).mean()
        update("generator", generator)
        return {"distance": distance, "generator": generator}


@dataclass(frozen=True)
class WGANConfig(AdversarialConfig):
    """Wasserstein GAN with weight clipping."""

    weight_clip: Positive | None = 0.01
    """largest magnitude of a weight of the critic; none: unconstrained"""
    n_critic: Steps = 5
    """critic steps per generator step"""
    lr: LearningRate = 5e-5
    """learning rate of both RMSProps"""

    training = TrainOptions(images=3_000_000, batch=64, half_life=50_000)

    def build(self, shape: tuple[int, int, int], classes: int) -> WGAN:
        if self.spectral and self.weight_clip is not None:
            raise ValueError(
                f"weight_clip {self.weight_clip} has no effect under spectral normalisation: use weight_clip none"
            )
        critic = self.make_discriminator(shape)
        return WGAN(self.make_generator(shape), critic, self.latent, self.weight_clip, self.n_critic, self.lr)
