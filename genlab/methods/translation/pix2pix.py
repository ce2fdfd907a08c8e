"""pix2pix: image-to-image translation from pairs; Isola et al. 2017, arXiv:1611.07004, eq. 4: a conditional GAN whose
discriminator sees input and output together, patch by patch, plus the L1 distance from the true output.

Beside the L1 distance: the squared one, and the difference of the image gradients (Mathieu, Couprie, LeCun 2016,
arXiv:1511.05440, eq. 6 with alpha = 1, as a mean over pixels).

Departure: the pairs may also be made from single images by a task, such as hiding a part of each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss

from genlab.core.picture import MOST, Pictures, in_rows
from genlab.core.ranges import Fraction, Halvings, LearningRate, Range, Weight, Width
from genlab.data import Images, Pair, batches
from genlab.data.aligned import Aligned
from genlab.data.pairs import task
from genlab.methods.gan.gan import BETAS
from genlab.methods.gan.losses import OBJECTIVES
from genlab.metrics.partner import PARTNER_ERROR
from genlab.nets.patch import PatchDiscriminator, deepest
from genlab.nets.unet import UNet
from genlab.training.method import BatchStream, Config, Method, Metrics, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update

ADVERSARIAL = OBJECTIVES["nonsaturating"]
NORMS = {"instance": nn.InstanceNorm2d, "batch": nn.BatchNorm2d}


def gradient_difference(a: Tensor, b: Tensor) -> Tensor:
    """Images (N, C, H, W) -> mean of | |difference of neighbours in a| - |the same in b| |, down plus across."""
    down, across = (l1_loss(a.diff(dim=dim).abs(), b.diff(dim=dim).abs()) for dim in (2, 3))
    return down + across


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": l1_loss,
    "l2": mse_loss,
    "gradient": gradient_difference,
}  # of output and target


@dataclass(frozen=True)
class Pix2PixConfig(Config):
    """pix2pix: from inputs to outputs by pairs, with a U-Net, a patch discriminator and the L1 distance."""

    task: str = "inpainting:8"
    """what pairs are made of single images: super-resolution:FACTOR, inpainting:SIDE, edges:PERCENT, partner:STYLE or
    colour; of the data pairs:FOLDER, which bring their own pairs, nothing"""
    reverse: bool = False
    """with the data pairs:FOLDER: learn from B to A"""
    gan: Weight = 1.0
    """weight of the adversarial loss; 0: no discriminator"""
    l1: Weight = 100.0
    """weight of the L1 distance from the target"""
    l2: Weight = 0.0
    """weight of the squared distance from the target"""
    gradient: Weight = 0.0
    """weight of the difference of the image gradients from those of the target"""
    width: Width = 64
    """channels of both networks at the finest level; doubled at every coarser one"""
    layers: Halvings | None = None
    """downsamplings by 2 in the discriminator: 3 for patches of 70x70, 2: 34x34, 1: 16x16, 0: pixels; none: as fits"""
    levels: Annotated[int, Range(1, 12)] | None = None
    """downsamplings by 2 in the U-Net; none: as many as the image allows"""
    norm: Literal["instance", "batch"] = "instance"
    """normalisation in the U-Net"""
    noise: Fraction = 0.5
    """dropout in the U-Net's decoder, also after training; 0: one output per input"""
    lr: LearningRate = 2e-4
    """learning rate of both Adams"""

    training: ClassVar[TrainOptions] = TrainOptions(images=400_000, batch=16, half_life=5_000)
    takes: ClassVar[tuple[str, ...]] = ("images", "pairs")

    def check_relations(self) -> None:
        if self.gan == self.l1 == self.l2 == self.gradient == 0:
            raise ValueError("the weights gan, l1, l2 and gradient must not all be 0")

    def check_data(self, data: Any) -> None:
        single = next(data)[1].ndim != 4
        if single and self.reverse:
            raise ValueError("--reverse needs pairs, as in --data pairs:FOLDER; the data are single images")
        if not single and self.task != type(self).task:
            raise ValueError(f"--task makes pairs of single images, but the data are pairs; got {self.task!r}")

    def build(self, shape: tuple[int, int, int], classes: int) -> Pix2Pix:
        task(self.task)(torch.zeros(1, *shape))  # a task that these images do not allow is refused before training
        layers = deepest(shape) if self.layers is None else self.layers
        return Pix2Pix(
            UNet(shape, shape[0], self.width, self.levels, NORMS[self.norm], self.noise),
            PatchDiscriminator((2 * shape[0], *shape[1:]), self.width, layers) if self.gan else None,
            self,
        )


class Pix2Pix(Method):
    """generator: input (N, C, H, W) in [0, 1] -> output of that shape and range;
    discriminator: (input, image) (N, 2 C, H, W) -> (N, 1, h, w), a logit per patch; none if `gan` is 0.

    Data with targets are the pairs; else `task` makes input and target (both (N, C, H, W) in [0, 1]) from an image.
    """

    config: Pix2PixConfig

    def __init__(self, generator: nn.Module, discriminator: nn.Module | None, config: Pix2PixConfig = Pix2PixConfig()):
        super().__init__(config)
        self.generator, self.discriminator = generator, discriminator
        self.task = task(config.task)

    def optimizers(self):
        nets = {"generator": self.generator, "discriminator": self.discriminator}
        return {name: adam(net, lr=self.config.lr, betas=BETAS) for name, net in nets.items() if net}

    def pair(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets of a batch: images (N, C, H, W) and their targets of that shape, or their labels (N,)."""
        if y.ndim == 4:
            return (y, x) if self.config.reverse else (x, y)
        return self.task(x)

    def translate(self, x: Tensor, to: int = 1) -> Tensor:
        """Inputs (N, C, H, W) in [0, 1] -> outputs, of that shape and range; one direction only."""
        if to != 1:
            raise ValueError(f"pix2pix learns one direction, from inputs to outputs (to=1), got to={to}")
        return self.generator(x)

    def step(self, data: BatchStream, update: Update) -> Metrics:
        if isinstance(getattr(data, "source", None), Pair):
            raise ValueError(
                "pix2pix needs one set of images, or pairs as in --data pairs:FOLDER; the data are two sets"
            )
        x, y = self.pair(*next(data))
        fake = self.translate(x)
        weights = {"l1": self.config.l1, "l2": self.config.l2, "gradient": self.config.gradient}
        found = {name: LOSSES[name](fake, y) for name, weight in weights.items() if weight or name == "l1"}
        loss = torch.stack([weights[name] * value for name, value in found.items()]).sum()
        if self.discriminator:
            score_real, score_fake = (self.discriminator(torch.cat([x, image], 1)) for image in (y, fake.detach()))
            found["discriminator"] = ADVERSARIAL.discriminator(score_real, score_fake) / 2
            update("discriminator", found["discriminator"])
            found["adversarial"] = ADVERSARIAL.generator(self.discriminator(torch.cat([x, fake], 1)))
            loss = loss + self.config.gan * found["adversarial"]
        update("generator", loss)
        return found

    @torch.no_grad()
    def evaluate(self, data: Images | Aligned) -> dict[str, float]:
        """partner error: mean |output - target|; input error: the same of the inputs themselves."""
        self.eval()
        pairs = [self.pair(x, y) for x, y in batches(data, 250)]  # all before the first dropout: the same for every net
        errors = [((self.translate(a) - b).abs().sum(), (a - b).abs().sum()) for a, b in pairs]
        pixels = sum(b.numel() for _, b in pairs)
        return {name: float(sum(e) / pixels) for name, e in zip((PARTNER_ERROR, "input error"), zip(*errors))}

    @torch.no_grad()
    def pictures(self, data: Images | Aligned) -> Pictures:
        """translations: input, output and target of held-out images."""
        x, y = self.pair(*next(batches(data.subset(slice(0, MOST)), MOST)))
        return {"translations": in_rows({"input": x, "translated": self.eval().translate(x), "true": y})}
