"""Bidirectional GAN; Donahue et al. 2017, arXiv:1605.09782, eq. 4; with a Gaussian encoder it is adversarially learned
inference (ALI) of Dumoulin et al. 2017, arXiv:1606.00704, Algorithm 1.

D tells pairs (x, E(x)) of real images from pairs (G(z), z); E and G together make it fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from genlab.core.ranges import LearningRate, Units, Width
from genlab.data import Images, batches
from genlab.methods.gan.losses import OBJECTIVES
from genlab.metrics.checks import if_defined, points
from genlab.nets.dcgan import Encoder, Generator
from genlab.training.method import Config, Method, Metrics, Stream, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update


class PairDiscriminator(nn.Module):
    """x (N, C, H, W) in [0, 1] and z (N, latent) -> (N, 1), a logit.

    Two layers look at image and latent together. With batch normalisation there, as in the paper, the game collapsed in
    two starts of three on the 8x8 digits; with layer normalisation in none of eight.
    """

    def __init__(self, shape: tuple[int, int, int], latent: int, width: int, hidden: int = 512):
        super().__init__()
        self.body = nn.Sequential(Encoder(shape, hidden, width), nn.LeakyReLU(0.2))
        joint = lambda inputs: [nn.Linear(inputs, hidden), nn.LayerNorm(hidden), nn.LeakyReLU(0.2)]
        self.head = nn.Sequential(*joint(hidden + latent), *joint(hidden), nn.Linear(hidden, 1))

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return self.head(torch.cat([self.body(x), z], 1))


class BiGAN(Method):
    """generator: z (N, latent) -> x (N, C, H, W) in [0, 1];  encoder: x -> z, or mean and log-variance (N, 2 latent) if
    `gaussian`;  discriminator: (x, z) -> (N, 1), a logit."""

    def __init__(
        self,
        generator: nn.Module,
        encoder: nn.Module,
        discriminator: nn.Module,
        latent: int,
        gaussian: bool = False,
        lr: float = 2e-4,
        lr_pair: float = 1e-3,
    ):
        super().__init__()
        self.generator, self.encoder, self.discriminator = generator, encoder, discriminator
        self.latent, self.gaussian, self.lr, self.lr_pair = latent, gaussian, lr, lr_pair

    def optimizers(self):
        return {
            "pair": adam(self.generator, self.encoder, lr=self.lr_pair, betas=(0.5, 0.999)),
            "discriminator": adam(self.discriminator, lr=self.lr, betas=(0.5, 0.999)),
        }

    def sample(self, n: int) -> Tensor:
        """n images (n, C, H, W) in [0, 1]."""
        return self.generator(torch.randn(n, self.latent, device=self.device))

    def encode(self, x: Tensor, noise: bool = False) -> Tensor:
        """x -> z (N, latent): the encoder's mean, or with `noise` a draw of a Gaussian encoder."""
        if not self.gaussian:
            return self.encoder(x)
        mean, log_var = self.encoder(x).chunk(2, 1)
        return mean + (log_var / 2).exp() * torch.randn_like(mean) if noise else mean

    def reconstruct(self, x: Tensor) -> Tensor:
        """x -> G(E(x)); nothing but the game makes it resemble x."""
        return self.generator(self.encode(x))

    def step(self, data: Stream, update: Update) -> Metrics:
        real, _ = next(data)
        z = torch.randn(len(real), self.latent, device=self.device)
        code, fake = self.encode(real, noise=True), self.generator(z)
        game = OBJECTIVES["nonsaturating"]
        scores = self.discriminator(real, code.detach()), self.discriminator(fake.detach(), z)
        discriminator = game.discriminator(*scores)
        update("discriminator", discriminator)
        pair = game.generator(self.discriminator(fake, z)) + game.generator(-self.discriminator(real, code))
        update("pair", pair)
        return {"discriminator": discriminator, "pair": pair}

    @torch.no_grad()
    def evaluate(self, data: Images) -> dict[str, float]:
        """pixel_error: mean |x - G(E(x))|; neighbour_accuracy: how often the nearest code of the other half of `data`
        belongs to an image of the same class."""
        self.eval()
        codes = torch.cat([self.encode(x) for x, _ in batches(data, 500)]).float()
        error = torch.cat([(self.reconstruct(x) - x).abs().flatten(1).mean(1) for x, _ in batches(data, 500)]).mean()
        found = {"pixel_error": float(error)}
        with if_defined("neighbour_accuracy"):
            found["neighbour_accuracy"] = neighbours(codes, data.labels)
        return found


def neighbours(codes: Tensor, labels: Tensor) -> float:
    """How often the nearest code among the first half of the codes (N, k) has the label of a code of the second half.

    Raises:
        Undefined: there are fewer than two codes.
    """
    half, labels = len(points(codes)) // 2, labels.to(codes.device)
    nearest = torch.cdist(codes[half:], codes[:half]).argmin(1)
    return float((labels[nearest] == labels[half:]).float().mean())


@dataclass(frozen=True)
class BiGANConfig(Config):
    """Bidirectional GAN: a generator and, by the same game, the encoder that inverts it."""

    gaussian: bool = False
    """a Gaussian encoder (ALI) in place of a deterministic one"""
    latent: Width = 32
    """dimensions of z"""
    width: Width = 64
    """channels at the finest level; doubled at every coarser one"""
    hidden: Units = 512
    """units of a fully connected layer beside the coarsest level of generator and encoder; 0: no such layer"""
    lr: LearningRate = 2e-4
    """learning rate of the discriminator's Adam"""
    lr_pair: LearningRate = 1e-3
    """learning rate of the Adam of generator and encoder"""

    training: ClassVar[TrainOptions] = TrainOptions(images=1_000_000, batch=64)

    def build(self, shape: tuple[int, int, int], classes: int) -> BiGAN:
        return BiGAN(
            Generator(shape, self.latent, self.width, hidden=self.hidden),
            Encoder(shape, self.latent * (2 if self.gaussian else 1), self.width, hidden=self.hidden),
            PairDiscriminator(shape, self.latent, self.width),
            self.latent,
            self.gaussian,
            self.lr,
            self.lr_pair,
        )
