"""Adversarial patches: a printable pattern that makes a classifier predict `target` wherever it is placed.

Brown et al. 2017, arXiv:1712.09665: the patch that maximises the expected log probability of the target over images and
random transformations. Sharif et al. 2016 (doi 10.1145/2976749.2978392): eyeglass frames, total variation (equation 3)
and non-printability score (equation 4). Transformations: rotation, scale, position, brightness (`attacks.views`).

Departures. (1) The patch is 0.5 + 0.5 tanh(w), so it stays in [0, 1]. (2) Both penalties are means over the pixels of
the patch, so that their weights do not depend on its size, and the total variation is of squared differences, without a
root. (3) The non-printability score is the distance to the nearest printable colour, not the product of the distances
to all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from torch import Tensor, nn

from attacks.core import random as noise
from attacks.core.goal import cross_entropy, is_adversarial
from attacks.core.model import Attack, Model, TrainedAttack, Victim, finite, victim
from attacks.views import PARAMETERS, Views
from genlab.core.ranges import Count, LearningRate, Range, Seed, Weight
from genlab.data import Images, Stream
from genlab.training.loop import fit
from genlab.training.method import Method, Metrics, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update

if TYPE_CHECKING:
    from genlab.training.method import BatchStream

Shape = Literal["square", "disc", "glasses"]


def mask(shape: Shape, side: int) -> Tensor:
    """(1, side, side): 1 where the patch covers the image, 0 elsewhere."""
    c = (torch.arange(side) + 0.5) / side * 2 - 1  # pixel centres in [-1, 1]
    row, column = torch.meshgrid(c, c, indexing="ij")
    if shape == "square":
        cover = torch.ones(side, side, dtype=torch.bool)
    elif shape == "disc":
        cover = row**2 + column**2 <= 1
    else:  # two lenses, a bridge and the ends of the temples, a little above the middle
        row = row + 0.2
        lens = ((column.abs() - 0.48) / 0.40) ** 2 + (row / 0.30) ** 2 <= 1
        bar = row.abs() <= max(0.08, 1 / side)
        cover = lens | (bar & ((column.abs() <= 0.1) | (column.abs() >= 0.85)))
    return cover[None].float()


def palette(channels: int) -> Tensor:
    """(P, channels): printable colours: five greys, or three levels per channel."""
    if channels == 1:
        return torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])[:, None]
    return torch.cartesian_prod(*[torch.tensor([0.15, 0.5, 0.85])] * channels).view(-1, channels)


def total_variation(patch: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference between neighbouring pixels of the patch (C, h, w) inside its mask (1, h, w)."""
    down = (patch[:, 1:] - patch[:, :-1]).square() * mask[:, 1:] * mask[:, :-1]
    right = (patch[:, :, 1:] - patch[:, :, :-1]).square() * mask[:, :, 1:] * mask[:, :, :-1]
    return (down.sum() + right.sum()) / mask.sum()


def non_printability(patch: Tensor, mask: Tensor, colours: Tensor) -> Tensor:
    """Mean over the pixels of the patch (C, h, w) of the distance to the nearest of `colours` (P, C)."""
    inside = patch[:, mask[0] > 0].T
    return (inside[:, None] - colours).square().sum(2).amin(1).clamp_min(1e-12).sqrt().mean()


class PatchTraining(Method):
    """Trains the patch, 0.5 + 0.5 tanh(w), (C, side, side) in [0, 1]."""

    def __init__(self, attack: Patch, f: Victim, channels: int, side: int) -> None:
        super().__init__()
        self.attack, self.f = attack, f
        self.w = nn.Parameter(torch.zeros(channels, side, side))
        self.register_buffer("mask", mask(attack.shape, side))
        self.register_buffer("colours", palette(channels))
        self.mask: Tensor
        self.colours: Tensor

    @property
    def patch(self) -> Tensor:
        return 0.5 + 0.5 * self.w.tanh()

    def optimizers(self):
        return {"patch": adam(self, lr=self.attack.lr)}

    def step(self, data: BatchStream, update: Update) -> Metrics:
        x, y = next(data)
        x = x[y != self.attack.target]  # images of the target class give no information
        patch, target = self.patch, torch.full((len(x),), self.attack.target, device=x.device)
        u = torch.rand(len(x), PARAMETERS, device=x.device)
        seen = self.attack.views.paste(x, patch, self.mask, u)
        seen.register_hook(finite)
        logits = self.f(seen)
        loss = cross_entropy(logits, target).nan_to_num(0.0).sum() / max(1, len(x))  # NaN logits give no gradient
        smooth = total_variation(patch, self.mask)
        print_ = non_printability(patch, self.mask, self.colours)
        update("patch", loss + self.attack.tv_weight * smooth + self.attack.nps_weight * print_)
        is_adv = is_adversarial(logits, target, targeted=True).sum() / max(1, len(x))
        return {"loss": loss, "success": is_adv, "variation": smooth, "non-printability": print_}


@dataclass(frozen=True)
class Patch(TrainedAttack):
    """`prepare` trains the patch on the attacker's images and returns a `TrainedPatch`.

    target: the target class. size: side of the patch relative to the shorter side of the image. tv_weight, nps_weight:
    weights of the total variation and of the non-printability score. images: length of training, in images. batch:
    training batch size. lr: learning rate of Adam, with a cosine schedule. `prepare` raises ValueError if the model has
    no class `target`.
    """

    target: Annotated[int, Range(0, 10**6)] = 0
    size: Annotated[float, Range(0, 1, above=True)] = 0.5
    shape: Shape = "square"
    views: Views = Views()
    tv_weight: Weight = 0.1
    nps_weight: Weight = 0.1
    images: Count = 100_000
    batch: Count = 64
    lr: LearningRate = 0.1
    seed: Seed = 0

    def prepare(self, model: Model, data: Images) -> TrainedPatch:
        channels, height, width = data.shape
        side = max(2, round(self.size * min(height, width)))
        options = TrainOptions(self.images, self.batch, self.seed, schedule="cosine")
        one = data.subset(slice(0, 1)).x
        with victim(model, one, torch.full_like(data.labels[:1], self.target)) as f:
            f(one.requires_grad_())  # raises for a target that is no class of the model, and if there is no gradient
            made = PatchTraining(self, f, channels, side).to(data.device)
            fit(made, Stream(data, self.batch, seed=self.seed), options, title="patch")
        return TrainedPatch(self.views, made.patch.detach(), made.mask, self.seed)


@dataclass(frozen=True)
class TrainedPatch(Attack):
    """Pastes a trained patch into each image under a random transformation; no queries, no gradients, no ball.

    patch (C, side, side) in [0, 1]; mask (1, side, side). draw: index of the random transformation of each image.
    """

    views: Views
    patch: Tensor = field(repr=False, compare=False)
    mask: Tensor = field(repr=False, compare=False)
    seed: Seed = 0
    draw: Annotated[int, Range(0, 10**12)] = 0

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        u = noise.uniform(noise.key(x, self.seed), (PARAMETERS,), self.draw)
        return self.views.paste(x, self.patch.to(x), self.mask.to(x), u)
