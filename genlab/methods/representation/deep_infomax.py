"""Deep InfoMax; Hjelm et al. 2019, arXiv:1808.06670, section 3: encoder and discriminators together maximise a lower
bound of the mutual information between image and code; nothing is decoded.

A discriminator tells images paired with their own codes from images paired with those of others. The bound is the
Jensen-Shannon one (eq. 4), for the whole image (global, figure 2) and for every position of its feature map (local,
eq. 6 and figure 3). Departures: mismatched pairs come from shifting the batch by one; no prior is matched (gamma = 0);
layer normalisation, which also works in an untrained encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import log, prod
from typing import ClassVar

import torch
from torch import Tensor, nn

from genlab.core.ranges import LearningRate, Units, Weight, Width
from genlab.methods.gan.losses import cross_entropy_of_discriminator
from genlab.methods.representation.encoder import EncoderMethod
from genlab.training.method import BatchStream, Config, Metrics, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update


def halvings(shape: tuple[int, int, int]) -> int:
    """How often H and W are halved: once, then again as long as at least 7 pixels a side remain."""
    _, h, w = shape
    count = 0
    while h % 2 == 0 and w % 2 == 0 and (not count or min(h, w) >= 14):
        h, w, count = h // 2, w // 2, count + 1
    if not count or min(h, w) < 2:
        raise ValueError(f"this encoder takes images of even sides of at least 4, got {shape}")
    return count


class InfoMaxEncoder(nn.Module):
    """x (N, *shape) in [0, 1] -> code (N, k), computed from local `features` (N, F, h, w); `width` channels at the
    finest level, doubled at every coarser one."""

    def __init__(self, shape: tuple[int, int, int], code: int, width: int, hidden: int):
        super().__init__()
        n = halvings(shape)
        channels = [shape[0], *(width * 2**i for i in range(n))]
        layers = [(nn.Conv2d(i, o, 4, 2, 1), nn.GroupNorm(1, o), nn.ReLU()) for i, o in pairwise(channels)]
        self.places = channels[-1], shape[1] // 2**n, shape[2] // 2**n
        self.body = nn.Sequential(*(part for level in layers for part in level))
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(prod(self.places), hidden),
            nn.LayerNorm(hidden),
            nn.ReLU(),
            nn.Linear(hidden, code),
        )

    def features(self, x: Tensor) -> Tensor:
        return self.body(2 * x - 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class MutualInformationCritic(nn.Module):
    """Features (N, F, h, w) and codes (N, k) -> logits that they belong together, (N,) or of every position (N, h, w):
    the dot product of the code with the embedded features (the paper's "encode and dot product", appendix A.2)."""

    def __init__(self, embed: nn.Module):
        super().__init__()
        self.embed = embed

    def forward(self, features: Tensor, code: Tensor) -> Tensor:
        return torch.einsum("nk...,nk->n...", self.embed(features), code)


def global_discriminator(places: tuple[int, int, int], code: int, hidden: int) -> MutualInformationCritic:
    """places: shape (K, h, w) of the features. Features (N, K, h, w) and codes (N, code) -> logits (N,)."""
    layers = nn.Linear(prod(places), hidden), nn.ReLU(), nn.Linear(hidden, code)
    return MutualInformationCritic(nn.Sequential(nn.Flatten(), *layers))


def local_discriminator(places: tuple[int, int, int], code: int, hidden: int) -> MutualInformationCritic:
    """The same, with a logit for each position: (N, h, w)."""
    return MutualInformationCritic(
        nn.Sequential(nn.Conv2d(places[0], hidden, 1), nn.ReLU(), nn.Conv2d(hidden, code, 1))
    )


def information(own: Tensor, other: Tensor) -> Tensor:
    """From the logits of matched and mismatched pairs, a lower bound of twice the Jensen-Shannon divergence between
    them, at most 2 log 2 nats. Negative if the discriminator is worse than one that always says 1/2."""
    return 2 * log(2) - cross_entropy_of_discriminator(own, other)


@dataclass(frozen=True)
class DeepInfoMaxConfig(Config):
    """Deep InfoMax: an encoder that maximises mutual information between image and code, without a decoder."""

    code: Width = 32
    """dimensions of the code"""
    width: Width = 32
    """channels at the finest level; doubled at every coarser one"""
    hidden: Units = 256
    """units of the fully connected layer, and of the discriminators' hidden layers"""
    weight_global: Weight = 1.0
    """weight of the mutual information with the whole image: 1 in the paper's DIM(G), 0 in DIM(L)"""
    weight_local: Weight = 0.0
    """weight of the mutual information with local features: 0 in DIM(G), 1 in DIM(L)"""
    lr: LearningRate = 1e-3
    """learning rate of Adam"""

    training: ClassVar[TrainOptions] = TrainOptions(images=300_000, batch=64)

    @property
    def weights(self) -> dict[str, float]:
        return {"global": self.weight_global, "local": self.weight_local}

    def check_relations(self) -> None:
        if not any(self.weights.values()):
            raise ValueError(f"weight_global and weight_local must not both be 0, got {self.weights}")

    def build(self, shape: tuple[int, int, int], classes: int) -> DeepInfoMax:
        encoder = InfoMaxEncoder(shape, self.code, self.width, self.hidden)
        kinds = {"global": global_discriminator, "local": local_discriminator}
        discriminators = {
            name: kinds[name](encoder.places, self.code, self.hidden) for name, weight in self.weights.items() if weight
        }
        return DeepInfoMax(encoder, discriminators, self)


class DeepInfoMax(EncoderMethod):
    """encoder: x (N, C, H, W) in [0, 1] -> code (N, k), from features (N, F, h, w);  discriminators: name -> (features,
    code) -> logits, for each name of `config.weights` whose weight is not 0."""

    config: DeepInfoMaxConfig
    encoder: InfoMaxEncoder

    def __init__(
        self,
        encoder: InfoMaxEncoder,
        discriminators: Mapping[str, nn.Module],
        config: DeepInfoMaxConfig = DeepInfoMaxConfig(),
    ):
        super().__init__(encoder, config)
        self.discriminators = nn.ModuleDict(discriminators)

    def optimizers(self):
        return {"infomax": adam(self.encoder, self.discriminators, lr=self.config.lr)}

    def step(self, data: BatchStream, update: Update) -> Metrics:
        x = self.images(data)
        features = self.encoder.features(x)
        code, others = self.encoder.head(features), features.roll(1, 0)
        found = {
            name: information(discriminator(features, code).float(), discriminator(others, code).float())
            for name, discriminator in self.discriminators.items()
        }
        loss = -torch.stack([self.config.weights[name] * bound for name, bound in found.items()]).sum()
        update("infomax", loss)
        return {"loss": loss, **found}
