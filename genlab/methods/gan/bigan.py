"""Bidirectional GAN; Donahue et al. 2017, arXiv:1605.09782, eq. 4; with a Gaussian encoder it is adversarially learned
inference (ALI) of Dumoulin et al. 2017, arXiv:1606.00704, Algorithm 1.

D tells pairs (x, E(x)) of real images from pairs (G(z), z); E and G are trained together to fool it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from genlab.core.ranges import LearningRate, Units, Width
from genlab.data import Images, batches
from genlab.likelihood.gaussian import reparameterise
from genlab.methods.gan.adversarial import Adversarial, GeneratorConfig
from genlab.methods.gan.gan import BETAS
from genlab.methods.gan.losses import OBJECTIVES
from genlab.metrics.checks import if_defined, points
from genlab.nets.dcgan import Encoder, Generator
from genlab.training.method import BatchStream, Metrics, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update

ADVERSARIAL = OBJECTIVES["nonsaturating"]


@dataclass(frozen=True)
class BiGANConfig(GeneratorConfig):
    """Bidirectional GAN: a generator and an encoder that learns to invert it, by one adversarial loss."""

    latent: Width = 32
    """dimensions of z"""
    gaussian: bool = False
    """a Gaussian encoder (ALI) in place of a deterministic one"""
    width: Width = 64
    """channels at the finest level; doubled at every coarser one"""
    hidden: Units = 512
    """units of a fully connected layer beside the coarsest level of generator and encoder; 0: no such layer"""
    lr: LearningRate = 2e-4
    """learning rate of the discriminator's Adam"""
    lr_generator: LearningRate = 1e-3
    """learning rate of the Adam of generator and encoder"""

    training: ClassVar[TrainOptions] = TrainOptions(images=1_000_000, batch=64)

    def build(self, shape: tuple[int, int, int], classes: int) -> BiGAN:
        return BiGAN(
            Generator(shape, self.latent, self.width, hidden=self.hidden),
            Encoder(shape, self.latent * (2 if self.gaussian else 1), self.width, hidden=self.hidden),
            PairDiscriminator(shape, self.latent, self.width),
            self,
        )


class PairDiscriminator(nn.Module):
    """x (N, C, H, W) in [0, 1] and z (N, latent) -> (N, 1), a logit.

    Two layers see image and latent together. With batch normalisation in them, as in the paper, training collapsed for
    two seeds of three on the 8x8 digits; with layer normalisation for none of eight.
    """

    def __init__(self, shape: tuple[int, int, int], latent: int, width: int, hidden: int = 512):
        super().__init__()
        self.body = nn.Sequential(Encoder(shape, hidden, width), nn.LeakyReLU(0.2))
        joint = lambda inputs: [nn.Linear(inputs, hidden), nn.LayerNorm(hidden), nn.LeakyReLU(0.2)]
        self.head = nn.Sequential(*joint(hidden + latent), *joint(hidden), nn.Linear(hidden, 1))

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return self.head(torch.cat([self.body(x), z], 1))


class BiGAN(Adversarial):
    """generator: z (N, latent) -> x (N, C, H, W) in [0, 1];  encoder: x -> z, or mean and log-variance (N, 2 latent) if
    `gaussian`;  discriminator: (x, z) -> (N, 1), a logit."""

    config: BiGANConfig

    def __init__(
        self,
        generator: nn.Module,
        encoder: nn.Module,
        discriminator: nn.Module,
        config: BiGANConfig = BiGANConfig(),
    ):
        super().__init__(generator, config)
        self.encoder, self.discriminator = encoder, discriminator

    def optimizers(self):
        return {
            "generator": adam(self.generator, self.encoder, lr=self.config.lr_generator, betas=BETAS),
            "discriminator": adam(self.discriminator, lr=self.config.lr, betas=BETAS),
        }

    def encode(self, x: Tensor, noise: bool = False) -> Tensor:
        """x -> z (N, latent): the encoder's mean, or with `noise` a sample of a Gaussian encoder."""
        if not self.config.gaussian:
            return self.encoder(x)
        mean, log_variance = self.encoder(x).chunk(2, 1)
        return reparameterise(mean, log_variance) if noise else mean

    def reconstruct(self, x: Tensor) -> Tensor:
        """x -> G(E(x)), which resembles x by the adversarial loss alone: no loss compares their pixels."""
        return self.generator(self.encode(x))

    def step(self, data: BatchStream, update: Update) -> Metrics:
        real, _ = next(data)
        z = torch.randn(len(real), self.latent, device=self.device)
        code, fake = self.encode(real, noise=True), self.generator(z)
        score_real, score_fake = self.discriminator(real, code.detach()), self.discriminator(fake.detach(), z)
        discriminator = ADVERSARIAL.discriminator(score_real, score_fake)
        update("discriminator", discriminator)
        score_fake, score_real = self.discriminator(fake, z), self.discriminator(real, code)
        generator = ADVERSARIAL.generator(score_fake) + ADVERSARIAL.generator(-score_real)
        update("generator", generator)
        return {"discriminator": discriminator, "generator": generator}

    @torch.no_grad()
    def evaluate(self, data: Images) -> dict[str, float]:
        """pixel_error: mean |x - G(E(x))|; neighbour_accuracy: of the nearest neighbour in code space: the first half
        of `data` labels the second."""
        self.eval()
        codes = torch.cat([self.encode(x) for x, _ in batches(data, 500)]).float()
        error = torch.cat([(self.reconstruct(x) - x).abs().flatten(1).mean(1) for x, _ in batches(data, 500)]).mean()
        found = {"pixel_error": float(error)}
        with if_defined("neighbour_accuracy"):
            found["neighbour_accuracy"] = neighbour_accuracy(codes, data.labels)
        return found


def neighbour_accuracy(codes: Tensor, labels: Tensor) -> float:
    """The share of codes of the second half of (N, k) whose nearest code of the first half has the same label.

    Raises:
        Undefined: there are fewer than two codes.
    """
    half, labels = len(points(codes)) // 2, labels.to(codes.device)
    nearest = torch.cdist(codes[half:], codes[:half]).argmin(1)
    return float((labels[nearest] == labels[half:]).float().mean())
