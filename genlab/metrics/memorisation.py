"""Memorisation: the nearest training image of every sample, in pixels and in features.

Nearest neighbours in pixel space miss small shifts: if a training image is shifted by a few pixels, its nearest
neighbour is often another image (Theis et al. 2016, arXiv:1511.01844, figure 5). `shift_experiment` measures this.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from genlab.data import Folder, Images, batches
from genlab.metrics import checks
from genlab.metrics.distances import nearest
from genlab.metrics.features import Features

__all__ = ["nearest_distance_ratio", "nearest", "nearest_image", "shift_experiment"]


@torch.no_grad()
def nearest_image(x: Tensor, train: Images | Folder, features: Features, batch: int = 256) -> tuple[Tensor, Tensor]:
    """Distance (N,) and index (N,) of the training image nearest to each feature vector x (N, d)."""
    return nearest(checks.points(x, least=1), (features(images) for images, _ in batches(train, batch)))


def nearest_distance_ratio(fake: Tensor, test: Tensor) -> float:
    """The ratio of the median distances to the nearest training image, of samples (N,) and of test images (M,).

    0: the samples are copies; 1: they are as far from the training images as test images are.

    Raises:
        Undefined: most test images are copies of training images.
    """
    if not test.median() > 0:
        raise checks.Undefined("most test images are copies of training images")
    return float(fake.median() / test.median())


@torch.no_grad()
def shift_experiment(
    x: Tensor, features: Sequence[Features], shifts: Sequence[int] = (0, 1, 2, 3), labels: Tensor | None = None
) -> dict[str, list[float]]:
    """Shifts images x (N, C, H, W) in [0, 1] to the right and looks up their nearest neighbours among x.

    Returns, by name of the features and for each shift in pixels, the share of shifted images whose nearest neighbour
    is their original; with labels (N,), the share whose nearest neighbour is of the same class.

    Raises:
        ValueError: fewer than two images, or a shift outside [0, width).
    """
    if len(checks.pixels(x)) < 2:
        raise ValueError(f"at least two images are needed, got {len(x)}")
    width = x.shape[3]
    if not all(0 <= shift < width for shift in shifts):
        raise ValueError(f"shifts must lie in [0, {width}) pixels, got {list(shifts)}")
    own = torch.arange(len(x), device=x.device) if labels is None else labels
    found: dict[str, list[float]] = {}
    for map_ in features:
        originals = torch.cat([map_(part) for part in x.split(256)])
        found[map_.name] = []
        for shift in shifts:
            moved = torch.cat([map_(part) for part in pad(x, (shift, 0, 0, 0))[..., :width].split(256)])
            found[map_.name].append(float((own[nearest(moved, [originals])[1]] == own).double().mean()))
    return found
