"""Classifiers: x (N, C, H, W) in [0, 1] -> logits (N, classes). Normalisation is the first layer."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn

from genlab.core.batch import with_min_batch


class Normalise(nn.Module):
    """(x - mean) / std, with the same values for all channels."""

    def __init__(self, mean: float = 0.5, std: float = 0.5):
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


def cnn(shape: tuple[int, int, int], classes: int, width: int = 32) -> nn.Sequential:
    """Two 3x3 convolutions with `width` and 2 `width` channels, each with max-pooling, and 128 hidden units."""
    c, h, w = shape
    if min(h, w) < 4:
        raise ValueError(f"the CNN takes images of at least 4x4 pixels, got {h}x{w}")
    return nn.Sequential(
        Normalise(),
        nn.Conv2d(c, width, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * width * (h // 4) * (w // 4), 128),
        nn.ReLU(inplace=True),
        nn.Linear(128, classes),
    )


def mlp(shape: tuple[int, int, int], classes: int, width: int = 512) -> nn.Sequential:
    """Two hidden layers of `width` units."""
    sizes = [shape[0] * shape[1] * shape[2], width, width]
    hidden = [layer for i, o in pairwise(sizes) for layer in (nn.Linear(i, o), nn.ReLU(inplace=True))]
    return nn.Sequential(Normalise(), nn.Flatten(), *hidden, nn.Linear(width, classes))


def shallow(shape: tuple[int, int, int], classes: int, width: int = 48) -> nn.Sequential:
    """A wide shallow network: 5x5 convolution with `width` channels, tanh, 2x2 average pooling, linear layer."""
    c, h, w = shape
    if min(h, w) < 2:
        raise ValueError(f"the shallow network takes images of at least 2x2 pixels, got {h}x{w}")
    return nn.Sequential(
        Normalise(),
        nn.Conv2d(c, width, 5, padding=2),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(width * (h // 2) * (w // 2), classes),
    )


def vgg(shape: tuple[int, int, int], classes: int, width: int = 16) -> nn.Sequential:
    """VGG style: three stages of two 3x3 convolutions, global average pooling; Simonyan, Zisserman 2015,
    arXiv:1409.1556."""
    c, h, w = shape
    if min(h, w) < 4:
        raise ValueError(f"the VGG takes images of at least 4x4 pixels, got {h}x{w}")
    layers: list[nn.Module] = [Normalise()]
    for stage, o in enumerate((width, 2 * width, 4 * width)):
        for i in (c, o):
            norm = nn.BatchNorm2d(o)
            if h >> stage == w >> stage == 1:
                with_min_batch(norm, 2)
            layers += [nn.Conv2d(i, o, 3, padding=1, bias=False), norm, nn.ReLU(inplace=True)]
        layers += [nn.MaxPool2d(2)] if stage < 2 else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        c = o
    return nn.Sequential(*layers, nn.Linear(4 * width, classes))


class ResidualBlock(nn.Module):
    """Pre-activation residual block; He et al. 2016, arXiv:1603.05027.

    With a stride, the shortcut is average pooling and a 1x1 convolution (ResNet-D, He et al. 2018, arXiv:1812.01187).
    (oneDNN's strided 1x1 convolution with few channels has a memory error on CPUs with channels-last tensors.)
    """

    def __init__(self, i: int, o: int, stride: int):
        super().__init__()
        self.enter = nn.Sequential(nn.BatchNorm2d(i), nn.ReLU(inplace=True))
        self.body = nn.Sequential(
            nn.Conv2d(i, o, 3, stride, 1, bias=False),
            nn.BatchNorm2d(o),
            nn.ReLU(inplace=True),
            nn.Conv2d(o, o, 3, 1, 1, bias=False),
        )
        shrink = [nn.AvgPool2d(stride, ceil_mode=True)] if stride > 1 else []
        self.skip = nn.Sequential(*shrink, nn.Conv2d(i, o, 1, bias=False)) if i != o else None

    def forward(self, x: Tensor) -> Tensor:
        h = self.enter(x)
        return self.body(h) + (x if self.skip is None else self.skip(h))


def resnet(shape: tuple[int, int, int], classes: int, width: int = 16) -> nn.Sequential:
    """Three stages of two residual blocks with `width`, 2 `width` and 4 `width` channels (14 layers)."""
    widths = [width, width, 2 * width, 4 * width]
    blocks = [
        block
        for n, (i, o) in enumerate(pairwise(widths))
        for block in (ResidualBlock(i, o, 1 if n == 0 else 2), ResidualBlock(o, o, 1))
    ]
    norm = nn.BatchNorm2d(widths[-1])
    if max(shape[1:]) <= 4:
        with_min_batch(norm, 2)  # maps of 1x1
    return nn.Sequential(
        Normalise(),
        nn.Conv2d(shape[0], width, 3, padding=1, bias=False),
        *blocks,
        norm,
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(widths[-1], classes),
    )


def lenet300(shape: tuple[int, int, int], classes: int, width: int = 300) -> nn.Sequential:
    """LeNet-300-100 as in compression papers: hidden layers of `width` and `width` / 3 units; LeCun et al. 1998."""
    inputs = shape[0] * shape[1] * shape[2]
    third = max(1, width // 3)
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(inputs, width),
        nn.ReLU(inplace=True),
        nn.Linear(width, third),
        nn.ReLU(inplace=True),
        nn.Linear(third, classes),
    )


def lenet5(shape: tuple[int, int, int], classes: int, width: int = 20) -> nn.Sequential:
    """LeNet-5 as in compression papers: 5x5 convolutions with `width` and 2.5 `width` channels, each with max-pooling,
    and 25 `width` hidden units; 431,080 parameters on MNIST."""
    c, h, w = shape
    sides = [((side - 4) // 2 - 4) // 2 for side in (h, w)]
    if min(sides) < 1:
        raise ValueError(f"LeNet-5 takes images of at least 16x16 pixels, got {h}x{w}")
    second = width * 5 // 2
    return nn.Sequential(
        nn.Conv2d(c, width, 5),
        nn.MaxPool2d(2),
        nn.Conv2d(width, second, 5),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(second * sides[0] * sides[1], 25 * width),
        nn.ReLU(inplace=True),
        nn.Linear(25 * width, classes),
    )


NETWORKS: dict[str, Callable[..., nn.Sequential]] = {
    "cnn": cnn,
    "resnet": resnet,
    "mlp": mlp,
    "shallow": shallow,
    "vgg": vgg,
}
LENETS: dict[str, Callable[..., nn.Sequential]] = {"lenet-300-100": lenet300, "lenet-5": lenet5}
