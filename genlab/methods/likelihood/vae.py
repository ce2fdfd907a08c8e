"""Variational auto-encoder; Kingma & Welling 2014, arXiv:1312.6114, eq. 10, with a weight beta on the KL term.

Options: free bits of Kingma et al. 2016, arXiv:1606.04934, eq. 15, every dimension of z a group of its own; the
importance-weighted bound of Burda et al. 2016, arXiv:1509.00519, eq. 8, as objective and as measure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from genlab.core.ranges import LearningRate, Positive, Steps, Units, Weight, Width
from genlab.data import Images, batches
from genlab.latent.walks import quantiles
from genlab.likelihood.decoders import Bernoulli, Gaussian, Observation
from genlab.likelihood.iwae import importance_bound, streamed_bound
from genlab.likelihood.units import bits_per_dim
from genlab.nets.dcgan import Decoder, Encoder
from genlab.nets.mlp import ImageMLP, PixelMLP
from genlab.training.method import Config, Method, Metrics, Stream, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update

ROWS = 2048  # decoded at a time when a bound is measured


class VAE(Method):
    """encoder: x (N, C, H, W) in [0, 1] -> mean and log-variance (N, 2 latent);  decoder: z -> outputs that
    `observation` reads as a distribution of x.

    Distortion (-log p(x given z)) and rate (the KL divergence of q(z given x) from N(0, I)): nats per image. With beta
    = 0 there is no rate to pay: the variance goes to 0, and an ordinary auto-encoder remains.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        latent: int,
        beta: float = 1.0,
        lr: float = 1e-3,
        *,
        observation: Observation = Bernoulli(),
        free_bits: float = 0.0,
        importance: int = 1,
        draws: int = 64,
    ):
        super().__init__()
        if importance > 1 and (beta != 1 or free_bits):
            raise ValueError(f"{importance} importance weights leave the rate whole, got {beta=} and {free_bits=}")
        self.encoder, self.decoder, self.latent, self.beta, self.lr = encoder, decoder, latent, beta, lr
        self.observation, self.free_bits, self.importance, self.draws = observation, free_bits, importance, draws

    def optimizers(self):
        return {"vae": adam(self, lr=self.lr)}

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x -> mean and log-variance of q(z given x), each (N, latent)."""
        mean, log_var = self.encoder(x).float().chunk(2, dim=1)
        return mean, log_var

    def encode(self, x: Tensor) -> Tensor:
        """x -> the mean of its code (N, latent)."""
        return self.posterior(x)[0]

    def decode(self, z: Tensor) -> Tensor:
        """z (N, latent) -> the expected image (N, C, H, W) in [0, 1]."""
        return self.observation.mean(self.decoder(z))

    def sample(self, n: int) -> Tensor:
        """n images (n, C, H, W) in [0, 1]: the decoder's means."""
        return self.decode(torch.randn(n, self.latent, device=self.device))

    def reconstruct(self, x: Tensor) -> Tensor:
        """x -> the decoder's mean at the mean of the code; same shape, in [0, 1]."""
        return self.decode(self.encode(x))

    def bound(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(distortion, rate), each (N,); minus their sum is a lower bound of log p(x)."""
        mean, log_var = self.posterior(x)
        return self.distortion(x, mean, log_var), rates(mean, log_var).sum(1)

    def distortion(self, x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
        """-log p(x given z) of one draw (N,)."""
        z = mean + (log_var / 2).exp() * torch.randn_like(mean)
        return -self.observation.log_prob(self.decoder(z), x)

    def log_weights(self, x: Tensor, mean: Tensor, log_var: Tensor, k: int) -> Tensor:
        """log p(x, z) / q(z given x) of k draws, (k, N)."""
        noise = torch.randn(k, *mean.shape, device=mean.device)
        z = mean + (log_var / 2).exp() * noise
        likelihood = self.observation.log_prob(self.decoder(z.flatten(0, 1)), x.repeat(k, *[1] * (x.ndim - 1)))
        return likelihood.view(k, -1) - 0.5 * (z.square() - noise.square() - log_var).sum(2)

    @torch.no_grad()
    def log_prob(self, x: Tensor, draws: int) -> Tensor:
        """A lower bound of log p(x), (N,), from so many draws; the more the tighter."""
        mean, log_var = self.posterior(x)
        return streamed_bound(lambda k: self.log_weights(x, mean, log_var, k), draws, max(1, ROWS // len(x)))

    def step(self, data: Stream, update: Update) -> Metrics:
        x, _ = next(data)
        mean, log_var = self.posterior(x)
        about = {"deviation": (log_var / 2).exp().mean()}
        if self.importance > 1:
            bound = importance_bound(self.log_weights(x, mean, log_var, self.importance)).mean()
            update("vae", -bound)
            return {"bound": -bound, **about}
        distortion, rate = self.distortion(x, mean, log_var).mean(), rates(mean, log_var).mean(0)
        update("vae", distortion + self.beta * rate.clamp(min=self.free_bits).sum())
        return {"distortion": distortion, "rate": rate.sum(), **about}

    @torch.no_grad()
    def evaluate(self, data: Images) -> dict[str, float]:
        """Nats per image of `data`: distortion, rate and their sum, bound, with one draw per image; iwae<draws>, the
        importance-weighted bound of so many; with Gaussian pixels its bits_per_dim."""
        self.eval()
        sums = {"distortion": 0.0, "rate": 0.0, (best := f"iwae{self.draws}"): 0.0}
        for x, _ in batches(data, 250):
            for name, values in zip(sums, (*self.bound(x), -self.log_prob(x, self.draws))):
                sums[name] += float(values.double().sum())
        found = {name: total / len(data) for name, total in sums.items()}
        found["bound"] = found["distortion"] + found["rate"]
        if isinstance(self.observation, Gaussian):
            found["bits_per_dim"] = bits_per_dim(found[best], data.shape)
        return found

    @torch.no_grad()
    def pictures(self, data: Images) -> dict[str, Tensor]:
        """samples, reconstructions, and the plane of a two-dimensional z."""
        plane = {"plane": self.decode(quantiles(20).to(self.device))} if self.latent == 2 else {}
        return {**super().pictures(data), **plane}


def rates(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mean, exp log_var) || N(0, 1)) of every dimension, in nats; 0 only at mean 0 and log-variance 0."""
    return 0.5 * (log_var.exp() - 1 - log_var + mean.square())


@dataclass(frozen=True)
class VAEConfig(Config):
    """Variational auto-encoder: Bernoulli or Gaussian pixels, beta, free bits, importance-weighted bound."""

    net: Literal["conv", "mlp"] = "conv"
    """networks: strided convolutions, or two hidden layers"""
    latent: Width = 16
    """dimensions of z"""
    width: Width = 32
    """channels at the finest level, doubled at every coarser one; mlp: hidden units"""
    hidden: Units = 0
    """units of a fully connected layer between convolutions and z; 0: no such layer"""
    pixels: Literal["bernoulli", "gaussian"] = "bernoulli"
    """distribution of a pixel given z; gaussian: a bound of 8-bit images, in nats and bits/dim"""
    sigma: Positive | None = None
    """standard deviation of gaussian pixels, in [0, 1]; none: the decoder gives it"""
    beta: Weight = 1.0
    """weight of the rate; 0: an ordinary auto-encoder"""
    free_bits: Weight = 0.0
    """nats of rate per dimension of z that cost nothing"""
    importance: Steps = 1
    """draws of z per image in the bound that is trained"""
    draws: Steps = 64
    """draws of z per image in the bound that is measured"""
    lr: LearningRate = 1e-3
    """learning rate of Adam"""

    training: ClassVar[TrainOptions] = TrainOptions(images=1_000_000, batch=64, schedule="cosine")

    def build(self, shape: tuple[int, int, int], classes: int) -> VAE:
        if self.net == "mlp" and self.hidden:
            raise ValueError(f"hidden belongs to the convolutions, an mlp has only a width, got {self.hidden}")
        if self.pixels == "bernoulli" and self.sigma is not None:
            raise ValueError(f"Bernoulli pixels have no sigma, got {self.sigma}: choose gaussian pixels")
        observation = Bernoulli() if self.pixels == "bernoulli" else Gaussian(self.sigma)
        outputs = (observation.channels * shape[0], *shape[1:])
        inputs = (shape, 2 * self.latent, self.width), (outputs, self.latent, self.width)
        encoder: nn.Module = ImageMLP(*inputs[0]) if self.net == "mlp" else Encoder(*inputs[0], hidden=self.hidden)
        decoder: nn.Module = PixelMLP(*inputs[1]) if self.net == "mlp" else Decoder(*inputs[1], hidden=self.hidden)
        return VAE(
            encoder,
            decoder,
            self.latent,
            self.beta,
            self.lr,
            observation=observation,
            free_bits=self.free_bits,
            importance=self.importance,
            draws=self.draws,
        )
