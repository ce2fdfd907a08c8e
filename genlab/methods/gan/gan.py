"""Generative adversarial networks; Goodfellow et al. 2014, arXiv:1406.2661, Algorithm 1.

Departures, both those of DCGAN (Radford et al. 2016, arXiv:1511.06434): Adam in place of momentum, and the generator
learns from the fakes that the discriminator was just trained on, which saves one generator pass per step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import nn

from genlab.core.ranges import LearningRate, Range, Steps
from genlab.methods.gan.adversarial import Adversarial, AdversarialConfig
from genlab.methods.gan.image_pool import ImagePool
from genlab.methods.gan.losses import OBJECTIVES, Objective, ObjectiveName
from genlab.nets.ensemble import Ensemble
from genlab.training.method import Metrics, Stream, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update


class GAN(Adversarial):
    """generator: z (N, latent) -> x (N, C, H, W) in [0, 1];  discriminator: x -> (N,), a score (logit).

    `n_discriminator` is k of Algorithm 1. With `replay` the discriminator sees past fakes too, in a batch of their own:
    among them, new fakes that are all alike would not show in the statistics of a batch.
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
        replay: ImagePool | None = None,
        lr_generator: float | None = None,
    ):
        super().__init__(generator, latent)
        self.discriminator, self.replay = discriminator, replay
        self.objective, self.n_discriminator, self.lr, self.betas = objective, n_discriminator, lr, betas
        self.lr_generator = lr if lr_generator is None else lr_generator

    def optimizers(self):
        return {
            "generator": adam(self.generator, lr=self.lr_generator, betas=self.betas),
            "discriminator": adam(self.discriminator, lr=self.lr, betas=self.betas),
        }

    def step(self, data: Stream, update: Update) -> Metrics:
        for k in reversed(range(self.n_discriminator)):
            real, _ = next(data)
            with torch.set_grad_enabled(k == 0):  # the last fakes also teach the generator
                fake = self.sample(len(real))
            score_real, score_fake = self.discriminator(real), self.discriminator(fake.detach())
            if self.replay:
                past = self.replay.exchange(fake.detach())
                score_fake = torch.cat([score_fake, self.discriminator(past)])
            discriminator = self.objective.discriminator(score_real, score_fake)
            update("discriminator", discriminator)
        generator = self.objective.generator(self.discriminator(fake))
        update("generator", generator)
        return {
            "discriminator": discriminator,
            "generator": generator,
            "score_real": score_real.mean(),
            "score_fake": score_fake.mean(),
        }


@dataclass(frozen=True)
class GANConfig(AdversarialConfig):
    """Generative adversarial network: an objective, networks and stabilisers that compose."""

    objective: ObjectiveName = "nonsaturating"
    """the game: cross-entropy (two generators' losses), least squares, hinge, or an f-divergence"""
    n_discriminator: Steps = 1
    """discriminator steps per generator step"""
    lr: LearningRate = 2e-4
    """learning rate of the discriminator's Adam"""
    lr_generator: LearningRate | None = 1e-3
    """learning rate of the generator's; none: the same"""
    replay: Annotated[int, Range(0, 10**9)] = 0
    """past fakes kept to show to the discriminator again; 0: none"""
    generators: Annotated[int, Range(1, 1000)] = 1
    """size of the ensemble of generators that share the work"""

    training: ClassVar[TrainOptions] = TrainOptions(images=1_000_000, batch=64, half_life=10_000)

    def build(self, shape: tuple[int, int, int], classes: int) -> GAN:
        generators = [self.make_generator(shape) for _ in range(self.generators)]
        return GAN(
            generators[0] if self.generators == 1 else Ensemble(generators),
            self.make_discriminator(shape),
            self.latent,
            OBJECTIVES[self.objective],
            self.n_discriminator,
            self.lr,
            replay=ImagePool(self.replay, shape) if self.replay else None,
            lr_generator=self.lr_generator,
        )
