"""CycleGAN; Zhu et al. 2017, arXiv:1703.10593, eq. 3, with the details of section 4. Notation of the paper: G: X -> Y
and F: Y -> X, judged by D_Y and D_X.

Departures: the rates fall linearly from the start, where the paper holds them for the first half. Images are compared
in the paper's range [-1, 1], in which an absolute error is twice that in [0, 1].

`cycle=0` leaves the adversarial losses, which do not relate an output to its input. `perceptual` relates them by a
frozen network f instead: f(x) and f(G(x)) are to agree (f-constancy of Taigman et al. 2016, arXiv:1611.02200, here with
absolute errors).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from genlab.core.picture import Pictures
from genlab.core.ranges import Count, Halvings, Layers, LearningRate, Weight, Width
from genlab.data import Pair
from genlab.methods.gan.gan import BETAS
from genlab.methods.gan.image_pool import ImagePool
from genlab.methods.gan.losses import OBJECTIVES
from genlab.metrics.translation import cycle_errors, side_by_side
from genlab.nets.patch import PatchDiscriminator, deepest
from genlab.nets.translator import Translator
from genlab.training.method import BatchStream, Config, Method, Metrics, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update

LSGAN = OBJECTIVES["lsgan"]


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute error of images in [-1, 1], from images in [0, 1]."""
    return 2 * l1_loss(a, b)


class Frozen(nn.Module):
    """The penultimate features of a trained classifier, x (N, C, H, W) -> (N, d); frozen, in eval mode."""

    def __init__(self, net: nn.Sequential):
        super().__init__()
        self.body = net[:-1].requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Frozen:
        return super().train(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


@dataclass(frozen=True)
class CycleGANConfig(Config):
    """CycleGAN: translation between two sets of images without pairs."""

    cycle: Weight = 10.0
    """weight of cycle consistency; 0: adversarial losses alone, which do not relate an output to its input"""
    identity: Weight = 0.0
    """weight of the identity loss, for images already in the target domain; the paper's: half of the cycle's"""
    perceptual: Weight = 0.0
    """weight of the perceptual loss: the distance of a trained classifier's features"""
    classifier: Path | None = None
    """run directory of that classifier"""
    width: Width = 64
    """channels of all networks at the finest level"""
    blocks: Layers = 6
    """residual blocks of the generators"""
    levels: Halvings = 2
    """downsamplings by 2 in the generators"""
    layers: Halvings | None = None
    """downsamplings by 2 in the discriminators: 3 for patches of 70x70, 2: 34x34, 1: 16x16; none: as fits the image"""
    pool: Count = 50
    """past translations kept for each discriminator"""
    lr: LearningRate = 2e-4
    """learning rate of both Adams"""

    training: ClassVar[TrainOptions] = TrainOptions(images=200_000, batch=1, schedule="linear")
    takes: ClassVar[tuple[str, ...]] = ("two sets",)

    def frozen(self, shape: tuple[int, int, int]) -> Frozen | None:
        """The features of the perceptual loss, for images of `shape`."""
        if (self.perceptual > 0) != (self.classifier is not None):
            raise ValueError(
                "--perceptual above 0 and --classifier, the run directory of a classifier, need each other, got "
                f"{self.perceptual} and {self.classifier}"
            )
        if self.classifier is None:
            return None
        from genlab.loading import load_classifier

        net = getattr(load_classifier("classifier", self.classifier, shape), "net", None)
        if not isinstance(net, nn.Sequential):
            raise ValueError(f"--classifier {self.classifier} holds a classifier of no single network with features")
        return Frozen(net)

    def build(self, shape: tuple[int, int, int], classes: int) -> CycleGAN:
        features, layers = self.frozen(shape), deepest(shape) if self.layers is None else self.layers
        G, F = (Translator(shape, self.width, self.blocks, self.levels) for _ in range(2))
        D_X, D_Y = (PatchDiscriminator(shape, self.width, layers) for _ in range(2))
        return CycleGAN(G, F, D_X, D_Y, shape, self, features)


class CycleGAN(Method):
    """G, F: x (N, C, H, W) in [0, 1] -> the same shape and range;  D_X, D_Y: x -> scores of patches (N, 1, h, w).

    shape: (C, H, W) of the images, for the pools of past translations.
    features: the frozen network of the perceptual loss, x -> (N, d).
    """

    config: CycleGANConfig

    def __init__(
        self,
        G: nn.Module,
        F: nn.Module,
        D_X: nn.Module,
        D_Y: nn.Module,
        shape: tuple[int, int, int],
        config: CycleGANConfig = CycleGANConfig(),
        features: Frozen | None = None,
    ):
        super().__init__(config)
        self.G, self.F, self.D_X, self.D_Y, self.features = G, F, D_X, D_Y, features
        self.pool_x, self.pool_y = ImagePool(config.pool, shape), ImagePool(config.pool, shape)

    def optimizers(self):
        lr = self.config.lr
        return {
            "generators": adam(self.G, self.F, lr=lr, betas=BETAS),
            "discriminators": adam(self.D_X, self.D_Y, lr=lr, betas=BETAS),
        }

    def translate(self, x: Tensor, to: int = 1) -> Tensor:
        """Images (N, C, H, W) of one domain -> the same in the other: the second (1), or back in the first (0)."""
        if to not in (0, 1):
            raise ValueError(f"there are two domains to translate to, 0 and 1, got {to}")
        return self.G(x) if to else self.F(x)

    def step(self, data: BatchStream, update: Update) -> Metrics:
        x, y = next(data)
        G, F, D_X, D_Y, f, weights = self.G, self.F, self.D_X, self.D_Y, self.features, self.config
        fake_y, fake_x = G(x), F(y)
        adversarial = (D_Y(fake_y) - 1).square().mean() + (D_X(fake_x) - 1).square().mean()
        metrics, loss = {"adversarial": adversarial}, adversarial
        if weights.cycle:
            metrics["cycle"] = distance(F(fake_y), x) + distance(G(fake_x), y)
            loss = loss + weights.cycle * metrics["cycle"]
        if weights.identity:
            metrics["identity"] = distance(G(y), y) + distance(F(x), x)
            loss = loss + weights.identity * metrics["identity"]
        if f is not None:
            metrics["perceptual"] = l1_loss(f(fake_y), f(x)) + l1_loss(f(fake_x), f(y))
            loss = loss + weights.perceptual * metrics["perceptual"]
        update("generators", loss)
        past_x, past_y = self.pool_x.swap(fake_x.detach()), self.pool_y.swap(fake_y.detach())
        discriminators = LSGAN.discriminator(D_X(x), D_X(past_x)) + LSGAN.discriminator(D_Y(y), D_Y(past_y))
        update("discriminators", discriminators)
        return {**metrics, "discriminators": discriminators}

    @torch.no_grad()
    def evaluate(self, data: Pair) -> dict[str, float]:
        """Of both directions: cycle error and, of aligned data, errors against the true partner."""
        self.eval()
        there, back = (lambda x: self.translate(x, 1)), (lambda x: self.translate(x, 0))
        ways = {"to_second": cycle_errors(there, back, data), "to_first": cycle_errors(back, there, data.swapped())}
        return {f"{way} {name}": value for way, found in ways.items() for name, value in found.items()}

    @torch.no_grad()
    def pictures(self, data: Pair) -> Pictures:
        """Each original, its translation, that translated back and, of aligned data, the true partner."""
        self.eval()
        there, back = (lambda x: self.translate(x, 1)), (lambda x: self.translate(x, 0))
        return {"to_second": side_by_side(there, back, data), "to_first": side_by_side(back, there, data.swapped())}
