"""Features: x (N, C, H, W) in [0, 1] -> (N, d), with a name.

Distances in different feature spaces cannot be compared, hence the names. Inception is not included; any callable with
a `name` can be used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor, nn


class Features(Protocol):
    """A named map from images (N, C, H, W) in [0, 1] to features (N, d)."""

    @property
    def name(self) -> str: ...

    def __call__(self, x: Tensor, /) -> Tensor: ...


class PixelFeatures:
    """The identity: x (N, C, H, W) -> (N, C·H·W)."""

    name = "pixels"

    def __call__(self, x: Tensor) -> Tensor:
        return x.flatten(1)


class NamedFeatures:
    """A function of images, x (N, C, H, W) -> (N, d), with a name."""

    def __init__(self, name: str, function: Callable[[Tensor], Tensor]):
        self.name, self.function = name, function

    def __call__(self, x: Tensor) -> Tensor:
        found = self.function(x)
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(x):
            got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(f"the features {self.name} must be ({len(x)}, d) for {len(x)} images, got {got}")
        return found


class ClassifierFeatures:
    """The penultimate features of a classifier, x (N, C, H, W) -> (N, d); `logits` applies its last layer.

    Args:
        net: x -> logits, in eval mode; its last layer is the one that returns logits.
        name: of the features, in the names of metrics.
        shape: (C, H, W) of the images it takes.
    """

    def __init__(self, net: nn.Sequential, name: str, shape: tuple[int, int, int]):
        self.body, self.head, self.name, self.shape = net[:-1], net[-1], name, shape

    def __call__(self, x: Tensor) -> Tensor:
        if tuple(x.shape[1:]) != self.shape:
            here, there = ("x".join(map(str, shape)) for shape in (tuple(x.shape[1:]), self.shape))
            raise ValueError(f"the features {self.name} are for images of {there} (C x H x W), got {here}")
        return self.body(x)

    def logits(self, features: Tensor) -> Tensor:
        """features (N, d) -> logits (N, classes)."""
        return self.head(features)
