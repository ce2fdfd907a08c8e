"""VAE-GAN; Larsen et al. 2016, arXiv:1512.09300, Algorithm 1: an auto-encoder whose errors are measured in the features
of a discriminator, which also judges reconstructions and samples.

Departures: Adam in place of RMSProp; squared errors are averaged over features; encoder and decoder share an optimizer,
and the game is kept from the encoder by decoding its code once more as a constant; the decoder's game is the
non-saturating one. With three classes D tells reconstructions from samples, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from genlab.core.ranges import LearningRate, Weight, Width
from genlab.data import Images, batches
from genlab.nets.dcgan import Encoder, Generator
from genlab.training.method import Config, Method, Metrics, Stream, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update


class VAEGAN(Method):
    """encoder: x (N, C, H, W) in [0, 1] -> mean and log-variance (N, 2 latent);  decoder: z -> x in [0, 1];
    discriminator: x -> (N, kinds) logits: real, reconstruction, sample, or real and not."""

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        discriminator: Encoder,
        latent: int,
        kinds: Literal[2, 3] = 2,
        fidelity: float = 10.0,
        beta: float = 0.01,
        lr: float = 2e-4,
    ):
        super().__init__()
        self.encoder, self.decoder, self.discriminator = encoder, decoder, discriminator
        self.latent, self.kinds, self.fidelity, self.beta, self.lr = latent, kinds, fidelity, beta, lr

    def optimizers(self):
        return {
            "autoencoder": adam(self.encoder, self.decoder, lr=self.lr, betas=(0.5, 0.999)),
            "discriminator": adam(self.discriminator, lr=self.lr, betas=(0.5, 0.999)),
        }

    def sample(self, n: int) -> Tensor:
        """n images (n, C, H, W) in [0, 1], decoded from the prior."""
        return self.decoder(torch.randn(n, self.latent, device=self.device))

    def encode(self, x: Tensor) -> Tensor:
        """x -> the mean of its code (N, latent)."""
        return self.encoder(x).chunk(2, 1)[0]

    def reconstruct(self, x: Tensor) -> Tensor:
        """x -> the picture at the mean of its code; same shape, in [0, 1]."""
        return self.decoder(self.encode(x))

    def realism(self, x: Tensor) -> Tensor:
        """x -> (N,), the logit of being real."""
        logits = self.discriminator(x).float()
        return logits[:, 0] - logits[:, 1:].logsumexp(1)

    def cost(self, x: Tensor, kind: int) -> Tensor:
        """Of calling x real (0), reconstructed (1) or sampled (2)."""
        logits = self.discriminator(x)
        return cross_entropy(logits, torch.full((len(x),), min(kind, self.kinds - 1), device=x.device))

    def step(self, data: Stream, update: Update) -> Metrics:
        real, _ = next(data)
        mean, log_var = self.encoder(real).float().chunk(2, 1)
        z = mean + (log_var / 2).exp() * torch.randn_like(mean)
        again, sample = self.decoder(z.detach()), self.sample(len(real))
        fakes = self.cost(again.detach(), 1) + self.cost(sample.detach(), 2)
        discriminator = self.cost(real, 0) + fakes / 2
        update("discriminator", discriminator)

        features = self.discriminator.features
        distortion = mse_loss(features(self.decoder(z)).float(), features(real).detach().float())
        rate = 0.5 * (log_var.exp() - 1 - log_var + mean.square()).sum(1).mean()
        game = (self.cost(again, 0) + self.cost(sample, 0)) / 2
        update("autoencoder", self.beta * rate + self.fidelity * distortion + game)
        return {"discriminator": discriminator, "distortion": distortion, "rate": rate, "game": game}

    @torch.no_grad()
    def evaluate(self, data: Images) -> dict[str, float]:
        """pixel_error: mean |x - reconstruction|."""
        self.eval()
        errors = [(self.reconstruct(x) - x).abs().flatten(1).mean(1) for x, _ in batches(data, 500)]
        return {"pixel_error": float(torch.cat(errors).mean())}


@dataclass(frozen=True)
class VAEGANConfig(Config):
    """Variational auto-encoder whose pictures a discriminator judges."""

    kinds: Literal[2, 3] = 2
    """classes of the discriminator: real or not; or real, reconstruction and sample"""
    latent: Width = 32
    """dimensions of z"""
    width: Width = 32
    """channels at the finest level; doubled at every coarser one"""
    fidelity: Weight = 10.0
    """weight of the squared error between the discriminator's features"""
    beta: Weight = 0.01
    """weight of the rate"""
    lr: LearningRate = 2e-4
    """learning rate of both Adams"""

    training: ClassVar[TrainOptions] = TrainOptions(images=1_000_000, batch=64)

    def build(self, shape: tuple[int, int, int], classes: int) -> VAEGAN:
        return VAEGAN(
            Encoder(shape, 2 * self.latent, self.width),
            Generator(shape, self.latent, self.width),
            Encoder(shape, self.kinds, self.width),
            self.latent,
            self.kinds,
            self.fidelity,
            self.beta,
            self.lr,
        )
