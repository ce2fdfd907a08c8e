"""Deep InfoMax; Hjelm et al. 2019, arXiv:1808.06670, section 3: a code is good if a discriminator can tell images
paired with their own codes from images paired with others'. Encoder and discriminators learn together; nothing is
decoded.

The information is that of Jensen and Shannon (eq. 4), of the code with the whole image (global, figure 2) and with
every place of its feature map (local, eq. 6 and figure 3). Departures: other images are those of the batch, moved on by
one; no prior is matched (gamma = 0); layer normalisation, so that an untrained encoder is one as well.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import log, prod
from typing import ClassVar

import torch
from torch import Tensor, nn

from genlab.core.batch import at_least
from genlab.core.ranges import LearningRate, Units, Weight, Width
from genlab.data import Images
from genlab.latent.codes import over, probe, search
from genlab.methods.gan.losses import cross_entropy_of_discriminator
from genlab.metrics.checks import if_defined
from genlab.training.method import Config, Method, Metrics, Stream, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update


def coarse(shape: tuple[int, int, int]) -> int:
    """How often H and W are halved: once, and on while at least 7 places a side are left, as of 28x28."""
    _, h, w = shape
    count = 0
    while h % 2 == 0 and w % 2 == 0 and (not count or min(h, w) >= 14):
        h, w, count = h // 2, w // 2, count + 1
    if not count or min(h, w) < 2:
        raise ValueError(f"this encoder takes images of even sides of at least 4, got {shape}")
    return count


class Summary(nn.Module):
    """x (N, *shape) in [0, 1] -> code (N, k), by way of `features` (N, F, h, w) of small parts of x; `width` channels
    at the finest level, doubled at every coarser one."""

    def __init__(self, shape: tuple[int, int, int], code: int, width: int, hidden: int):
        super().__init__()
        n = coarse(shape)
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


class Judge(nn.Module):
    """Features (N, F, h, w) and codes (N, k) -> logits, of images (N,) or of their places (N, h, w), that the code is
    theirs: its scalar product with what `read` makes of them (the paper's "encode and dot product", appendix A.2)."""

    def __init__(self, read: nn.Module):
        super().__init__()
        self.read = read

    def forward(self, features: Tensor, code: Tensor) -> Tensor:
        return torch.einsum("nk...,nk->n...", self.read(features), code)


def global_judge(places: tuple[int, int, int], code: int, hidden: int) -> Judge:
    return Judge(nn.Sequential(nn.Flatten(), nn.Linear(prod(places), hidden), nn.ReLU(), nn.Linear(hidden, code)))


def local_judge(places: tuple[int, int, int], code: int, hidden: int) -> Judge:
    return Judge(nn.Sequential(nn.Conv2d(places[0], hidden, 1), nn.ReLU(), nn.Conv2d(hidden, code, 1)))


def information(own: Tensor, other: Tensor) -> Tensor:
    """A lower bound of twice the Jensen-Shannon divergence, in [0, 2 log 2] nats, of pairs from mismatched pairs; from
    their logits. Below 0 the discriminator is worse than one that always says 1/2."""
    return 2 * log(2) - cross_entropy_of_discriminator(own, other)


class DeepInfoMax(Method):
    """encoder: x (N, C, H, W) in [0, 1] -> code (N, k) by way of features;  judges: name -> (features, code) -> logits.

    weights: name -> weight of that judge's information.
    """

    batch_sizes = at_least(2)  # an image and another one

    def __init__(self, encoder: Summary, judges: Mapping[str, nn.Module], weights: dict[str, float], lr: float = 1e-3):
        super().__init__()
        self.encoder, self.judges, self.weights, self.lr = encoder, nn.ModuleDict(judges), weights, lr
        self.untrained = copy.deepcopy(encoder).requires_grad_(False)

    def optimizers(self):
        return {"infomax": adam(self.encoder, self.judges, lr=self.lr)}

    def code(self, x: Tensor) -> Tensor:
        """x -> (N, k)."""
        return self.encoder(x)

    def step(self, data: Stream, update: Update) -> Metrics:
        x, _ = next(data)
        if len(x) < 2:
            raise ValueError(f"a batch needs another image to mismatch, got {len(x)}")
        features = self.encoder.features(x)
        code, others = self.encoder.head(features), features.roll(1, 0)
        found = {
            name: information(judge(features, code).float(), judge(others, code).float())
            for name, judge in self.judges.items()
        }
        loss = -torch.stack([self.weights[name] * bound for name, bound in found.items()]).sum()
        update("infomax", loss)
        return {"loss": loss, **found}

    @torch.no_grad()
    def evaluate(self, data: Images) -> dict[str, float]:
        """Linear probes, learnt on the first half of `data` and tested on the second: probe, of the code; and
        probe_untrained, of the code as it was before training. search and search_untrained: the share of the ten
        nearest codes that have the same class."""
        self.eval()
        found: dict[str, float] = {}
        for name, encoder in {"": self.encoder, "_untrained": self.untrained}.items():
            codes = over(encoder, data).float()
            for figure, measure in (("probe", probe), ("search", search)):
                with if_defined(key := figure + name):
                    found[key] = measure(codes, data.labels)
        return found


@dataclass(frozen=True)
class DeepInfoMaxConfig(Config):
    """Deep InfoMax: an encoder whose codes tell their images from others, without a decoder."""

    code: Width = 32
    """dimensions of the code"""
    width: Width = 32
    """channels at the finest level; doubled at every coarser one"""
    hidden: Units = 256
    """units of the fully connected layer, and of the discriminators' hidden layers"""
    weight_global: Weight = 1.0
    """weight of the information about the whole image: 1 in the paper's DIM(G), 0 in DIM(L)"""
    weight_local: Weight = 0.0
    """weight of the information about its places: 0 in DIM(G), 1 in DIM(L); most places of a digit are just black"""
    lr: LearningRate = 1e-3
    """learning rate of Adam"""

    training: ClassVar[TrainOptions] = TrainOptions(images=300_000, batch=64)

    def build(self, shape: tuple[int, int, int], classes: int) -> DeepInfoMax:
        weights = {"global": self.weight_global, "local": self.weight_local}
        if not any(weights.values()):
            raise ValueError(f"weight_global and weight_local must not both be 0, got {weights}")
        encoder = Summary(shape, self.code, self.width, self.hidden)
        kinds = {"global": global_judge, "local": local_judge}
        judges = {name: kinds[name](encoder.places, self.code, self.hidden) for name in weights if weights[name]}
        return DeepInfoMax(encoder, judges, weights, self.lr)
