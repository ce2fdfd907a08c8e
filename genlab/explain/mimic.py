"""A decision tree that mimics a network; Craven & Shavlik 1996, "Extracting tree-structured representations of trained
networks". The tree learns the network's answers, on features that a person can read.

Trees for which the network itself is regularised (Wu et al. 2018, arXiv:1711.06178) are not made here: their penalty is
the depth of such a tree, estimated by a second network so that it has a gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from sklearn.tree import DecisionTreeClassifier, export_text
from torch import Tensor
from torch.nn.functional import avg_pool2d

from genlab.core.modes import evaluating
from genlab.explain.gradients import Model


@dataclass(frozen=True)
class Features:
    """What a tree asks about: `of` maps images (N, C, H, W) to (N, F), and `names` are the F questions' names."""

    of: Callable[[Tensor], Tensor]
    names: tuple[str, ...]


def pixels(x: Tensor, side: int = 1) -> Features:
    """The mean over channels of squares of side x side pixels of images like x (N, C, H, W); those at the right and
    lower border that are not whole are left out.

    Raises:
        ValueError: the images are smaller than a square.
    """
    h, w = x.shape[2:]
    if not 1 <= side <= min(h, w):
        raise ValueError(f"squares of {h}x{w} images have sides from 1 to {min(h, w)} pixels, got {side}")
    names = tuple(f"row {r}, column {c}" for r in range(h // side) for c in range(w // side))
    return Features(lambda x: avg_pool2d(x.mean(1, keepdim=True), side).flatten(1), names)


@dataclass(frozen=True)
class Mimic:
    """A tree of scikit-learn's over readable features."""

    tree: DecisionTreeClassifier
    features: Features

    def predict(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) -> classes (N,)."""
        return torch.from_numpy(self.tree.predict(_array(self.features.of(x)))).to(x.device)

    def text(self) -> str:
        """The tree as nested questions."""
        return export_text(self.tree, feature_names=list(self.features.names), decimals=2)


@torch.no_grad()
def answers(model: Model, x: Tensor) -> Tensor:
    """The class (N,) of each image x (N, C, H, W) by the network."""
    with evaluating(model):
        return torch.cat([model(part).argmax(1) for part in x.split(1024)])


def mimic(x: Tensor, y: Tensor, features: Features, depth: int, seed: int = 0) -> Mimic:
    """A tree of at most this depth, grown by CART, for images x (N, C, H, W) and the network's `answers` y (N,) to them
    (or their labels).

    Raises:
        ValueError: depth is below 1.
    """
    if depth < 1:
        raise ValueError(f"a tree has a depth of at least 1, got {depth}")
    tree = DecisionTreeClassifier(max_depth=depth, random_state=seed)
    return Mimic(tree.fit(_array(features.of(x)), y.cpu().numpy()), features)


def fidelity(tree: Mimic, x: Tensor, y: Tensor) -> float:
    """The share of images x (N, C, H, W) for which the tree says y (N,), the network's answers (or the labels)."""
    return float((tree.predict(x) == y).float().mean())


def _array(x: Tensor) -> Any:
    return x.detach().flatten(1).double().cpu().numpy()
