"""Fully connected networks with ReLU: generator and critic of points, encoder and decoder of images."""

from __future__ import annotations

from math import prod

from torch import Tensor, nn

from genlab.nets.minibatch import MinibatchFeatures


class MLP(nn.Sequential):
    """x (N, sizes[0]) -> (N, sizes[-1]), unbounded."""

    def __init__(self, *sizes: int):
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"an MLP needs at least two positive sizes, got {sizes}")
        layers: list[nn.Module] = []
        for i, o in zip(sizes, sizes[1:]):
            layers += [*([nn.ReLU()] if layers else []), nn.Linear(i, o)]
        super().__init__(*layers)
        self.inputs = sizes[0]

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1:] != (self.inputs,):
            raise ValueError(f"this network takes (N, {self.inputs}), got {tuple(x.shape)}")
        return super().forward(x)


class MLPGenerator(MLP):
    """z (N, latent) -> x (N, dimensions), unbounded; `depth` hidden layers of `width` units."""

    def __init__(self, latent: int, dimensions: int = 2, width: int = 64, depth: int = 2):
        super().__init__(latent, *[width] * depth, dimensions)
        self.latent = latent


class MLPCritic(MLP):
    """x (N, dimensions) -> score (N,), unbounded; `depth` hidden layers of `width` units."""

    def __init__(self, dimensions: int = 2, width: int = 64, depth: int = 2):
        super().__init__(dimensions, *[width] * depth, 1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).squeeze(1)


class BatchCritic(nn.Sequential):
    """x (N, dimensions) -> score (N,), unbounded, with minibatch discrimination."""

    def __init__(self, dimensions: int = 2, width: int = 64, kernels: int = 4):
        features = MinibatchFeatures(width, kernels, dims=4)
        super().__init__(MLP(dimensions, width, width), nn.ReLU(), features, MLP(features.outputs, 1), nn.Flatten(0))


class ImageMLP(nn.Sequential):
    """x (N, *shape) in [0, 1] -> (N, outputs), unbounded; two hidden layers of `width` units."""

    def __init__(self, shape: tuple[int, int, int], outputs: int, width: int):
        super().__init__(nn.Flatten(), MLP(prod(shape), width, width, outputs))


class PixelMLP(nn.Sequential):
    """z (N, latent) -> (N, *shape), unbounded; two hidden layers of `width` units."""

    def __init__(self, shape: tuple[int, int, int], latent: int, width: int):
        super().__init__(MLP(latent, width, width, prod(shape)), nn.Unflatten(1, shape))
