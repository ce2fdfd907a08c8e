"""Variational auto-encoder; Kingma & Welling 2014, arXiv:1312.6114, eq. 10, with a weight beta on the KL term (Higgins
et al. 2017, ICLR, eq. 4).

Options: free bits of Kingma et al. 2016, arXiv:1606.04934, eq. 15, every dimension of z a group of its own; the
importance-weighted bound of Burda et al. 2016, arXiv:1509.00519, eq. 8, as objective and as measure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from genlab.core.picture import Pictures
from genlab.core.ranges import Count, Positive, Steps, Units, Weight, Width, checked
from genlab.data import Images, batches
from genlab.latent.walks import quantiles
from genlab.likelihood.decoders import BernoulliLikelihood, DecoderLikelihood, GaussianLikelihood
from genlab.likelihood.gaussian import kl_to_standard_normal, reparameterise
from genlab.likelihood.iwae import importance_bound, streamed_bound
from genlab.likelihood.units import bits_per_dim
from genlab.nets.dcgan import Decoder, Encoder
from genlab.nets.mlp import ImageMLP, PixelMLP
from genlab.training.method import BatchStream, Config, Method, Metrics, TrainOptions
from genlab.training.optim import OptimizerOptions
from genlab.training.update import Update

ROWS = 2048  # codes decoded at a time when a bound is measured


@dataclass(frozen=True)
class VAEConfig(OptimizerOptions, Config):
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
    """distribution of a pixel given z; gaussian: a bound on the likelihood of 8-bit images, in nats and bits/dim"""
    sigma: Positive | None = None
    """standard deviation of gaussian pixels, in [0, 1]; none: predicted by the decoder"""
    beta: Weight = 1.0
    """weight of the KL term (rate); 0: a deterministic auto-encoder"""
    free_bits: Weight = 0.0
    """lower limit of the KL term in the loss, in nats per dimension of z"""
    importance_samples: Steps = 1
    """samples of z per image in the training objective (k of IWAE); 1: the ELBO"""
    evaluation_samples: Steps = 64
    """samples of z per image in the importance-weighted bound that is measured"""

    training: ClassVar[TrainOptions] = TrainOptions(images=1_000_000, batch=64, schedule="cosine")

    def check_relations(self) -> None:
        if self.net == "mlp" and self.hidden:
            raise ValueError(f"hidden belongs to the convolutions, an mlp has only a width, got {self.hidden}")
        if self.pixels == "bernoulli" and self.sigma is not None:
            raise ValueError(f"Bernoulli pixels have no sigma, got {self.sigma}: choose gaussian pixels")
        if self.importance_samples > 1 and (self.beta != 1 or self.free_bits):
            raise ValueError(
                f"{self.importance_samples} importance samples need beta 1 and no free_bits, the bound has no KL term "
                f"to weight, got beta={self.beta} and free_bits={self.free_bits}"
            )

    def build(self, shape: tuple[int, int, int], classes: int) -> VAE:
        likelihood = BernoulliLikelihood() if self.pixels == "bernoulli" else GaussianLikelihood(self.sigma)
        outputs = (likelihood.channels * shape[0], *shape[1:])
        encoder: nn.Module
        decoder: nn.Module
        if self.net == "mlp":
            encoder = ImageMLP(shape, 2 * self.latent, self.width)
            decoder = PixelMLP(outputs, self.latent, self.width)
        else:
            encoder = Encoder(shape, 2 * self.latent, self.width, hidden=self.hidden)
            decoder = Decoder(outputs, self.latent, self.width, hidden=self.hidden)
        return VAE(encoder, decoder, likelihood, self)


class VAE(Method):
    """encoder: x (N, C, H, W) in [0, 1] -> mean and log-variance of q(z given x), (N, 2 latent);  decoder: z (N,
    latent) -> outputs from which `likelihood` computes p(x given z).

    The negative ELBO is the reconstruction term -log p(x given z) (distortion) plus the KL divergence of q(z given x)
    from N(0, I) (rate), both in nats per image. With beta = 0 nothing keeps the variance from going to 0: what remains
    is a deterministic auto-encoder.
    """

    config: VAEConfig

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: DecoderLikelihood,
        config: VAEConfig = VAEConfig(),
    ):
        super().__init__(config)
        self.encoder, self.decoder, self.likelihood, self.latent = encoder, decoder, likelihood, config.latent

    def optimizers(self):
        return {"vae": self.config.make_optimizer(self)}

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x -> mean and log-variance of q(z given x), each (N, latent)."""
        mean, log_variance = self.encoder(x).float().chunk(2, dim=1)
        return mean, log_variance

    def encode(self, x: Tensor) -> Tensor:
        """x -> the mean of q(z given x), (N, latent)."""
        return self.posterior(x)[0]

    def decode(self, z: Tensor) -> Tensor:
        """z (N, latent) -> the mean of p(x given z), (N, C, H, W) in [0, 1]."""
        return self.likelihood.mean(self.decoder(z))

    def latents(self, n: int) -> Tensor:
        """n draws of z from N(0, I), (n, latent)."""
        return torch.randn(n, self.latent, device=self.device)

    @checked
    def sample(self, n: Count) -> Tensor:
        """n images (n, C, H, W) in [0, 1]: the mean of p(x given z) for z from N(0, I)."""
        return self.decode(self.latents(n))

    def reconstruct(self, x: Tensor) -> Tensor:
        """x -> the decoder's mean at the mean of q(z given x); same shape, in [0, 1]."""
        return self.decode(self.encode(x))

    def reconstruction_and_kl(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The two terms of the negative ELBO, each (N,), from one sample of z; minus their sum is at most log p(x) on
        average."""
        mean, log_variance = self.posterior(x)
        return self.reconstruction(x, mean, log_variance), kl_to_standard_normal(mean, log_variance).sum(1)

    def reconstruction(self, x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        """-log p(x given z) of one sample of z, (N,)."""
        z = reparameterise(mean, log_variance)
        return -self.likelihood.log_prob(self.decoder(z), x)

    def log_weights(self, x: Tensor, mean: Tensor, log_variance: Tensor, k: int) -> Tensor:
        """log p(x, z) / q(z given x) of k samples of z, (k, N)."""
        noise = torch.randn(k, *mean.shape, device=mean.device)
        z = mean + (log_variance / 2).exp() * noise
        log_prior_over_posterior = -0.5 * (z.square() - noise.square() - log_variance).sum(2)
        log_prob = self.likelihood.log_prob(self.decoder(z.flatten(0, 1)), x.repeat(k, *[1] * (x.ndim - 1)))
        return log_prob.view(k, -1) + log_prior_over_posterior

    @torch.no_grad()
    def log_prob(self, x: Tensor, k: int) -> Tensor:
        """The importance-weighted lower bound of log p(x) from k samples of z, (N,); tighter for larger k."""
        mean, log_variance = self.posterior(x)
        weights = lambda n: self.log_weights(x, mean, log_variance, n)
        return streamed_bound(weights, k, max(1, ROWS // len(x)))

    def step(self, data: BatchStream, update: Update) -> Metrics:
        x, _ = next(data)
        beta, free_bits, k = self.config.beta, self.config.free_bits, self.config.importance_samples
        mean, log_variance = self.posterior(x)
        posterior_std = (log_variance / 2).exp().mean()
        if k > 1:
            loss = -importance_bound(self.log_weights(x, mean, log_variance, k)).mean()
            update("vae", loss)
            return {"negative_iwae": loss, "posterior_std": posterior_std}
        reconstruction = self.reconstruction(x, mean, log_variance).mean()
        kl = kl_to_standard_normal(mean, log_variance).mean(0)
        update("vae", reconstruction + beta * kl.clamp(min=free_bits).sum())
        return {"reconstruction": reconstruction, "kl": kl.sum(), "posterior_std": posterior_std}

    @torch.no_grad()
    def evaluate(self, data: Images) -> dict[str, float]:
        """Nats per image of `data`: reconstruction (distortion), kl (rate) and their sum, negative_elbo, with one
        sample of z per image; negative_iwae<k>, the importance-weighted bound of k = `evaluation_samples`; with
        Gaussian pixels its bits_per_dim."""
        self.eval()
        k = self.config.evaluation_samples
        totals = {"reconstruction": 0.0, "kl": 0.0, (iwae := f"negative_iwae{k}"): 0.0}
        for x, _ in batches(data, 250):
            for name, values in zip(totals, (*self.reconstruction_and_kl(x), -self.log_prob(x, k))):
                totals[name] += float(values.double().sum())
        found = {name: total / len(data) for name, total in totals.items()}
        found["negative_elbo"] = found["reconstruction"] + found["kl"]
        if isinstance(self.likelihood, GaussianLikelihood):
            found["bits_per_dim"] = bits_per_dim(found[iwae], data.shape)
        return found

    @torch.no_grad()
    def pictures(self, data: Images) -> Pictures:
        """samples, reconstructions, and of a two-dimensional z its plane, at quantiles of the prior."""
        plane = {"plane": self.decode(quantiles(20).to(self.device))} if self.latent == 2 else {}
        return {**super().pictures(data), **plane}
