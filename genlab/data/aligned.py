"""Pairs of images that belong together, for supervised translation: every batch has an input and its own target."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genlab.data.images import Images, Index, to_float

if TYPE_CHECKING:
    from genlab.data.folder import Folder


@dataclass(frozen=True, eq=False)
class Aligned:
    """Image i of `b` is the target of image i of `a`; `gather` returns both. Otherwise the interface of Images.

    Raises:
        ValueError: the two sets differ in length or shape.
    """

    a: Images | Folder
    b: Images | Folder

    def __post_init__(self) -> None:
        if len(self.a) != len(self.b):
            raise ValueError(f"{self.name}: there are {len(self.a)} inputs and {len(self.b)} targets")
        if self.a.shape != self.b.shape:
            raise ValueError(f"{self.name}: inputs are {self.a.shape} and targets {self.b.shape}")

    def __len__(self) -> int:
        return len(self.a)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.a.shape

    @property
    def name(self) -> str:
        return self.a.name

    @property
    def classes(self) -> tuple[str, ...]:
        return ()

    @property
    def labels(self) -> Tensor:
        return self.a.labels

    @property
    def factors(self) -> dict[str, Tensor]:
        return {}

    @property
    def device(self) -> torch.device:
        return self.a.device

    @property
    def x(self) -> Tensor:
        """All inputs as float32 (N, C, H, W) in [0, 1]."""
        return self.a.x

    def to(self, device: torch.device | str) -> Aligned:
        return replace(self, a=self.a.to(device), b=self.b.to(device))

    def gather(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """index int64 (n,) -> inputs and targets, each uint8 (n, C, H, W)."""
        return self.a.gather(index)[0], self.b.gather(index)[0]

    def subset(self, index: Index) -> Aligned:
        return replace(self, a=self.a.subset(index), b=self.b.subset(index))

    def pairs(self) -> tuple[Tensor, Tensor]:
        """All inputs and targets, each float32 (N, C, H, W) in [0, 1]."""
        return to_float(self.a.x), to_float(self.b.x)
