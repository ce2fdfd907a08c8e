"""Test-time augmentation: the mean of a classifier's probabilities over shifted, mirrored and turned copies of an image
(Krizhevsky, Sutskever, Hinton 2012, section 4.1, who average crops and their mirror images).

It is no defence by itself: the copies are fixed and differentiable, so the attack descends the mean as it stands, and
its gradient is exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, pad

from genlab.core.ranges import Range, checked

STEPS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))  # (down, right)


class TestTimeAugmented(nn.Module):
    """x (N, C, H, W) in [0, 1] -> log of the mean probabilities (N, K) of `model` over the copies of x, black outside.

    shift: pixels by which copies are moved up, down, left and right; 0: none. flip: mirror images of all copies, too.
    rotate: degrees, up to 180, by which copies are turned in both directions, bilinearly; 0: none. The image as it is
    stands among the copies.
    """

    __test__ = False  # pytest

    @checked
    def __init__(
        self,
        model: nn.Module,
        shift: Annotated[int, Range(0, 1000)] = 1,
        flip: bool = False,
        rotate: Annotated[float, Range(0, 180)] = 0.0,
    ) -> None:
        super().__init__()
        self.model, self.shift, self.flip, self.rotate = model, shift, flip, rotate

    @classmethod
    def defend(cls, model: nn.Module, **options: Any) -> TestTimeAugmented:
        return cls(model, **options)

    def extra_repr(self) -> str:
        return f"shift={self.shift}, flip={self.flip}, rotate={self.rotate}"

    def adaptive(self) -> Self:
        """Itself: the mean is differentiable and nothing is random."""
        return self

    def copies(self, x: Tensor) -> Iterator[Tensor]:
        """x and its changed copies, each of x's shape.

        Raises:
            ValueError: the shift is not smaller than the image.
        """
        if self.shift >= min(x.shape[-2:]):
            raise ValueError(f"shift must be below the sides of the image, {tuple(x.shape[-2:])}, got {self.shift}")
        for mirrored in (x, x.flip(3)) if self.flip else (x,):
            for angle in (0.0, self.rotate, -self.rotate) if self.rotate else (0.0,):
                turned = turn(mirrored, angle) if angle else mirrored
                for down, right in STEPS if self.shift else STEPS[:1]:
                    yield move(turned, down * self.shift, right * self.shift)

    def forward(self, x: Tensor) -> Tensor:
        copies = list(self.copies(x))
        logits = self.model(torch.cat(copies))
        return logits.log_softmax(1).view(len(copies), len(x), -1).logsumexp(0) - math.log(len(copies))


def move(x: Tensor, down: int, right: int) -> Tensor:
    """x (N, C, H, W) moved by so many pixels, which may be negative; black comes in."""
    return pad(x, (right, -right, down, -down)) if down or right else x


def turn(x: Tensor, degrees: float) -> Tensor:
    """x (N, C, H, W) turned clockwise about its centre, bilinearly; black comes in."""
    h, w = x.shape[-2:]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    down, right = (torch.arange(n, dtype=x.dtype, device=x.device) - (n - 1) / 2 for n in (h, w))
    down, right = down[:, None], right[None]
    grid = torch.stack([(cos * right + sin * down) * (2 / w), (cos * down - sin * right) * (2 / h)], 2)
    return grid_sample(x, grid.expand(len(x), h, w, 2), padding_mode="zeros", align_corners=False)
