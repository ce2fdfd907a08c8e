"""Generative adversarial networks; Goodfellow et al. 2014, arXiv:1406.2661, Algorithm 1.

Departures, both those of DCGAN (Radford et al. 2016, arXiv:1511.06434): Adam in place of momentum, and the generator
learns from the fakes that the discriminator was just trained on, which saves one generator pass per step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from genlab.core.ranges import LearningRate, Range, Steps, Weight
from genlab.methods.gan.adversarial import Adversarial, AdversarialConfig
from genlab.methods.gan.diff_augment import AugmentationName, diff_augment
from genlab.methods.gan.image_pool import ImagePool
from genlab.methods.gan.losses import OBJECTIVES, ObjectiveName, zero_centred_penalty
from genlab.nets.ensemble import GeneratorEnsemble
from genlab.training.method import BatchStream, Metrics, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update

BETAS = (0.5, 0.999)  # of Adam


@dataclass(frozen=True)
class GANConfig(AdversarialConfig):
    """Generative adversarial network: an objective, networks and stabilisers that compose."""

    objective: ObjectiveName = "nonsaturating"
    """loss of both networks: cross-entropy (two losses of the generator), relativistic pairing, least squares, hinge,
    or an f-divergence"""
    n_discriminator: Steps = 1
    """discriminator steps per generator step"""
    lr: LearningRate = 2e-4
    """learning rate of the discriminator's Adam"""
    lr_generator: LearningRate | None = 1e-3
    """learning rate of the generator's; none: the same"""
    r1: Weight = 0.0
    """weight of the discriminator's squared gradient at real images; needs norm layer or none"""
    r2: Weight = 0.0
    """the same at fakes; relativistic with r1 and r2 is R3GAN's objective"""
    diff_augment: AugmentationName = "none"
    """differentiable augmentation of all images that the discriminator sees, for small data sets"""
    replay: Annotated[int, Range(0, 10**9)] = 0
    """past fakes kept to show to the discriminator again; 0: none"""
    generators: Annotated[int, Range(1, 1000)] = 1
    """size of the ensemble of generators that share the work"""

    training: ClassVar[TrainOptions] = TrainOptions(images=1_000_000, batch=64, half_life=10_000)

    def check_relations(self) -> None:
        if (self.r1 or self.r2) and (self.norm == "batch" or self.minibatch):
            which = "batch normalisation" if self.norm == "batch" else "minibatch discrimination"
            raise ValueError(
                f"r1 and r2 are gradients at single images, which {which} mixes: use norm 'layer' or 'none' and no "
                f"minibatch discrimination, got r1={self.r1:g} and r2={self.r2:g}"
            )

    def build(self, shape: tuple[int, int, int], classes: int) -> GAN:
        generators = [self.make_generator(shape) for _ in range(self.generators)]
        return GAN(
            generators[0] if self.generators == 1 else GeneratorEnsemble(generators),
            self.make_discriminator(shape),
            self,
            ImagePool(self.replay, shape) if self.replay else None,
        )


class GAN(Adversarial):
    """generator: z (N, latent) -> x (N, C, H, W) in [0, 1];  discriminator: x -> (N,), a score (logit).

    `n_discriminator` is k of Algorithm 1. With `replay` the discriminator sees past fakes too, in a batch of their own:
    among them, new fakes that are all alike would not show in the statistics of a batch.
    """

    config: GANConfig

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        config: GANConfig = GANConfig(),
        replay: ImagePool | None = None,
    ):
        super().__init__(generator, config)
        self.discriminator, self.replay = discriminator, replay
        self.objective = OBJECTIVES[config.objective]

    def optimizers(self):
        lr, lr_generator = self.config.lr, self.config.lr_generator
        return {
            "generator": adam(self.generator, lr=lr if lr_generator is None else lr_generator, betas=BETAS),
            "discriminator": adam(self.discriminator, lr=lr, betas=BETAS),
        }

    def step(self, data: BatchStream, update: Update) -> Metrics:
        for k in reversed(range(self.config.n_discriminator)):
            real, _ = next(data)
            with torch.set_grad_enabled(k == 0):  # the last fakes also teach the generator
                fake = self.sample(len(real))
            score_real, score_fake = self.score(real), self.score(fake.detach())
            if self.replay:
                past = self.replay.exchange(fake.detach())
                score_fake = torch.cat([score_fake, self.score(past)])
            discriminator = self.objective.discriminator(score_real, score_fake)
            penalties = self.penalties(real, fake)
            update("discriminator", discriminator + sum(penalties.values()))
        others = [self.score(real).detach()] if self.objective.pairs else []
        generator = self.objective.generator(self.score(fake), *others)
        update("generator", generator)
        return {
            "discriminator": discriminator,
            "generator": generator,
            "score_real": score_real.mean(),
            "score_fake": score_fake.mean(),
            **penalties,
        }

    def score(self, x: Tensor) -> Tensor:
        """The discriminator's scores of images, augmented if `diff_augment` says so."""
        return self.discriminator(diff_augment(x, self.config.diff_augment))

    def penalties(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """The weighted gradient penalties in use, by name."""
        weights = {"r1": (self.config.r1, real), "r2": (self.config.r2, fake)}
        return {name: weight * zero_centred_penalty(self.score, x) for name, (weight, x) in weights.items() if weight}
