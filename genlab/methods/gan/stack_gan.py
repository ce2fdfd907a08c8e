"""StackGAN; Zhang et al. 2017, arXiv:1612.03242, eqs. 3-6: a small picture first, then the large one that refines it.

Stage I draws half the height and width from z and the class; stage II takes that picture and the class, without z.
Departures: the class is the condition, without text and its conditioning augmentation; both stages learn in the same
step, stage II from pictures that are constants to it, in place of one stage after the other; stage II corrects the
enlarged small picture and pays for leaving it (like the colour consistency of StackGAN++, Zhang et al. 2018,
arXiv:1710.10916), else it drew one picture per class and ignored stage I.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, mse_loss, one_hot

from genlab.core.labels import Labels, asked, check_classes
from genlab.core.ranges import LearningRate, Weight, Width
from genlab.data import Images
from genlab.methods.gan.conditional_gan import PairGame
from genlab.nets.classifiers import ResidualBlock, cnn
from genlab.nets.dcgan import Encoder
from genlab.training.method import Config, Method, Metrics, Stream, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update


class Sketch(nn.Sequential):
    """(N, inputs) -> x (N, C, H/2, W/2) in [0, 1]."""

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


class Refine(nn.Module):
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


class StackGAN(Method):
    """sketch: (z, one-hot y) -> small x;  refine: (small x, one-hot y) -> x (N, C, H, W) in [0, 1];
    judge_sketch, judge_refine: an image -> (N, classes + 1), the logits of conditional_gan.PairGame."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        latent: int,
        width: int,
        consistency: float = 30.0,
        lr: float = 2e-4,
    ):
        super().__init__()
        c, h, w = shape
        self.sketch, self.refine = Sketch(shape, latent + classes, width), Refine(shape, classes, width)
        self.judge_sketch = cnn((c, h // 2, w // 2), classes + 1, width)
        self.judge_refine = Encoder(shape, classes + 1, width)
        self.latent, self.classes, self.consistency, self.lr = latent, classes, consistency, lr
        self.game = PairGame()

    def optimizers(self):
        return {name: adam(net, lr=self.lr, betas=(0.5, 0.999)) for name, net in self.named_children()}

    def draw(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Classes (n,) -> the small pictures and the large ones, which do not teach the small ones."""
        c, z = one_hot(y, self.classes), torch.randn(len(y), self.latent, device=self.device)
        small = self.sketch(torch.cat([z, c], 1))
        return small, self.refine(small.detach(), c)

    def sample(self, n: int, labels: Labels | None = None) -> Tensor:
        """n images (n, C, H, W) in [0, 1] of the classes `labels` (n,), or of random ones."""
        if labels is None:
            return self.draw(torch.randint(self.classes, (n,), device=self.device))[1]
        return self.draw(asked(labels, n, self.classes, self.device))[1]

    def step(self, data: Stream, update: Update) -> Metrics:
        real, y = next(data)
        small, large = self.draw(y)
        kept = mse_loss(avg_pool2d(large, 2), small.detach())
        metrics: Metrics = {}
        for name, judge, true, fake, extra in (
            ("sketch", self.judge_sketch, avg_pool2d(real, 2), small, 0.0),
            ("refine", self.judge_refine, real, large, self.consistency * kept),
        ):
            metrics[f"judge_{name}"] = self.game.discriminator(judge(true), judge(fake.detach()), y)
            update(f"judge_{name}", metrics[f"judge_{name}"])
            metrics[name] = self.game.generator(judge(fake), y)
            update(name, metrics[name] + extra)
        return metrics | {"inconsistency": kept}

    @torch.no_grad()
    def pictures(self, data: Images) -> dict[str, Tensor]:
        """samples and, from the same draws, the small pictures they refine; a row per class."""
        y = torch.arange(self.classes, device=self.device).repeat_interleave(self.classes)
        small, large = self.eval().draw(y)
        return {"small": small, "samples": large}


@dataclass(frozen=True)
class StackGANConfig(Config):
    """StackGAN: a conditional GAN in two stages, small pictures and then large ones."""

    latent: Width = 64
    """dimensions of z"""
    width: Width = 32
    """channels at the finest level of every network"""
    consistency: Weight = 30.0
    """weight of the squared error between the large picture, made small, and the small one"""
    lr: LearningRate = 2e-4
    """learning rate of all Adams"""

    training: ClassVar[TrainOptions] = TrainOptions(images=1_000_000, batch=64, half_life=10_000)

    def build(self, shape: tuple[int, int, int], classes: int) -> StackGAN:
        check_classes(classes, "a condition")
        return StackGAN(shape, classes, self.latent, self.width, self.consistency, self.lr)
