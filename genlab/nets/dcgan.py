"""DCGAN generator and discriminator; Radford et al. 2016, arXiv:1511.06434, section 3.

The number of levels (four in the paper, from 4x4 to 64x64) depends on the image: two for 8x8 and 28x28 (from 2x2 and
7x7), three for 32x32. Images are in [0, 1], and in [-1, 1] inside the networks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from genlab.core.batch import with_min_batch
from genlab.nets.attention import SelfAttention
from genlab.nets.minibatch import MinibatchFeatures

Norm = Callable[[int], nn.Module]  # channels -> layer


def levels(shape: tuple[int, int, int]) -> int:
    """The number of downsamplings by 2: down to at least 4 pixels, but at least two (8x8 to 2x2).

    Raises:
        ValueError: the sides are not multiples of 4 or less than 8.
    """
    _, h, w = shape
    count = 0
    while h % 2 == 0 and w % 2 == 0 and (min(h, w) >= 8 or count < 2):
        h, w, count = h // 2, w // 2, count + 1
    if count < 2 or min(h, w) < 2:
        raise ValueError(f"these networks take images whose sides are multiples of 4 and at least 8, got {shape}")
    return count


def initialise(module: nn.Module) -> None:
    """Weights from N(0, 0.02), as in the paper."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def norm_1x1(norm: Norm, channels: int) -> nn.Module:
    """A normalisation layer for 1x1 maps; batch normalisation then needs at least two images per batch."""
    layer = norm(channels)
    return with_min_batch(layer, 2) if isinstance(layer, nn.BatchNorm2d) else layer


class LatentInput(nn.Identity):
    """The input layer of a generator: returns z (N, size), and raises ValueError for another shape."""

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def forward(self, z: Tensor) -> Tensor:
        if z.shape[1:] != (self.size,):
            raise ValueError(f"this generator takes latents (N, {self.size}), got {tuple(z.shape)}")
        return z


class Decoder(nn.Sequential):
    """z (N, latent) -> (N, *shape), unbounded; `width` channels before the last level, twice as many per level down.

    attention: self-attention before the last level, at half of the resolution.
    hidden: units of a fully connected layer before the first level; 0: no such layer.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        latent: int,
        width: int,
        norm: Norm = nn.BatchNorm2d,
        *,
        attention: bool = False,
        hidden: int = 0,
    ):
        n = levels(shape)
        channels = [width * 2**i for i in reversed(range(n))]
        base = (channels[0], shape[1] // 2**n, shape[2] // 2**n)
        layers: list[nn.Module] = [LatentInput(latent)]
        if hidden:
            layers += [nn.Linear(latent, hidden), nn.Unflatten(1, (hidden, 1, 1)), norm_1x1(norm, hidden)]
            layers += [nn.ReLU(inplace=True), nn.Flatten()]
        layers += [nn.Linear(hidden or latent, base[0] * base[1] * base[2]), nn.Unflatten(1, base)]
        for i, o in zip(channels, [*channels[1:], shape[0]]):
            layers += [norm(i), nn.ReLU(inplace=True)]
            layers += [SelfAttention(i)] if attention and i == width else []
            layers += [nn.ConvTranspose2d(i, o, 4, 2, 1)]
        super().__init__(*layers)
        self.latent = latent
        self.apply(initialise)


class Generator(Decoder):
    """z (N, latent) -> x (N, *shape) in [0, 1]."""

    def forward(self, z: Tensor) -> Tensor:
        return (super().forward(z) * 2).sigmoid()  # = (tanh + 1) / 2


class Encoder(nn.Sequential):
    """x (N, *shape) in [0, 1] -> (N, outputs), unbounded; `width` channels after the first level.

    attention: self-attention after the first level, at half of the resolution.
    minibatch: minibatch discrimination before the last layer.
    dropout: probability of zeroing a feature, at every level.
    hidden: units of a fully connected layer after the last level; 0: no such layer.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        outputs: int,
        width: int,
        norm: Norm = nn.BatchNorm2d,
        *,
        attention: bool = False,
        minibatch: bool = False,
        dropout: float = 0.0,
        hidden: int = 0,
    ):
        n = levels(shape)
        channels = [shape[0], *(width * 2**i for i in range(n))]
        layers: list[nn.Module] = []
        for i, o in zip(channels, channels[1:]):
            layers += [nn.Conv2d(i, o, 4, 2, 1), *([norm(o)] if layers else []), nn.LeakyReLU(0.2, inplace=True)]
            layers += [SelfAttention(o)] if attention and o == width else []
            layers += [nn.Dropout(dropout)] if dropout else []
        features = channels[-1] * (shape[1] // 2**n) * (shape[2] // 2**n)
        layers += [nn.Flatten()]
        if hidden:
            layers += [nn.Linear(features, hidden), nn.Unflatten(1, (hidden, 1, 1)), norm_1x1(norm, hidden)]
            layers += [nn.LeakyReLU(0.2, inplace=True), nn.Flatten()]
            features = hidden
        batch = MinibatchFeatures(features) if minibatch else None
        head = nn.Linear(batch.outputs if batch else features, outputs)
        super().__init__(*layers, *([batch] if batch else []), head)
        self.apply(initialise)

    @property
    def head(self) -> nn.Module:
        """The last layer: features (N, F) -> (N, outputs)."""
        return self[-1]

    def features(self, x: Tensor) -> Tensor:
        """x -> the input of the last layer, (N, F)."""
        x = 2 * x - 1
        for layer in list(self)[:-1]:
            x = layer(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(2 * x - 1)


class Discriminator(Encoder):
    """x (N, *shape) in [0, 1] -> score (N,), unbounded; options as those of Encoder."""

    def __init__(self, shape: tuple[int, int, int], width: int, norm: Norm = nn.BatchNorm2d, **options: Any):
        super().__init__(shape, 1, width, norm, **options)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).squeeze(1).float()
