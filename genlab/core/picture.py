"""Images to be shown as a grid, with labels of its rows and columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

MOST = 16  # images per row


@dataclass(frozen=True, eq=False)
class Picture:
    """A grid of images.

    images: (N, C, H, W) in [0, 1], row by row. columns: images per row; none: about sqrt(N). rows, heads: labels of the
    rows and columns, from the first on.
    """

    images: Tensor
    columns: int | None = None
    rows: Sequence[str] = ()
    heads: Sequence[str] = ()


Pictures = dict[str, Picture | Tensor]  # by name; a tensor (N, C, H, W) is shown without labels


def in_rows(rows: Mapping[str, Tensor]) -> Picture:
    """label -> the images (N, C, H, W) of one row, clipped to [0, 1]; the first 16 of each are shown."""
    shown = [images[:MOST].clamp(0, 1) for images in rows.values()]
    return Picture(torch.cat(shown), len(shown[0]), tuple(rows))


def as_picture(shown: Picture | Tensor) -> Picture:
    """Images without labels as a Picture."""
    return shown if isinstance(shown, Picture) else Picture(shown)
