"""StackGAN; Zhang et al. 2017, arXiv:1612.03242, eqs. 3-6: a conditional GAN in two stages.

Stage I generates an image of half the height and width from z and the class; stage II generates the large image from
the small one and the class, without z. Departures: the condition is the class, without text and conditioning
augmentation; both stages learn in the same step, without gradients from stage II to stage I, in place of one stage
after the other; stage II adds a correction to the upsampled small image, with a loss that keeps the large image
consistent with the small one (like the colour consistency of StackGAN++, Zhang et al. 2018, arXiv:1710.10916): without
them it ignored stage I and generated one image per class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, mse_loss, one_hot

from genlab.core.labels import check_classes
from genlab.core.picture import Picture, Pictures
from genlab.core.ranges import LearningRate, Weight, Width
from genlab.data import Images
from genlab.methods.gan.adversarial import ConditionalAdversarial, GeneratorConfig
from genlab.methods.gan.conditional_gan import PairLoss
from genlab.methods.gan.gan import BETAS
from genlab.nets.classifiers import ResidualBlock, cnn
from genlab.nets.dcgan import Encoder
from genlab.training.method import BatchStream, Metrics, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update

ADVERSARIAL = PairLoss("joint", mismatched=True)


@dataclass(frozen=True)
class StackGANConfig(GeneratorConfig):
    """StackGAN: a conditional GAN in two stages, small images and then large ones."""

    width: Width = 32
    """channels at the finest level of every network"""
    consistency: Weight = 30.0
    """weight of the squared error between the large image, downsampled, and the small one"""
    lr: LearningRate = 2e-4
    """learning rate of all Adams"""

    training: ClassVar[TrainOptions] = TrainOptions(images=1_000_000, batch=64, half_life=10_000)

    def build(self, shape: tuple[int, int, int], classes: int) -> StackGAN:
        check_classes(classes, "a condition")
        c, h, w = shape
        return StackGAN(
            StageI(shape, self.latent + classes, self.width),
            StageII(shape, classes, self.width),
            cnn((c, h // 2, w // 2), classes + 1, self.width),
            Encoder(shape, classes + 1, self.width),
            classes,
            self,
        )


class StageI(nn.Sequential):
    """(N, inputs) -> small x (N, C, H/2, W/2) in [0, 1]."""

    def __init__(self, shape: tuple[int, int, int], inputs: int, width: int):
        c, h, w = shape
        base = (2 * width, h // 4, w // 4)
        super().__init__(
            nn.Linear(inputs, base[0] * base[1] * base[2]),
            nn.Unflatten(1, base),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(inplace=True),
            *_enlarge(2 * width, width, c),
            nn.Sigmoid(),
        )


class StageII(nn.Module):
    """small x (N, C, H/2, W/2) in [0, 1] and one-hot y -> x (N, C, H, W) in [0, 1], through residual blocks."""

    def __init__(self, shape: tuple[int, int, int], classes: int, width: int):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(shape[0] + classes, 2 * width, 3, padding=1),
            ResidualBlock(2 * width, 2 * width, 1),
            ResidualBlock(2 * width, 2 * width, 1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(inplace=True),
            *_enlarge(2 * width, width, shape[0]),
        )

    def forward(self, small: Tensor, y: Tensor) -> Tensor:
        planes = y[:, :, None, None].expand(-1, -1, *small.shape[2:])
        correction = self.net(torch.cat([2 * small - 1, planes], 1))
        return (interpolate(small, scale_factor=2, mode="bilinear").logit(0.01) + correction).sigmoid()


def _enlarge(i: int, width: int, o: int) -> list[nn.Module]:
    twice = nn.ConvTranspose2d(i, width, 4, 2, 1)
    return [twice, nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.Conv2d(width, o, 3, padding=1)]


class StackGAN(ConditionalAdversarial):
    """generator: stage I, (z, one-hot y) -> small x (N, C, H/2, W/2) in [0, 1];
    refiner: stage II, (small x, one-hot y) -> x (N, C, H, W) in [0, 1];
    discriminator, refiner_discriminator: small x, x -> (N, classes + 1), the logits of conditional_gan.PairLoss."""

    config: StackGANConfig

    def __init__(
        self,
        generator: nn.Module,
        refiner: nn.Module,
        discriminator: nn.Module,
        refiner_discriminator: nn.Module,
        classes: int,
        config: StackGANConfig = StackGANConfig(),
    ):
        super().__init__(generator, classes, config)
        self.refiner, self.discriminator, self.refiner_discriminator = refiner, discriminator, refiner_discriminator

    def optimizers(self):
        return {name: adam(net, lr=self.config.lr, betas=BETAS) for name, net in self.named_children()}

    def stages(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Classes (n,) -> the small images and the large ones, whose gradients do not reach stage I."""
        small = super().draw(y)
        return small, self.refiner(small.detach(), one_hot(y, self.classes))

    def draw(self, y: Tensor) -> Tensor:
        """Classes (n,) -> a large image of each."""
        return self.stages(y)[1]

    def step(self, data: BatchStream, update: Update) -> Metrics:
        real, y = next(data)
        small, large = self.stages(y)
        inconsistency = mse_loss(avg_pool2d(large, 2), small.detach())

        real_small, D = avg_pool2d(real, 2), self.discriminator
        discriminator = ADVERSARIAL.discriminator(D(real_small), D(small.detach()), y)
        update("discriminator", discriminator)
        generator = ADVERSARIAL.generator(D(small), y)
        update("generator", generator)

        D = self.refiner_discriminator
        refiner_discriminator = ADVERSARIAL.discriminator(D(real), D(large.detach()), y)
        update("refiner_discriminator", refiner_discriminator)
        refiner = ADVERSARIAL.generator(D(large), y)
        update("refiner", refiner + self.config.consistency * inconsistency)
        return {
            "discriminator": discriminator,
            "generator": generator,
            "refiner_discriminator": refiner_discriminator,
            "refiner": refiner,
            "inconsistency": inconsistency,
        }

    @torch.no_grad()
    def pictures(self, data: Images) -> Pictures:
        """small, samples: the images of both stages, a row per class."""
        small, large = self.eval().stages(self.a_row_per_class())
        return {name: Picture(x, self.classes, data.classes) for name, x in {"small": small, "samples": large}.items()}
