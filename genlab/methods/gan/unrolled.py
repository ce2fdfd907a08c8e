"""Unrolled GAN; Metz et al. 2017, arXiv:1611.02163, eq. 7-9.

Both players share one value, so the generator's loss holds the real images too: through the discriminator's next steps
they depend on it. (Left out, or with steps of plain gradient descent, the generator learns to drive the discriminator
out of its mind instead, and leaves the data.) Departures: the discriminator is updated before the generator; the Adam
that looks ahead starts afresh, and the size of its steps counts as a constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from torch.func import functional_call

from genlab.core.ranges import LearningRate, Range
from genlab.methods.gan.gan import GAN, GANConfig
from genlab.methods.gan.losses import OBJECTIVES
from genlab.training.method import Metrics, Stream
from genlab.training.update import Update


class UnrolledGAN(GAN):
    """A GAN whose generator plays against the discriminator as it will be after `unroll` more steps."""

    def __init__(self, *networks, unroll: int = 5, **options):
        super().__init__(*networks, **options)
        self.unroll = unroll

    def step(self, data: Stream, update: Update) -> Metrics:
        real, _ = next(data)
        fake = self.sample(len(real))
        discriminator = self.value(dict(self.discriminator.named_parameters()), real, fake.detach())
        update("discriminator", discriminator)
        generator = -self.value(self.look_ahead(real, fake), real, fake)
        update("generator", generator)
        return {"discriminator": discriminator, "generator": generator}

    def value(self, weights: dict[str, Tensor], real: Tensor, fake: Tensor) -> Tensor:
        """The loss of a discriminator with these weights."""
        return self.objective.discriminator(*(functional_call(self.discriminator, weights, (x,)) for x in (real, fake)))

    def look_ahead(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """The discriminator's weights after its next steps, as a function of `fake`, to be differentiated."""
        weights: dict[str, Tensor] = dict(self.discriminator.named_parameters())
        beta1, beta2 = self.betas
        first: list[Tensor] = [torch.zeros_like(w) for w in weights.values()]
        second: list[Tensor] = [torch.zeros_like(w) for w in weights.values()]
        for k in range(1, self.unroll + 1):
            with torch.autocast(self.device.type, enabled=False):  # gradients of gradients, in float32
                loss = self.value(weights, real.float(), fake.float())
                gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
            first = [beta1 * m + (1 - beta1) * g for m, g in zip(first, gradients)]
            second = [beta2 * v + (1 - beta2) * g.detach().square() for v, g in zip(second, gradients)]
            rates = [self.lr / (1 - beta1**k) / ((v / (1 - beta2**k)).sqrt() + 1e-8) for v in second]
            weights = {name: w - rate * m for (name, w), rate, m in zip(weights.items(), rates, first)}
        return weights


@dataclass(frozen=True)
class UnrolledConfig(GANConfig):
    """GAN whose generator looks several discriminator steps ahead."""

    lr: LearningRate = 1e-4
    """learning rate of the discriminator's Adam"""
    unroll: Annotated[int, Range(0, 10**6)] = 5
    """discriminator steps to look ahead; 0: a plain GAN"""

    def build(self, shape: tuple[int, int, int], classes: int) -> UnrolledGAN:
        if self.replay or self.generators != 1 or self.n_discriminator != 1:
            raise ValueError("an unrolled GAN is built without replay, ensemble and n_discriminator > 1")
        return UnrolledGAN(
            self.make_generator(shape),
            self.make_discriminator(shape),
            self.latent,
            objective=OBJECTIVES[self.objective],
            lr=self.lr,
            lr_generator=self.lr_generator,
            unroll=self.unroll,
        )
