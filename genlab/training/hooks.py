"""Hooks for `fit`: called with (images so far, method in eval mode) every so many images; True stops training."""

from __future__ import annotations

import copy
from collections.abc import Callable
from math import isnan
from typing import Any

from genlab.training.method import Method


class EarlyStopping:
    """Stops once `figure(method)` has not improved for `patience` calls in a row; remembers the best weights.

    Args:
        figure: a validation figure, such as `lambda m: m.evaluate(held_out)["accuracy"]`.
        patience: calls without improvement after which training stops; none: it never does.
        larger_is_better: whether the figure should rise. One that is NaN never counts as an improvement.
    """

    part = "best"  # of a checkpoint

    def __init__(self, figure: Callable[[Method], float], patience: int | None = 5, larger_is_better: bool = True):
        if patience is not None and patience < 1:
            raise ValueError(f"patience must be at least 1, got {patience}")
        self.figure, self.patience, self.sign = figure, patience, 1 if larger_is_better else -1
        self.best: float | None = None
        self.images = 0  # when the best was seen
        self.waited = 0
        self.weights: dict[str, Any] = {}

    def __call__(self, images: int, method: Method) -> bool:
        value = float(self.figure(method))
        if not isnan(value) and (self.best is None or self.sign * value > self.sign * self.best):
            self.best, self.images, self.waited = value, images, 0
            self.weights = copy.deepcopy(method.state_dict())
        else:
            self.waited += 1
        return self.patience is not None and self.waited >= self.patience

    def restore(self, method: Method) -> Method:
        """Puts the best weights back into `method`.

        Raises:
            ValueError: the figure was never a number.
        """
        if self.best is None:
            raise ValueError("there are no best weights: the figure was NaN at every call")
        method.load_state_dict(self.weights)
        return method

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "images": self.images, "waited": self.waited, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.images, self.waited, self.weights = (state[k] for k in ("best", "images", "waited", "weights"))
