"""Unrolled GAN; Metz et al. 2017, arXiv:1611.02163, eq. 7-9.

The generator's loss is minus the discriminator's, with the real images, since the unrolled discriminator depends on
them, too. (Without them, or with unrolled steps of plain gradient descent, the generator learns to make the
discriminator's steps diverge, and its samples leave the data.) Departures: the discriminator is updated before the
generator; the unrolled Adam starts from zero moments, and no gradient flows through its second moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.func import functional_call

from genlab.core.ranges import LearningRate, Range
from genlab.methods.gan.gan import BETAS, GAN, GANConfig
from genlab.training.method import BatchStream, Metrics
from genlab.training.update import Update


@dataclass(frozen=True)
class UnrolledConfig(GANConfig):
    """GAN whose generator is trained against the discriminator of several steps later."""

    lr: LearningRate = 1e-4
    """learning rate of the discriminator's Adam"""
    unroll: Annotated[int, Range(0, 10**6)] = 5
    """discriminator steps that are unrolled; 0: a plain GAN"""

    def check_relations(self) -> None:
        if self.replay or self.generators != 1 or self.n_discriminator != 1:
            raise ValueError("an unrolled GAN is built without replay, ensemble and n_discriminator > 1")

    def build(self, shape: tuple[int, int, int], classes: int) -> UnrolledGAN:
        return UnrolledGAN(self.make_generator(shape), self.make_discriminator(shape), self)


class UnrolledGAN(GAN):
    """A GAN whose generator minimises its loss against the discriminator as it will be after `unroll` more steps."""

    config: UnrolledConfig

    def __init__(self, generator: nn.Module, discriminator: nn.Module, config: UnrolledConfig = UnrolledConfig()):
        super().__init__(generator, discriminator, config)

    def step(self, data: BatchStream, update: Update) -> Metrics:
        real, _ = next(data)
        fake = self.sample(len(real))
        discriminator = self.loss(dict(self.discriminator.named_parameters()), real, fake.detach())
        update("discriminator", discriminator)
        generator = -self.loss(self.unrolled(real, fake), real, fake)
        update("generator", generator)
        return {"discriminator": discriminator, "generator": generator}

    def loss(self, weights: dict[str, Tensor], real: Tensor, fake: Tensor) -> Tensor:
        """The loss of a discriminator with these weights."""
        return self.objective.discriminator(*(functional_call(self.discriminator, weights, (x,)) for x in (real, fake)))

    def unrolled(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """The discriminator's weights after `unroll` steps of Adam, as a differentiable function of `fake`."""
        weights: dict[str, Tensor] = dict(self.discriminator.named_parameters())
        lr, (beta1, beta2) = self.config.lr, BETAS
        first: list[Tensor] = [torch.zeros_like(w) for w in weights.values()]
        second: list[Tensor] = [torch.zeros_like(w) for w in weights.values()]
        for k in range(1, self.config.unroll + 1):
            with torch.autocast(self.device.type, enabled=False):  # gradients of gradients, in float32
                loss = self.loss(weights, real.float(), fake.float())
                gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
            first = [beta1 * m + (1 - beta1) * g for m, g in zip(first, gradients)]
            second = [beta2 * v + (1 - beta2) * g.detach().square() for v, g in zip(second, gradients)]
            rates = [lr / (1 - beta1**k) / ((v / (1 - beta2**k)).sqrt() + 1e-8) for v in second]
            weights = {name: w - rate * m for (name, w), rate, m in zip(weights.items(), rates, first)}
        return weights
