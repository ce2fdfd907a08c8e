"""Coupled GANs; Liu & Tuzel 2016, arXiv:1606.07536, eq. 4: two GANs that share the weights of their semantic layers.

One z draws a picture in each of two domains. The generators share all layers but the last, the discriminators all but
the first, so the pictures correspond although no pair was ever seen. Departure: the networks are those of DCGAN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from genlab.core.picture import MOST, Pictures, in_rows
from genlab.core.ranges import LearningRate, Width
from genlab.data import Pair
from genlab.data.pairs import sides
from genlab.methods.gan.gan import BETAS
from genlab.methods.gan.losses import OBJECTIVES
from genlab.metrics.features import ClassifierFeatures
from genlab.nets.dcgan import Discriminator, Generator
from genlab.training.method import BatchStream, Config, Method, Metrics, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update

ADVERSARIAL = OBJECTIVES["nonsaturating"]


@dataclass(frozen=True)
class CoGANConfig(Config):
    """Coupled GANs: corresponding images in two domains from one z, learnt without pairs."""

    tied: bool = True
    """share layers; without, the two GANs are independent"""
    latent: Width = 64
    """dimensions of z"""
    width: Width = 32
    """channels at the finest level; doubled at every coarser one"""
    lr: LearningRate = 2e-4
    """learning rate of both Adams"""

    training: ClassVar[TrainOptions] = TrainOptions(images=600_000, batch=32, half_life=10_000)
    takes: ClassVar[tuple[str, ...]] = ("two sets",)

    def build(self, shape: tuple[int, int, int], classes: int) -> CoGAN:
        generators = [Generator(shape, self.latent, self.width) for _ in range(2)]
        discriminators = [Discriminator(shape, self.width) for _ in range(2)]
        if self.tied:
            tie(generators, range(len(generators[0]) - 1))
            tie(discriminators, range(1, len(discriminators[0])))
        return CoGAN(nn.ModuleList(generators), nn.ModuleList(discriminators), self)


def tie(nets: Sequence[nn.Sequential], layers: range) -> None:
    """Makes the second of two nets share the `layers` of the first."""
    first, second = nets
    for i in layers:
        second[i] = first[i]


class CoGAN(Method):
    """generators, one a domain: z (N, latent) -> x (N, C, H, W) in [0, 1];  discriminators: x -> (N,), a logit."""

    config: CoGANConfig

    def __init__(self, generators: nn.ModuleList, discriminators: nn.ModuleList, config: CoGANConfig = CoGANConfig()):
        super().__init__(config)
        self.generators, self.discriminators = generators, discriminators

    def optimizers(self):
        nets = {"generators": self.generators, "discriminators": self.discriminators}
        return {name: adam(net, lr=self.config.lr, betas=BETAS) for name, net in nets.items()}

    def pairs(self, n: int) -> tuple[Tensor, Tensor]:
        """n images (n, C, H, W) in [0, 1] of each domain; the i-th of both are of the same z."""
        z = torch.randn(n, self.config.latent, device=self.device)
        first, second = (generator(z) for generator in self.generators)
        return first, second

    def step(self, data: BatchStream, update: Update) -> Metrics:
        real = sides(data)
        fake = self.pairs(len(real[0]))
        first, second = (
            ADVERSARIAL.discriminator(D(x), D(drawn.detach()))
            for D, x, drawn in zip(self.discriminators, real, fake, strict=True)
        )
        discriminators = first + second
        update("discriminators", discriminators)
        first, second = (ADVERSARIAL.generator(D(drawn)) for D, drawn in zip(self.discriminators, fake, strict=True))
        generators = first + second
        update("generators", generators)
        return {"discriminators": discriminators, "generators": generators}

    @torch.no_grad()
    def pictures(self, data: Pair) -> Pictures:
        """pairs: images of the first domain above their partners in the second."""
        first, second = self.eval().pairs(MOST)
        return {"pairs": in_rows({"first": first, "second": second})}


@torch.no_grad()
def agreement(method: CoGAN, judges: Sequence[ClassifierFeatures], n: int = 1000) -> tuple[float, float]:
    """The share of n pairs whose images get the same class from the classifiers of their domains, and that share if the
    images were paired at random: both are 1 where all images are of one class."""
    classes = [judge.logits(judge(x)).argmax(1) for judge, x in zip(judges, method.pairs(n))]
    most = int(torch.stack(classes).max()) + 1
    first, second = (torch.bincount(each, minlength=most) / n for each in classes)
    return float((classes[0] == classes[1]).float().mean()), float(first @ second)
