"""VQ-VAE; van den Oord et al. 2017, arXiv:1711.00937: discrete codes from a codebook, trained with straight-through
gradients (eq. 3, with the codebook loss replaced by the moving averages of appendix A.1).

A code that is hardly used is replaced by a vector of the batch (Dhariwal et al. 2020, arXiv:2005.00341, section 3).
Departures: the reconstruction term, per dimension, is a likelihood of 8-bit (or binary) pixels, so that together with
the prior of the codes it bounds -log p(x). The prior, a gated PixelCNN over the map of codes (section 3.2), is trained
at the same time as the auto-encoder, not after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, prod
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, one_hot

from genlab.core import distributed
from genlab.core.ranges import Count, Fraction, Layers, LearningRate, Positive, Range, Weight, Width, checked
from genlab.data import Images
from genlab.latent.codes import apply_batched, squared_error
from genlab.likelihood import sampling
from genlab.likelihood.decoders import BernoulliLikelihood, DecoderLikelihood, LogisticLikelihood
from genlab.likelihood.pixels import Categorical
from genlab.likelihood.units import bits_per_dim
from genlab.nets.causal import CausalNet
from genlab.nets.pixelcnn import GatedPixelCNN
from genlab.nets.spatial import decoder, encoder, map_shape
from genlab.training.method import BatchStream, Config, Method, Metrics, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update


@dataclass(frozen=True)
class VQVAEConfig(Config):
    """VQ-VAE: a small map of discrete codes for every image."""

    codes: Annotated[int, Range(2, 2**16)] = 128
    """vectors in the codebook, K"""
    dim: Width = 32
    """dimensions of a vector"""
    width: Width = 64
    """channels of the coarse level, twice those of the fine one"""
    pixels: Literal["logistic", "bernoulli"] = "logistic"
    """likelihood: of 8-bit pixels, or of black and white ones (`--data binary:mnist`)"""
    commitment: Weight = 0.25
    """weight of the commitment loss, the paper's beta"""
    prior_width: Width = 64
    """features per code in the prior, a gated PixelCNN"""
    prior_layers: Layers = 4
    """layers of the prior"""
    decay: Fraction = 0.99
    """decay, per step, of the moving averages that are the codebook"""
    dead: Fraction = 0.05
    """a code used less often than this share of its even part, 1/K, is replaced"""
    lr: LearningRate = 1e-3
    """learning rate of Adam"""

    training: ClassVar[TrainOptions] = TrainOptions(images=600_000, batch=64, schedule="cosine")

    def build(self, shape: tuple[int, int, int], classes: int) -> VQVAE:
        likelihood = LogisticLikelihood() if self.pixels == "logistic" else BernoulliLikelihood()
        outputs = (likelihood.channels * shape[0], *shape[1:])
        return VQVAE(
            encoder(shape, self.dim, self.width),
            decoder(outputs, self.dim, self.width),
            Codebook(self.codes, self.dim, self.decay, self.dead),
            GatedPixelCNN(self.codes, 1, self.prior_width, self.prior_layers, self.codes),
            shape,
            likelihood,
            self,
        )


class Codebook(nn.Module):
    """K vectors (K, D), each the moving average of the z that were assigned to it.

    decay: of the averages, per step.
    dead: a vector that gets less than this share of its even part, 1/K of all z, is replaced by a z of the batch.
    """

    vectors: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, size: int, dim: int, decay: float, dead: float):
        super().__init__()
        self.size, self.decay, self.dead = size, decay, dead
        self.register_buffer("vectors", torch.randn(size, dim))
        self.register_buffer("counts", torch.zeros(size))  # unused so far: the first batch replaces them
        self.register_buffer("sums", torch.zeros(size, dim))

    def nearest(self, z: Tensor) -> Tensor:
        """z (N, D, h, w) -> int64 (N, h, w)."""
        rows = z.detach().float().movedim(1, -1)
        with torch.autocast(z.device.type, enabled=False):
            return (self.vectors.square().sum(1) - 2 * rows @ self.vectors.T).argmin(-1)

    def forward(self, k: Tensor) -> Tensor:
        """int64 (N, h, w) -> vectors (N, D, h, w)."""
        return self.vectors[k].movedim(-1, 1)

    @torch.no_grad()
    def learn(self, z: Tensor, k: Tensor) -> None:
        """Moves each vector towards the mean of the z (N, D, h, w) that were assigned to it, k (N, h, w)."""
        rows, assigned = z.float().movedim(1, -1).flatten(0, -2), one_hot(k.flatten(), self.size).float()
        with torch.autocast(z.device.type, enabled=False):
            counts, sums = distributed.average([assigned.sum(0), assigned.T @ rows])
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        even = len(rows) / self.size
        young = 2 * self.dead * even  # a small count, so that it adapts quickly, or is soon replaced again
        dead = self.counts < self.dead * even
        fresh = rows[torch.randint(len(rows), (self.size,), device=rows.device)]
        self.counts.masked_fill_(dead, young)
        self.sums.copy_(torch.where(dead[:, None], fresh * young, self.sums))
        self.vectors.copy_(torch.where((self.counts > 0)[:, None], self.sums / self.counts[:, None], self.vectors))


def usage(k: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Codes of any shape -> perplexity of their distribution, from 1 to `size`, and the fraction of `size` in use."""
    p = torch.bincount(k.flatten(), minlength=size) / k.numel()
    return torch.special.entr(p).sum().exp(), (p > 0).float().mean()


class VQVAE(Method):
    """encoder: x (N, C, H, W) in [0, 1] -> z (N, D, h, w);  decoder: the nearest vectors of the codebook -> outputs
    from which `likelihood` computes p(x given codes).

    prior: maps of codes, as Categorical encodes them -> outputs from which it computes the probability of each code.
    """

    config: VQVAEConfig

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        codebook: Codebook,
        prior: CausalNet,
        shape: tuple[int, int, int],
        likelihood: DecoderLikelihood,
        config: VQVAEConfig = VQVAEConfig(),
    ):
        super().__init__(config)
        self.encoder, self.decoder, self.codebook, self.prior = encoder, decoder, codebook, prior
        self.shape, self.likelihood = shape, likelihood
        self.code_distribution = Categorical(codebook.size)

    def optimizers(self):
        lr = self.config.lr
        return {"vq": adam(self.encoder, self.decoder, lr=lr), "prior": adam(self.prior, lr=lr)}

    def codes(self, x: Tensor) -> Tensor:
        """x -> int64 (N, h, w), in 0 .. K - 1."""
        return self.codebook.nearest(self.encoder(x))

    def from_codes(self, k: Tensor) -> Tensor:
        """int64 (N, h, w) -> the expected images (N, C, H, W) in [0, 1]."""
        return self.likelihood.mean(self.outputs(k))

    def outputs(self, k: Tensor) -> Tensor:
        """int64 (N, h, w) -> the parameters of p(x given codes)."""
        if k.shape[1:] != (here := map_shape(self.shape)) or k.dtype != torch.int64:
            raise ValueError(f"codes are int64 (N, {here[0]}, {here[1]}), got {k.dtype} {tuple(k.shape)}")
        return self.decoder(self.codebook(k))

    def reconstruct(self, x: Tensor) -> Tensor:
        """x -> the expected image of its codes; same shape, in [0, 1]."""
        return self.from_codes(self.codes(x))

    def reconstruction(self, x: Tensor, k: Tensor) -> Tensor:
        """-log p(x given codes k) (distortion), in nats per image (N,)."""
        return -self.likelihood.log_prob(self.outputs(k), x)

    def rate(self, k: Tensor) -> Tensor:
        """-log p(codes k) under the prior, in nats per image (N,)."""
        outputs = self.prior(self.code_distribution.encode(k[:, None])).float()
        return -self.code_distribution.log_prob(outputs, k[:, None]).flatten(1).sum(1)

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x, codes of x), in nats (N,): a lower bound of log p(x), which is a sum over all codes."""
        k = self.codes(x)
        return -self.reconstruction(x, k) - self.rate(k)

    @checked
    def sample(self, n: Count, temperature: Positive = 1.0) -> Tensor:
        """n images (n, C, H, W) of codes drawn from the prior."""
        u = torch.rand(n, 1, *map_shape(self.shape), device=self.device)
        return self.from_codes(sampling.draw(self.prior, self.code_distribution, u, temperature=temperature).squeeze(1))

    def straight_through(self, z: Tensor, k: Tensor) -> Tensor:
        """The vectors of k, whose gradient is passed on to z unchanged."""
        return z + (self.codebook(k) - z).detach()

    def step(self, data: BatchStream, update: Update) -> Metrics:
        x, _ = next(data)
        z = self.encoder(x).float()
        k = self.codebook.nearest(z)
        reconstruction = -self.likelihood.log_prob(self.decoder(self.straight_through(z, k)), x).mean()
        commitment = mse_loss(z, self.codebook(k))
        update("vq", reconstruction / prod(self.shape) + self.config.commitment * commitment)
        self.codebook.learn(z.detach(), k)
        rate = self.rate(k).mean()
        update("prior", rate)
        perplexity, used = usage(k, self.codebook.size)
        found = {"reconstruction": reconstruction, "rate": rate, "commitment": commitment}
        return {**found, "perplexity": perplexity, "used": used}

    @torch.no_grad()
    def evaluate(self, data: Images) -> dict[str, float]:
        """error: mean squared error per pixel; reconstruction (distortion), rate of the codes under the prior and
        rate_uniform under a uniform one, in nats per image; perplexity and used: the codebook's use over `data`;
        bits_per_dim: of reconstruction and rate, unless a Bernoulli likelihood meets pixels that are not all black or
        white."""
        self.eval()
        k = apply_batched(self.codes, data)
        reconstruction = float(apply_batched(lambda x: self.reconstruction(x, self.codes(x)).double(), data).mean())
        rate = float(apply_batched(lambda x: self.rate(self.codes(x)).double(), data).mean())
        perplexity, used = map(float, usage(k, self.codebook.size))
        found = {"error": squared_error(self.reconstruct, data), "reconstruction": reconstruction, "rate": rate}
        found["rate_uniform"] = prod(map_shape(self.shape)) * log(self.codebook.size)
        found |= {"perplexity": perplexity, "used": used}
        grey = not apply_batched(lambda x: (x == 0) | (x == 1), data).all()
        if not (isinstance(self.likelihood, BernoulliLikelihood) and grey):
            found["bits_per_dim"] = bits_per_dim(reconstruction + rate, self.shape)
        return found
