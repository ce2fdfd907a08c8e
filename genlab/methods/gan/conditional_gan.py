"""Conditional GAN; Mirza & Osindero 2014, arXiv:1411.1784, eq. 2, with mismatched pairs as in Algorithm 1 of
Reed et al. 2016, arXiv:1605.05396.

Departures: D has an output for every class, and the condition selects one of them; this is the projection of Miyato &
Koyama 2018, arXiv:1802.05637, eq. 3, with the class embeddings as one matrix, so a pair and its mismatched pair share
one pass. The generator learns from the fakes of the discriminator's step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from genlab.core.labels import Labels, check_classes
from genlab.core.ranges import LearningRate, Width
from genlab.methods.gan.adversarial import ConditionalAdversarial, GeneratorConfig
from genlab.methods.gan.gan import BETAS
from genlab.nets.dcgan import Encoder, Generator
from genlab.training.method import BatchStream, Method, Metrics, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update

Heads = Literal["joint", "separate"]


@dataclass(frozen=True)
class ConditionalGANConfig(GeneratorConfig):
    """Conditional GAN: samples of a given class."""

    heads: Heads = "joint"
    """joint: one score of the pair of image and class; separate: one of the image and one of the match"""
    mismatched: bool = True
    """real images with a wrong label count as fake pairs, too"""
    width: Width = 64
    """channels at the finest level; doubled at every coarser one"""
    lr: LearningRate = 2e-4
    """learning rate of both Adams"""

    training: ClassVar[TrainOptions] = TrainOptions(images=1_000_000, batch=64, half_life=10_000)

    def build(self, shape: tuple[int, int, int], classes: int) -> ConditionalGAN:
        check_classes(classes, "a condition")
        return ConditionalGAN(
            Generator(shape, self.latent + classes, self.width),
            Encoder(shape, classes + 1, self.width),
            classes,
            self,
        )


def mismatch(y: Tensor, classes: int) -> Tensor:
    """Labels (N,) that are all wrong, uniform over the other classes."""
    return (y + torch.randint(1, classes, y.shape, device=y.device)) % classes


@dataclass(frozen=True)
class PairLoss:
    """The losses of D and G on pairs of image and class.

    D's outputs are logits (N, classes + 1): of the pairs of the image with every class, and of the image alone.

    heads: joint: the pair's logit has to tell real pairs from fakes; separate: it tells whether the class matches, and
        the image's logit whether the image is real
    mismatched: real images with a wrong label are fake pairs, too
    """

    heads: Heads
    mismatched: bool

    def discriminator(self, real: Tensor, fake: Tensor, y: Tensor) -> Tensor:
        """D's loss from its outputs for real images and for fakes, both of the classes y (N,).

        With joint heads, fakes and mismatched pairs weigh half each.
        """
        pair = lambda outputs, labels: outputs[:, :-1].gather(1, labels[:, None])
        matched = softplus(-pair(real, y)).mean()
        if self.mismatched:
            mismatched = softplus(pair(real, mismatch(y, real.shape[1] - 1))).mean()
        if self.heads == "separate":
            image = softplus(-real[:, -1]).mean() + softplus(fake[:, -1]).mean()
            return image + matched + mismatched if self.mismatched else image + matched
        generated = softplus(pair(fake, y)).mean()
        return matched + ((generated + mismatched) / 2 if self.mismatched else generated)

    def generator(self, fake: Tensor, y: Tensor) -> Tensor:
        """G's loss from D's outputs for its fakes of the classes y (N,)."""
        match = softplus(-fake.gather(1, y[:, None])).mean()
        return match + softplus(-fake[:, -1]).mean() if self.heads == "separate" else match


class ConditionalGAN(ConditionalAdversarial):
    """generator: (z, one-hot y) (N, latent + classes) -> x (N, C, H, W) in [0, 1];
    discriminator: x -> (N, classes + 1), the logits of PairLoss."""

    config: ConditionalGANConfig

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        classes: int,
        config: ConditionalGANConfig = ConditionalGANConfig(),
    ):
        super().__init__(generator, classes, config)
        self.discriminator, self.loss = discriminator, PairLoss(config.heads, config.mismatched)

    def optimizers(self):
        nets = {"generator": self.generator, "discriminator": self.discriminator}
        return {name: adam(net, lr=self.config.lr, betas=BETAS) for name, net in nets.items()}

    def step(self, data: BatchStream, update: Update) -> Metrics:
        real, y = next(data)
        fake = self.draw(y)
        discriminator = self.loss.discriminator(self.discriminator(real), self.discriminator(fake.detach()), y)
        update("discriminator", discriminator)
        generator = self.loss.generator(self.discriminator(fake), y)
        update("generator", generator)
        return {"discriminator": discriminator, "generator": generator}


class Conditional(Protocol):
    """What draws samples of a class."""

    classes: int

    def sample(self, n: int, labels: Labels | None = None) -> Tensor: ...


@torch.no_grad()
def conditional_accuracy(method: Conditional, classifier: Method, each: int = 100) -> float:
    """The share of samples, `each` per class, that `classifier` (x -> logits) assigns to the class asked for."""
    y = torch.arange(method.classes, device=classifier.device).repeat_interleave(each)
    right = [(classifier(method.sample(len(part), part)).argmax(1) == part).sum() for part in y.split(500)]
    return float(torch.stack(right).sum() / len(y))
