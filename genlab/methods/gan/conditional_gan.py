"""Conditional GAN; Mirza & Osindero 2014, arXiv:1411.1784, eq. 2, with mismatched pairs as in Algorithm 1 of
Reed et al. 2016, arXiv:1605.05396.

Departures: the condition enters D as a choice among its outputs, one per class, which is the projection of Miyato &
Koyama 2018, arXiv:1802.05637, eq. 3, written as one matrix; so a pair and its mismatched pair share one pass. The
generator learns from the fakes of the discriminator's step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, softplus

from genlab.core.labels import Labels, asked, check_classes
from genlab.core.ranges import LearningRate, Width
from genlab.data import Images
from genlab.nets.dcgan import Encoder, Generator
from genlab.training.method import Config, Method, Metrics, Stream, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update

Heads = Literal["joint", "separate"]


def mismatch(y: Tensor, classes: int) -> Tensor:
    """Labels (N,) that are all wrong, uniform over the other classes."""
    return (y + torch.randint(1, classes, y.shape, device=y.device)) % classes


@dataclass(frozen=True)
class PairGame:
    """The losses of D and G over pairs (image, class), from D's outputs (N, classes + 1): the last is realism alone.

    joint: one score says that a pair is real; separate: one says that the image is real, another that it matches.
    """

    heads: Heads = "joint"
    mismatched: bool = True

    def discriminator(self, real: Tensor, fake: Tensor, y: Tensor) -> Tensor:
        """Real pairs against fakes and, half the weight each, against real images with a wrong label."""
        match = lambda outputs, label: outputs[:, :-1].gather(1, label[:, None])
        wrong = softplus(match(real, mismatch(y, real.shape[1] - 1))).mean() if self.mismatched else None
        right = softplus(-match(real, y)).mean()
        if self.heads == "separate":
            realism = softplus(-real[:, -1]).mean() + softplus(fake[:, -1]).mean()
            return realism + right + (0.0 if wrong is None else wrong)
        pasted = softplus(match(fake, y)).mean()
        return right + (pasted if wrong is None else (pasted + wrong) / 2)

    def generator(self, fake: Tensor, y: Tensor) -> Tensor:
        match = softplus(-fake.gather(1, y[:, None])).mean()
        return match + softplus(-fake[:, -1]).mean() if self.heads == "separate" else match


class ConditionalGAN(Method):
    """generator: (z, one-hot y) (N, latent + classes) -> x (N, C, H, W) in [0, 1];
    discriminator: x -> (N, classes + 1), logits: of every pair (x, y), and of x alone."""

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        latent: int,
        classes: int,
        game: PairGame = PairGame(),
        lr: float = 2e-4,
    ):
        super().__init__()
        self.generator, self.discriminator, self.latent, self.classes = generator, discriminator, latent, classes
        self.game, self.lr = game, lr

    def optimizers(self):
        return {
            name: adam(getattr(self, name), lr=self.lr, betas=(0.5, 0.999)) for name in ("generator", "discriminator")
        }

    def sample(self, n: int, labels: Labels | None = None) -> Tensor:
        """n images (n, C, H, W) in [0, 1] of the classes `labels` (n,), or of random ones."""
        if labels is None:
            return self.draw(torch.randint(self.classes, (n,), device=self.device))
        return self.draw(asked(labels, n, self.classes, self.device))

    def draw(self, y: Tensor) -> Tensor:
        """Classes (n,) -> an image of each."""
        z = torch.randn(len(y), self.latent, device=self.device)
        return self.generator(torch.cat([z, one_hot(y, self.classes)], 1))

    def step(self, data: Stream, update: Update) -> Metrics:
        real, y = next(data)
        fake = self.draw(y)
        discriminator = self.game.discriminator(self.discriminator(real), self.discriminator(fake.detach()), y)
        update("discriminator", discriminator)
        generator = self.game.generator(self.discriminator(fake), y)
        update("generator", generator)
        return {"discriminator": discriminator, "generator": generator}

    @torch.no_grad()
    def pictures(self, data: Images) -> dict[str, Tensor]:
        """samples: a row per class."""
        y = torch.arange(self.classes, device=self.device).repeat_interleave(self.classes)
        return {"samples": self.eval().draw(y)}


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


@dataclass(frozen=True)
class ConditionalGANConfig(Config):
    """Conditional GAN: samples of a class that one asks for."""

    heads: Heads = "joint"
    """joint: one score for a pair; separate: one for the image and one for the match"""
    mismatched: bool = True
    """real images with a wrong label are bad pairs, too"""
    latent: Width = 64
    """dimensions of z"""
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
            self.latent,
            classes,
            PairGame(self.heads, self.mismatched),
            self.lr,
        )
