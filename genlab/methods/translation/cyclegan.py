"""CycleGAN; Zhu et al. 2017, arXiv:1703.10593, eq. 3, with the details of section 4. Notation of the paper: G: X -> Y
and F: Y -> X, judged by D_Y and D_X.

Departures: the rates fall linearly from the start, where the paper holds them for the first half. Images are compared
in the paper's range [-1, 1], in which an absolute error is twice that in [0, 1].

`cycle=0` leaves the direct transformation, which nothing ties to its input. `closeness` ties it by a frozen network
instead: f of the input and f of the output shall agree (f-constancy of Taigman et al. 2016, arXiv:1611.02200, here
with absolute errors).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from genlab.core.ranges import Count, Halvings, Layers, LearningRate, Weight, Width
from genlab.data import Pair
from genlab.methods.gan.image_pool import ImagePool
from genlab.methods.gan.losses import OBJECTIVES
from genlab.metrics.translation import likeness, side_by_side
from genlab.nets.patch import PatchDiscriminator, deepest
from genlab.nets.translator import Translator
from genlab.training.method import Config, Method, Metrics, Stream, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update

LSGAN = OBJECTIVES["lsgan"]


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute error of images in [-1, 1], from images in [0, 1]."""
    return 2 * l1_loss(a, b)


class Frozen(nn.Module):
    """What enters the last layer of a trained classifier, x (N, C, H, W) -> (N, d): in eval mode, never learning."""

    def __init__(self, net: nn.Sequential):
        super().__init__()
        self.body = net[:-1].requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Frozen:
        return super().train(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class CycleGAN(Method):
    """G, F: x (N, C, H, W) in [0, 1] -> the same shape and range;  D_X, D_Y: x -> scores of patches (N, 1, h, w).

    cycle, identity, closeness: weights of their terms; 0 leaves a term out.
    features: the frozen network of the closeness, x -> (N, d).
    pool: how many past translations of each direction the discriminators are shown again.
    """

    def __init__(
        self,
        G: nn.Module,
        F: nn.Module,
        D_X: nn.Module,
        D_Y: nn.Module,
        shape: tuple[int, int, int],
        cycle: float = 10.0,
        identity: float = 0.0,
        closeness: float = 0.0,
        features: Frozen | None = None,
        pool: int = 50,
        lr: float = 2e-4,
    ):
        super().__init__()
        self.G, self.F, self.D_X, self.D_Y = G, F, D_X, D_Y
        self.pool_x, self.pool_y = ImagePool(pool, shape), ImagePool(pool, shape)
        self.cycle, self.identity, self.closeness, self.features, self.lr = cycle, identity, closeness, features, lr

    def optimizers(self):
        return {
            "generators": adam(self.G, self.F, lr=self.lr, betas=(0.5, 0.999)),
            "discriminators": adam(self.D_X, self.D_Y, lr=self.lr, betas=(0.5, 0.999)),
        }

    def translate(self, x: Tensor, to: int = 1) -> Tensor:
        """Images (N, C, H, W) of one domain -> the same in the other: the second (1), or back in the first (0)."""
        if to not in (0, 1):
            raise ValueError(f"there are two domains to translate to, 0 and 1, got {to}")
        return self.G(x) if to else self.F(x)

    def step(self, data: Stream, update: Update) -> Metrics:
        x, y = next(data)
        fake_y, fake_x = self.G(x), self.F(y)
        adversarial = (self.D_Y(fake_y) - 1).square().mean() + (self.D_X(fake_x) - 1).square().mean()
        metrics, loss = {"adversarial": adversarial}, adversarial
        if self.cycle:
            metrics["cycle"] = distance(self.F(fake_y), x) + distance(self.G(fake_x), y)
            loss = loss + self.cycle * metrics["cycle"]
        if self.identity:
            metrics["identity"] = distance(self.G(y), y) + distance(self.F(x), x)
            loss = loss + self.identity * metrics["identity"]
        if self.features is not None:
            f = self.features
            metrics["closeness"] = l1_loss(f(fake_y), f(x)) + l1_loss(f(fake_x), f(y))
            loss = loss + self.closeness * metrics["closeness"]
        update("generators", loss)
        old_x, old_y = self.pool_x.swap(fake_x.detach()), self.pool_y.swap(fake_y.detach())
        judged_x, judged_y = (self.D_X(x), self.D_X(old_x)), (self.D_Y(y), self.D_Y(old_y))
        discriminators = LSGAN.discriminator(*judged_x) + LSGAN.discriminator(*judged_y)
        update("discriminators", discriminators)
        return {**metrics, "discriminators": discriminators}

    @torch.no_grad()
    def evaluate(self, data: Pair) -> dict[str, float]:
        """Of both directions: cycle error and, of aligned data, likeness to the true partner."""
        self.eval()
        there, back = (lambda x: self.translate(x, 1)), (lambda x: self.translate(x, 0))
        ways = {"to_second": likeness(there, back, data), "to_first": likeness(back, there, data.swapped())}
        return {f"{way} {name}": value for way, found in ways.items() for name, value in found.items()}

    @torch.no_grad()
    def pictures(self, data: Pair) -> dict[str, Tensor]:
        """Each original, its translation, that translated back and, of aligned data, the true partner."""
        self.eval()
        there, back = (lambda x: self.translate(x, 1)), (lambda x: self.translate(x, 0))
        return {"to_second": side_by_side(there, back, data), "to_first": side_by_side(back, there, data.swapped())}


@dataclass(frozen=True)
class CycleGANConfig(Config):
    """CycleGAN: translation between two sets of images without pairs."""

    cycle: Weight = 10.0
    """weight of the way there and back; 0: the direct transformation, without a tie to its input"""
    identity: Weight = 0.0
    """weight of leaving images alone that are in the domain already; the paper's: half of the cycle's"""
    closeness: Weight = 0.0
    """weight of keeping the features of a trained classifier"""
    classifier: Path | None = None
    """run directory of that classifier"""
    width: Width = 64
    """channels of all networks at the finest level"""
    blocks: Layers = 6
    """residual blocks of the generators"""
    levels: Halvings = 2
    """how often the generators halve their images"""
    layers: Halvings | None = None
    """how often the discriminators do: 3 for patches of 70x70, 2: 34x34, 1: 16x16; none: as fits the image"""
    pool: Count = 50
    """past translations kept for each discriminator"""
    lr: LearningRate = 2e-4
    """learning rate of both Adams"""

    training: ClassVar[TrainOptions] = TrainOptions(images=200_000, batch=1, schedule="linear")

    def build(self, shape: tuple[int, int, int], classes: int) -> CycleGAN:
        if classes:
            raise ValueError(f"CycleGAN learns from two sets, as in --data unpaired:A,B, got one of {classes} classes")
        if (self.closeness > 0) != (self.classifier is not None):
            raise ValueError(
                f"closeness needs a classifier and a classifier needs closeness > 0, got {self.closeness} and "
                f"{self.classifier}"
            )
        features = None
        if self.classifier:
            from genlab.experiment import load

            features = Frozen(cast(nn.Sequential, load(self.classifier).net))
        layers = deepest(shape) if self.layers is None else self.layers
        G, F = (Translator(shape, self.width, self.blocks, self.levels) for _ in range(2))
        D_X, D_Y = (PatchDiscriminator(shape, self.width, layers) for _ in range(2))
        return CycleGAN(
            G,
            F,
            D_X,
            D_Y,
            shape,
            self.cycle,
            self.identity,
            self.closeness,
            features,
            self.pool,
            self.lr,
        )
