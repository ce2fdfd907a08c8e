"""Unrolled GAN; Metz et al. 2017, arXiv:1611.02163, eq. 7-9.

Departures: the discriminator is updated before the generator, and looks ahead with plain gradient descent, on the batch
it was just trained on, where the paper's experiments unroll Adam.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

from genlab.losses import OBJECTIVES
from genlab.methods.gan import GAN, GANConfig
from genlab.train import Metrics, Stream, Update


class UnrolledGAN(GAN):
    """A GAN whose generator plays against the discriminator as it will be after `unroll` more steps of `unroll_lr`."""

    def __init__(self, *networks, unroll: int = 5, unroll_lr: float = 0.1, **options):
        super().__init__(*networks, **options)
        self.unroll, self.unroll_lr = unroll, unroll_lr

    def step(self, data: Stream, update: Update) -> Metrics:
        real, _ = next(data)
        fake = self.sample(len(real))
        discriminator = self.objective.discriminator(self.discriminator(real), self.discriminator(fake.detach()))
        update("discriminator", discriminator)
        ahead = self.look_ahead(real, fake)
        generator = self.objective.generator(functional_call(self.discriminator, ahead, (fake,)))
        update("generator", generator)
        return {"discriminator": discriminator, "generator": generator}

    def look_ahead(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """The discriminator's weights after its next steps, as a function of `fake`, to be differentiated."""
        weights: dict[str, Tensor] = dict(self.discriminator.named_parameters())
        for _ in range(self.unroll):
            with torch.autocast(self.device.type, enabled=False):  # gradients of gradients, in float32
                scores = (functional_call(self.discriminator, weights, (x.float(),)) for x in (real, fake))
                loss = self.objective.discriminator(*scores)
                gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
            weights = {name: w - self.unroll_lr * g for (name, w), g in zip(weights.items(), gradients)}
        return weights


@dataclass(frozen=True)
class UnrolledConfig(GANConfig):
    """GAN whose generator looks several discriminator steps ahead."""

    unroll: int = 5
    """discriminator steps to look ahead; 0: a plain GAN"""
    unroll_lr: float = 0.1
    """step size of those, plain gradient descent"""

    def build(self, shape: tuple[int, int, int], classes: int) -> UnrolledGAN:
        if self.replay or self.generators != 1 or self.n_discriminator != 1:
            raise ValueError("an unrolled GAN is built without replay, ensemble and n_discriminator > 1")
        return UnrolledGAN(
            self.make_generator(shape),
            self.make_discriminator(shape),
            self.latent,
            objective=OBJECTIVES[self.objective],
            lr=self.lr,
            unroll=self.unroll,
            unroll_lr=self.unroll_lr,
        )
