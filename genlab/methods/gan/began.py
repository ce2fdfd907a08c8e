"""Boundary equilibrium GAN; Berthelot, Schumm, Metz 2017, arXiv:1703.10717, section 3.3 and 3.4.1.

The discriminator is an auto-encoder with the loss L, the mean absolute error (eta = 1). It lowers L of real images, and
raises that of fakes with the weight k, which proportional control adjusts so that L(fake) = diversity * L(real).
Departures: DCGAN's convolutions, without normalisation, which would judge batches in place of images; a normal z; and
the same fakes teach both networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genlab.core.ranges import Positive, Share
from genlab.methods.gan.adversarial import NORMS
from genlab.methods.gan.ebgan import AutoEncoderGAN, AutoEncoderGANConfig
from genlab.nets.dcgan import Norm
from genlab.training.method import BatchStream, Metrics
from genlab.training.update import Update


@dataclass(frozen=True)
class BEGANConfig(AutoEncoderGANConfig):
    """Boundary equilibrium GAN: an auto-encoder as the discriminator, and a balance of the two networks."""

    diversity: Share = 0.5
    """gamma, the ratio of the reconstruction errors of fakes and of real images in equilibrium; less: fewer modes"""
    gain: Positive = 1e-3
    """lambda_k, how fast the weight of the fakes is adjusted"""

    def networks(
        self, shape: tuple[int, int, int], norm: Norm = NORMS["none"]
    ) -> tuple[nn.Module, nn.Module, nn.Module]:
        """With PyTorch's initial weights: those of DCGAN are so small that signals vanish without normalisation."""
        nets = super().networks(shape, norm)
        for part in nets:
            for layer in part.modules():
                if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                    layer.reset_parameters()
        return nets

    def build(self, shape: tuple[int, int, int], classes: int) -> BEGAN:
        return BEGAN(*self.networks(shape), self)


class BEGAN(AutoEncoderGAN):
    """Networks as in AutoEncoderGAN. k: the weight of the fakes in the discriminator's loss, in [0, 1]."""

    config: BEGANConfig
    k: Tensor

    def __init__(
        self, generator: nn.Module, encoder: nn.Module, decoder: nn.Module, config: BEGANConfig = BEGANConfig()
    ):
        super().__init__(generator, encoder, decoder, config)
        self.register_buffer("k", torch.tensor(0.0))

    def error(self, x: Tensor) -> Tensor:
        """L, the mean absolute error of the reconstruction of x (N, C, H, W)."""
        return (self.decoder(self.encoder(x)).float() - x.float()).abs().mean()

    def step(self, data: BatchStream, update: Update) -> Metrics:
        real, _ = next(data)
        fake = self.sample(len(real))
        error_real, error_fake = self.error(real), self.error(fake.detach())
        update("discriminator", error_real - self.k * error_fake)
        error = self.error(fake)
        update("generator", error)
        balance = self.config.diversity * error_real.detach() - error.detach()
        self.k = (self.k + self.config.gain * balance).clamp(0, 1)
        return {
            "error_real": error_real,
            "error_fake": error,
            "k": self.k,
            "convergence": error_real + balance.abs(),  # M of section 3.4.1
        }
