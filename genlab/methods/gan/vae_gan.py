"""VAE-GAN; Larsen et al. 2016, arXiv:1512.09300, Algorithm 1: a variational auto-encoder whose reconstruction error is
measured in the features of a discriminator, which tells real images from reconstructions and samples.

Departures: Adam in place of RMSProp; squared errors are averaged over features; encoder and decoder share an optimizer,
and the adversarial loss does not reach the encoder, since its code is decoded once more as a constant; the decoder's
adversarial loss is the non-saturating one. With three classes D tells reconstructions from samples, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from genlab.core.ranges import Count, LearningRate, Weight, Width, checked
from genlab.data import Images, batches
from genlab.likelihood.gaussian import kl_to_standard_normal, reparameterise
from genlab.methods.gan.gan import BETAS
from genlab.nets.dcgan import Encoder, Generator
from genlab.training.method import BatchStream, Config, Method, Metrics, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update

REAL, RECONSTRUCTION, SAMPLE = range(3)  # the kinds of images


@dataclass(frozen=True)
class VAEGANConfig(Config):
    """VAE-GAN: a variational auto-encoder with an adversarial loss, and errors in a discriminator's features."""

    kinds: Literal[2, 3] = 2
    """classes of the discriminator: real or not; or real, reconstruction and sample"""
    latent: Width = 32
    """dimensions of z"""
    width: Width = 32
    """channels at the finest level; doubled at every coarser one"""
    reconstruction: Weight = 10.0
    """weight of the reconstruction error (distortion): squared, between features of the discriminator"""
    beta: Weight = 0.01
    """weight of the KL term (rate)"""
    lr: LearningRate = 2e-4
    """learning rate of both Adams"""

    training: ClassVar[TrainOptions] = TrainOptions(images=1_000_000, batch=64)

    def build(self, shape: tuple[int, int, int], classes: int) -> VAEGAN:
        return VAEGAN(
            Encoder(shape, 2 * self.latent, self.width),
            Generator(shape, self.latent, self.width),
            Encoder(shape, self.kinds, self.width),
            self,
        )


class VAEGAN(Method):
    """encoder: x (N, C, H, W) in [0, 1] -> mean and log-variance (N, 2 latent);  decoder: z (N, latent) -> x in [0, 1];
    discriminator: x -> (N, kinds) logits: real, reconstruction, sample, or real and not."""

    config: VAEGANConfig

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        discriminator: Encoder,
        config: VAEGANConfig = VAEGANConfig(),
    ):
        super().__init__(config)
        self.encoder, self.decoder, self.discriminator, self.latent = encoder, decoder, discriminator, config.latent

    def optimizers(self):
        return {
            "autoencoder": adam(self.encoder, self.decoder, lr=self.config.lr, betas=BETAS),
            "discriminator": adam(self.discriminator, lr=self.config.lr, betas=BETAS),
        }

    @checked
    def sample(self, n: Count) -> Tensor:
        """n images (n, C, H, W) in [0, 1], decoded from the prior."""
        return self.decoder(torch.randn(n, self.latent, device=self.device))

    def encode(self, x: Tensor) -> Tensor:
        """x -> the mean of its code (N, latent)."""
        return self.encoder(x).chunk(2, 1)[0]

    def reconstruct(self, x: Tensor) -> Tensor:
        """x -> the decoded mean of its code; same shape, in [0, 1]."""
        return self.decoder(self.encode(x))

    def realism(self, x: Tensor) -> Tensor:
        """x -> (N,), the logit of being real."""
        logits = self.discriminator(x).float()
        return logits[:, 0] - logits[:, 1:].logsumexp(1)

    def loss_as(self, kind: int, x: Tensor) -> Tensor:
        """The discriminator's cross-entropy if x are of this kind: REAL, RECONSTRUCTION or SAMPLE."""
        logits = self.discriminator(x)
        return cross_entropy(logits, torch.full((len(x),), min(kind, self.config.kinds - 1), device=x.device))

    def step(self, data: BatchStream, update: Update) -> Metrics:
        real, _ = next(data)
        mean, log_variance = self.encoder(real).float().chunk(2, 1)
        z = reparameterise(mean, log_variance)
        again, sample = self.decoder(z.detach()), self.sample(len(real))
        fakes = self.loss_as(RECONSTRUCTION, again.detach()) + self.loss_as(SAMPLE, sample.detach())
        discriminator = self.loss_as(REAL, real) + fakes / 2
        update("discriminator", discriminator)

        features = self.discriminator.features
        reconstruction = mse_loss(features(self.decoder(z)).float(), features(real).detach().float())
        kl = kl_to_standard_normal(mean, log_variance).sum(1).mean()
        adversarial = (self.loss_as(REAL, again) + self.loss_as(REAL, sample)) / 2
        update("autoencoder", self.config.beta * kl + self.config.reconstruction * reconstruction + adversarial)
        return {"discriminator": discriminator, "reconstruction": reconstruction, "kl": kl, "adversarial": adversarial}

    @torch.no_grad()
    def evaluate(self, data: Images) -> dict[str, float]:
        """pixel_error: mean |x - reconstruction|."""
        self.eval()
        errors = [(self.reconstruct(x) - x).abs().flatten(1).mean(1) for x, _ in batches(data, 500)]
        return {"pixel_error": float(torch.cat(errors).mean())}
