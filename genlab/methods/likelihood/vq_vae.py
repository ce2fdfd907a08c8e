"""VQ-VAE; van den Oord et al. 2017, arXiv:1711.00937: codes from a finite codebook, learnt by straight-through
gradients (eq. 3, whose second term the moving averages of appendix A.1 replace).

A code that is hardly used starts anew from a vector of the batch (Dhariwal et al. 2020, arXiv:2005.00341, section 3).
Departures: the distortion, per dimension, is that of a real likelihood of 8-bit (or binary) pixels, so that with the
prior of the codes -log p(x) is a code length. The prior, a gated PixelCNN over the map of codes (section 3.2), learns
beside the auto-encoder, not after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, prod
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, one_hot, softplus

from genlab.core import distributed
from genlab.core.ranges import Fraction, Layers, LearningRate, Range, Weight, Width
from genlab.data import Images
from genlab.latent.codes import over, squared_error
from genlab.likelihood import sampling
from genlab.likelihood.decoders import Bernoulli, Observation
from genlab.likelihood.heads import Categorical
from genlab.likelihood.units import bits_per_dim, logistic_mass
from genlab.nets.causal import CausalNet
from genlab.nets.pixelcnn import GatedPixelCNN
from genlab.nets.spatial import decoder, encoder, map_shape
from genlab.training.method import Config, Method, Metrics, Stream, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update


@dataclass(frozen=True)
class Logistic:
    """Independent 8-bit pixels: the mass of a logistic distribution between the halves of neighbouring values (Salimans
    et al. 2017, arXiv:1701.05517, eq. 2, one component); black and white take the tails.

    Outputs are the means in pixels of [0, 1], from which grey was taken, and log scales beside them.
    """

    channels: ClassVar[int] = 2

    def mean(self, outputs: Tensor) -> Tensor:
        return (outputs.float().chunk(2, 1)[0] + 0.5).clamp(0, 1)

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        middle, log_scale = outputs.float().chunk(2, 1)
        rate = (7 - softplus(log_scale + 5)).exp()  # of scales of at least exp(-7)
        low, high = ((x - 0.5 - middle + side / 510) * rate for side in (-1, 1))
        low = torch.where(x < 0.5 / 255, -torch.inf, low)
        mass = logistic_mass(low, torch.where(x > 1 - 0.5 / 255, torch.inf, high))
        return mass.flatten(1).sum(1)


class Codebook(nn.Module):
    """K vectors (K, D), each the moving average of the z that chose it.

    decay: of the averages, per step.
    dead: a vector chosen less often than this share of an even part starts anew as a z of the batch.
    """

    vectors: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, size: int, dim: int, decay: float = 0.99, dead: float = 0.05):
        if size < 2 or dim < 1 or not 0 <= decay < 1 or not 0 <= dead < 1:
            got = f"{size=}, {dim=}, {decay=}, {dead=}"
            raise ValueError(f"a codebook has 2 vectors of 1 number or more, decay and dead in [0, 1), got {got}")
        super().__init__()
        self.size, self.decay, self.dead = size, decay, dead
        self.register_buffer("vectors", torch.randn(size, dim))
        self.register_buffer("counts", torch.zeros(size))  # nobody chose them yet: the first batch replaces them
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
        """Moves towards the means of the z (N, D, h, w) that chose each vector, k (N, h, w)."""
        rows, chosen = z.float().movedim(1, -1).flatten(0, -2), one_hot(k.flatten(), self.size).float()
        with torch.autocast(z.device.type, enabled=False):
            counts, sums = distributed.average([chosen.sum(0), chosen.T @ rows])
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        even = len(rows) / self.size
        young = 2 * self.dead * even  # light, so that it follows what it finds, or is soon replaced again
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
    that `observation` reads as a distribution of x.

    prior: maps of codes, as Categorical encodes them -> outputs that it reads as the probability of each code.
    commitment: weight of the squared distance, per number, of z from its vector.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        codebook: Codebook,
        prior: CausalNet,
        shape: tuple[int, int, int],
        observation: Observation,
        commitment: float = 0.25,
        lr: float = 1e-3,
    ):
        super().__init__()
        self.encoder, self.decoder, self.codebook, self.prior = encoder, decoder, codebook, prior
        self.names = Categorical(codebook.size)
        self.shape, self.observation, self.commitment, self.lr = shape, observation, commitment, lr

    def optimizers(self):
        return {"vq": adam(self.encoder, self.decoder, lr=self.lr), "prior": adam(self.prior, lr=self.lr)}

    def codes(self, x: Tensor) -> Tensor:
        """x -> int64 (N, h, w), in 0 .. K - 1."""
        return self.codebook.nearest(self.encoder(x))

    def from_codes(self, k: Tensor) -> Tensor:
        """int64 (N, h, w) -> the expected images (N, C, H, W) in [0, 1]."""
        return self.observation.mean(self.outputs(k))

    def outputs(self, k: Tensor) -> Tensor:
        """int64 (N, h, w) -> what `observation` reads."""
        if k.shape[1:] != (here := map_shape(self.shape)) or k.dtype != torch.int64:
            raise ValueError(f"codes are int64 (N, {here[0]}, {here[1]}), got {k.dtype} {tuple(k.shape)}")
        return self.decoder(self.codebook(k))

    def reconstruct(self, x: Tensor) -> Tensor:
        """x -> the expected image of its codes; same shape, in [0, 1]."""
        return self.from_codes(self.codes(x))

    def distortion(self, x: Tensor, k: Tensor) -> Tensor:
        """-log p(x given codes k), in nats per image (N,); what a prior spends on k comes on top."""
        return -self.observation.log_prob(self.outputs(k), x)

    def rate(self, k: Tensor) -> Tensor:
        """-log p(codes k) under the prior, in nats per image (N,)."""
        outputs = self.prior(self.names.encode(k[:, None])).float()
        return -self.names.log_prob(outputs, k[:, None]).flatten(1).sum(1)

    def log_prob(self, x: Tensor) -> Tensor:
        """Minus what it takes to tell x by its codes, in nats (N,): at most log p(x), which is a sum over all codes."""
        k = self.codes(x)
        return -self.distortion(x, k) - self.rate(k)

    def sample(self, n: int, temperature: float = 1.0) -> Tensor:
        """n images (n, C, H, W) of codes drawn from the prior."""
        u = torch.rand(n, 1, *map_shape(self.shape), device=self.device)
        return self.from_codes(sampling.draw(self.prior, self.names, u, temperature=temperature).squeeze(1))

    def quantised(self, z: Tensor, k: Tensor) -> Tensor:
        """The vectors of k, with the gradient that arrives there handed on to z as it is."""
        return z + (self.codebook(k) - z).detach()

    def step(self, data: Stream, update: Update) -> Metrics:
        x, _ = next(data)
        z = self.encoder(x).float()
        k = self.codebook.nearest(z)
        distortion = -self.observation.log_prob(self.decoder(self.quantised(z, k)), x).mean()
        commitment = mse_loss(z, self.codebook(k))
        update("vq", distortion / prod(self.shape) + self.commitment * commitment)
        self.codebook.learn(z.detach(), k)
        rate = self.rate(k).mean()
        update("prior", rate)
        perplexity, used = usage(k, self.codebook.size)
        found = {"distortion": distortion, "rate": rate, "commitment": commitment}
        return {**found, "perplexity": perplexity, "used": used}

    @torch.no_grad()
    def evaluate(self, data: Images) -> dict[str, float]:
        """error: mean squared error per pixel; distortion, and the rate of the codes under the prior and under a
        uniform one, in nats per image; perplexity and used: the codebook's use over `data`; bits_per_dim: of
        distortion and rate, if the pixels make them a code length (Bernoulli ones: all black or white)."""
        self.eval()
        k = over(self.codes, data)
        distortion = float(over(lambda x: self.distortion(x, self.codes(x)).double(), data).mean())
        rate = float(over(lambda x: self.rate(self.codes(x)).double(), data).mean())
        perplexity, used = map(float, usage(k, self.codebook.size))
        found = {"error": squared_error(self.reconstruct, data), "distortion": distortion, "rate": rate}
        found["rate_uniform"] = prod(map_shape(self.shape)) * log(self.codebook.size)
        found |= {"perplexity": perplexity, "used": used}
        if not isinstance(self.observation, Bernoulli) or bool(over(lambda x: (x == 0) | (x == 1), data).all()):
            found["bits_per_dim"] = bits_per_dim(distortion + rate, self.shape)
        return found


@dataclass(frozen=True)
class VQVAEConfig(Config):
    """VQ-VAE: a small map of discrete codes for every image."""

    codes: Annotated[int, Range(2, 2**16)] = 128
    """vectors in the codebook, K"""
    dim: Width = 32
    """numbers in each"""
    width: Width = 64
    """channels of the coarse level, twice those of the fine one"""
    pixels: Literal["logistic", "bernoulli"] = "logistic"
    """likelihood: of 8-bit pixels, or of black and white ones (`--data binary:mnist`)"""
    commitment: Weight = 0.25
    """weight of what keeps the encoder near its codes"""
    prior_width: Width = 64
    """features per code in the prior, a gated PixelCNN"""
    prior_layers: Layers = 4
    """layers of the prior"""
    decay: Fraction = 0.99
    """of the moving averages that are the codebook, per step"""
    dead: Fraction = 0.05
    """a code used less than this share of an even part starts anew"""
    lr: LearningRate = 1e-3
    """learning rate of Adam"""

    training: ClassVar[TrainOptions] = TrainOptions(images=600_000, batch=64, schedule="cosine")

    def build(self, shape: tuple[int, int, int], classes: int) -> VQVAE:
        observation: Observation = Logistic() if self.pixels == "logistic" else Bernoulli()
        outputs = (observation.channels * shape[0], *shape[1:])
        return VQVAE(
            encoder(shape, self.dim, self.width),
            decoder(outputs, self.dim, self.width),
            Codebook(self.codes, self.dim, self.decay, self.dead),
            GatedPixelCNN(self.codes, 1, self.prior_width, self.prior_layers, self.codes),
            shape,
            observation,
            self.commitment,
            self.lr,
        )
