"""Residual generator and critic; Gulrajani et al. 2017, arXiv:1704.00028, appendix F (the 32x32 networks).

As in the DCGAN networks, the number of levels depends on the image. Images are in [0, 1], and in [-1, 1] inside the
networks. Departures: the options of the DCGAN networks; shortcuts resize before their 1x1 convolution (equivalent, and
cheaper for downsampling).
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from genlab.nets.attention import SelfAttention
from genlab.nets.dcgan import LatentInput, Norm, levels
from genlab.nets.minibatch import MinibatchFeatures

RESIZE = {"up": lambda: nn.Upsample(scale_factor=2), "down": lambda: nn.AvgPool2d(2), "keep": nn.Identity}


class ResizingBlock(nn.Module):
    """(N, i, H, W) -> (N, o, H', W') with sides doubled, halved or kept: a shortcut plus two 3x3 convolutions.

    `first`: the input is an image, so neither normalisation nor ReLU comes before the first convolution.
    """

    def __init__(self, i: int, o: int, size: Literal["up", "down", "keep"], norm: Norm, first: bool = False):
        super().__init__()
        enter = [] if first else [norm(i), nn.ReLU()]
        grow, shrink = (RESIZE[size if size == way else "keep"]() for way in ("up", "down"))
        first_conv, second_conv = nn.Conv2d(i, o, 3, padding=1), nn.Conv2d(o, o, 3, padding=1)
        self.body = nn.Sequential(*enter, grow, first_conv, norm(o), nn.ReLU(), second_conv, shrink)
        self.skip = nn.Sequential(RESIZE[size](), nn.Conv2d(i, o, 1) if i != o or size != "keep" else nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.skip(x)


def initialise(module: nn.Module) -> None:
    """He initialisation of convolutions, as in the paper."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu" if module.kernel_size == (3, 3) else "linear")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class ResidualGenerator(nn.Sequential):
    """z (N, latent) -> x (N, *shape) in [0, 1]; `width` channels at every level."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        latent: int,
        width: int,
        norm: Norm = nn.BatchNorm2d,
        *,
        attention: bool = False,
    ):
        n = levels(shape)
        base = (width, shape[1] // 2**n, shape[2] // 2**n)
        blocks: list[nn.Module] = [ResizingBlock(width, width, "up", norm) for _ in range(n)]
        if attention:
            blocks.insert(-1, SelfAttention(width))
        super().__init__(
            LatentInput(latent),
            nn.Linear(latent, base[0] * base[1] * base[2]),
            nn.Unflatten(1, base),
            *blocks,
            norm(width),
            nn.ReLU(),
            nn.Conv2d(width, shape[0], 3, padding=1),
        )
        self.latent = latent
        self.apply(initialise)

    def forward(self, z: Tensor) -> Tensor:
        return (super().forward(z) * 2).sigmoid()


class ResidualDiscriminator(nn.Module):
    """x (N, *shape) in [0, 1] -> score (N,), unbounded; `width` channels at every level, two blocks after the last."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        width: int,
        norm: Norm = nn.BatchNorm2d,
        *,
        attention: bool = False,
        minibatch: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        blocks: list[nn.Module] = [ResizingBlock(shape[0], width, "down", norm, first=True)]
        blocks += [SelfAttention(width)] if attention else []
        for size in ["down"] * (levels(shape) - 1) + ["keep"] * 2:
            blocks += [ResizingBlock(width, width, size, norm), *([nn.Dropout(dropout)] if dropout else [])]  # type: ignore[arg-type]
        batch = MinibatchFeatures(width) if minibatch else None
        pool = [nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        self.body = nn.Sequential(*blocks, *pool, *([batch] if batch else []))
        self.head = nn.Linear(batch.outputs if batch else width, 1)
        self.apply(initialise)

    def features(self, x: Tensor) -> Tensor:
        """x -> the input of the last layer, (N, F)."""
        return self.body(2 * x - 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x)).squeeze(1).float()
