"""Coupled GANs; Liu & Tuzel 2016, arXiv:1606.07536, eq. 4: two GANs that share the layers which make and see meaning.

One z draws a picture in each of two domains. The generators share all layers but the last, the discriminators all but
the first, so the pair corresponds although no pair was ever seen. Departure: the networks are those of DCGAN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from genlab.core.ranges import LearningRate, Width
from genlab.data import Pair
from genlab.data.pairs import sides
from genlab.methods.gan.losses import OBJECTIVES
from genlab.metrics.features import ClassifierFeatures
from genlab.nets.dcgan import Discriminator, Generator
from genlab.training.method import Config, Method, Metrics, Stream, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update

GAME = OBJECTIVES["nonsaturating"]


class CoGAN(Method):
    """generators, one a domain: z (N, latent) -> x (N, C, H, W) in [0, 1];  discriminators: x -> (N,), a logit."""

    def __init__(self, generators: nn.ModuleList, discriminators: nn.ModuleList, latent: int, lr: float = 2e-4):
        super().__init__()
        self.generators, self.discriminators, self.latent, self.lr = generators, discriminators, latent, lr

    def optimizers(self):
        return {
            name: adam(getattr(self, name), lr=self.lr, betas=(0.5, 0.999)) for name in ("generators", "discriminators")
        }

    def pairs(self, n: int) -> tuple[Tensor, Tensor]:
        """n pictures (n, C, H, W) in [0, 1] of either domain; those of one place come from one z."""
        z = torch.randn(n, self.latent, device=self.device)
        first, second = (generator(z) for generator in self.generators)
        return first, second

    def step(self, data: Stream, update: Update) -> Metrics:
        real = sides(data)
        fake = self.pairs(len(real[0]))
        games = list(zip(self.discriminators, real, fake))
        losses = [GAME.discriminator(judge(x), judge(drawn.detach())) for judge, x, drawn in games]
        discriminators = losses[0] + losses[1]
        update("discriminators", discriminators)
        losses = [GAME.generator(judge(drawn)) for judge, _, drawn in games]
        generators = losses[0] + losses[1]
        update("generators", generators)
        return {"discriminators": discriminators, "generators": generators}

    @torch.no_grad()
    def pictures(self, data: Pair) -> dict[str, Tensor]:
        """pairs: each picture of the first domain before its partner in the second."""
        return {"pairs": torch.stack(self.eval().pairs(32), 1).flatten(0, 1)}


@torch.no_grad()
def agreement(method: CoGAN, judges: Sequence[ClassifierFeatures], n: int = 1000) -> float:
    """The share of n pairs whose pictures are of one class to the classifiers of their domains."""
    classes = [judge.logits(judge(x)).argmax(1) for judge, x in zip(judges, method.pairs(n))]
    return float((classes[0] == classes[1]).float().mean())


@dataclass(frozen=True)
class CoGANConfig(Config):
    """Coupled GANs: one z draws a pair, though no pair was ever seen."""

    tied: bool = True
    """share layers; without, there are two GANs that have nothing to do with each other"""
    latent: Width = 64
    """dimensions of z"""
    width: Width = 32
    """channels at the finest level; doubled at every coarser one"""
    lr: LearningRate = 2e-4
    """learning rate of both Adams"""

    training: ClassVar[TrainOptions] = TrainOptions(images=600_000, batch=32, half_life=10_000)

    def build(self, shape: tuple[int, int, int], classes: int) -> CoGAN:
        generators = [Generator(shape, self.latent, self.width) for _ in range(2)]
        discriminators = [Discriminator(shape, self.width) for _ in range(2)]
        if self.tied:
            tie(generators, range(len(generators[0]) - 1))
            tie(discriminators, range(1, len(discriminators[0])))
        return CoGAN(nn.ModuleList(generators), nn.ModuleList(discriminators), self.latent, self.lr)


def tie(nets: Sequence[nn.Sequential], places: range) -> None:
    """Puts the layers that the first of two nets has at `places` into the second, too."""
    first, second = nets
    for place in places:
        second[place] = first[place]
