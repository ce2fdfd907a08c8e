"""Variational auto-encoder; Kingma & Welling 2014, arXiv:1312.6114, eq. 10, with a weight beta on the KL term."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bernoulli

from genlab.data import Images, batches
from genlab.nets.dcgan import Decoder, Encoder
from genlab.optim import adam
from genlab.train import Config, Method, Metrics, Options, Stream, Update


class VAE(Method):
    """encoder: x (N, C, H, W) in [0, 1] -> mean and log-variance (N, 2 latent);  decoder: z -> logits of x's shape.

    Distortion (-log p(x given z), pixels as Bernoulli probabilities) and rate (the KL divergence): nats per image.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, latent: int, beta: float = 1.0, lr: float = 1e-3):
        super().__init__()
        self.encoder, self.decoder, self.latent, self.beta, self.lr = encoder, decoder, latent, beta, lr

    def optimizers(self):
        return {"vae": adam(self, lr=self.lr)}

    def sample(self, n: int) -> Tensor:
        """n images (n, C, H, W) in [0, 1]: the decoder's means."""
        return self.decoder(torch.randn(n, self.latent, device=self.device)).sigmoid()

    def reconstruct(self, x: Tensor) -> Tensor:
        """x -> the decoder's mean at the mean of the code; same shape, in [0, 1]."""
        return self.decoder(self.encoder(x).chunk(2, dim=1)[0]).sigmoid()

    def bound(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(distortion, rate), each (N,); minus their sum is a lower bound of log p(x)."""
        mean, log_var = self.encoder(x).float().chunk(2, dim=1)
        z = mean + (log_var / 2).exp() * torch.randn_like(mean)
        distortion = bernoulli(self.decoder(z).float(), x, reduction="none").flatten(1).sum(1)
        rate = 0.5 * (log_var.exp() - 1 - log_var + mean.square()).sum(1)
        return distortion, rate

    def step(self, data: Stream, update: Update) -> Metrics:
        x, _ = next(data)
        distortion, rate = (term.mean() for term in self.bound(x))
        update("vae", distortion + self.beta * rate)
        return {"distortion": distortion, "rate": rate}

    @torch.no_grad()
    def evaluate(self, data: Images) -> dict[str, float]:
        """bound: minus the evidence lower bound on `data` with one draw per image, in nats per image."""
        self.eval()
        bounds = [torch.stack(self.bound(x)).sum() for x, _ in batches(data, 500)]
        return {"bound": float(torch.stack(bounds).sum()) / len(data)}


@dataclass(frozen=True)
class VAEConfig(Config):
    """Variational auto-encoder with convolutional networks."""

    latent: int = 16
    """dimensions of z"""
    width: int = 32
    """channels at the finest level; doubled at every coarser one"""
    beta: float = 1.0
    """weight of the rate"""
    lr: float = 1e-3
    """learning rate of Adam"""

    training: ClassVar[Options] = Options(images=1_000_000, batch=64, schedule="cosine")

    def build(self, shape: tuple[int, int, int], classes: int) -> VAE:
        return VAE(
            Encoder(shape, 2 * self.latent, self.width),
            Decoder(shape, self.latent, self.width),
            self.latent,
            self.beta,
            self.lr,
        )
