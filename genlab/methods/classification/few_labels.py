"""What methods that learn from few labels share: the first `labels_per_class` images of a class in the stream are its
labelled ones; no other label is used. The choice depends on the order of the stream alone, so on its seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from genlab.core.ranges import Count
from genlab.data import Images, Stream
from genlab.training.method import Config, Method


@dataclass(frozen=True)
class FewLabelsConfig(Config):
    """Options of a method that is given few labels."""

    labels_per_class: Count = 10
    """labelled images of each class"""

    def check_data(self, data: Any) -> None:
        check_labels_per_class(self.labels_per_class, data.source.labels)


def check_labels_per_class(each: int, labels: Tensor, option: str = "--labels-per-class") -> None:
    """Checks that every class among `labels` (N,) has `each` images.

    Raises:
        ValueError: one has fewer; names `option`.
    """
    counts = labels.bincount()
    rarest = int(counts[counts > 0].min())
    if each > rarest:
        raise ValueError(f"{option} must be at most {rarest:,}, the training images of the rarest class, got {each:,}")


def labelled_positions(images: Images, each: int, seed: int) -> Tensor:
    """The positions (classes * each,) in `images`, class by class, of those whose labels a method uses on
    Stream(images, seed=seed).

    Raises:
        ValueError: as `check_labels_per_class`.
    """
    check_labels_per_class(each, images.labels)
    n = len(images)
    numbered = replace(images, labels=torch.arange(n, device=images.device), classes=tuple(map(str, range(n))))
    _, order = next(Stream(numbered, n, seed=seed))
    labels = images.labels[order]
    return torch.cat([order[(labels == k).nonzero()[:each, 0]] for k in range(len(images.classes))])


class FewLabels(Method):
    """Keeps the labelled images in buffers: `labelled_x` (classes * each + 1, C, H, W), whose last row is a spare,
    `labelled_y`, and `known` (classes,), the number found so far."""

    labelled_x: Tensor
    labelled_y: Tensor
    known: Tensor

    def make_room(self, classes: int, each: int, shape: tuple[int, int, int]) -> None:
        """Registers the buffers, empty, for `each` images of `shape` per class."""
        self.each = each
        self.register_buffer("labelled_x", torch.zeros(classes * each + 1, *shape))
        self.register_buffer("labelled_y", torch.arange(classes).repeat_interleave(each))
        self.register_buffer("known", torch.zeros(classes, dtype=torch.int64))

    @torch.no_grad()
    def collect(self, x: Tensor, y: Tensor) -> None:
        """Keeps the images of classes that still lack labelled ones; without synchronising with the device."""
        chosen = one_hot(y, len(self.known))
        place = self.known[y] + (chosen.cumsum(0) * chosen).sum(1) - 1  # among those of its class
        row = torch.where(place < self.each, y * self.each + place, len(self.labelled_y))
        self.labelled_x.index_copy_(0, row, x.to(self.labelled_x))
        self.labelled_x[-1] = 0
        self.known.copy_((self.known + chosen.sum(0)).clamp(max=self.each))

    def labelled(self, n: int) -> tuple[Tensor, Tensor]:
        """n labelled pairs, drawn with replacement."""
        there = torch.arange(self.each, device=self.device) < self.known[:, None]
        rows = torch.multinomial(there.flatten().float(), n, replacement=True)
        return self.labelled_x[rows], self.labelled_y[rows]
