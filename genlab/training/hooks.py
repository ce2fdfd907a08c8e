"""Hooks for `fit`: called with (images so far, method in eval mode) every so many images; True stops training."""

from __future__ import annotations

import copy
from collections.abc import Callable
from math import isnan
from typing import Any

from genlab.training.method import Method

STATE = ("best", "images", "waited", "level", "rate_factor", "weights")  # of EarlyStopping


class EarlyStopping:
    """Early stopping: stops after `patience` calls without improvement of a validation metric; keeps the best weights.

    rate_factor: the factor of all learning rates from now on, which `fit` reads.

    Args:
        metric: method -> validation metric, such as `lambda m: m.evaluate(held_out)["accuracy"]`.
        patience: calls without improvement after which training stops; none: never.
        larger_is_better: the direction of improvement. NaN never counts as an improvement.
        plateau: calls without improvement, or since the last drop, after which the rates drop; none: never.
        decay: the factor of each drop.

    Raises:
        ValueError: patience or plateau is less than 1.
    """

    part = "best"  # its name in a checkpoint

    def __init__(
        self,
        metric: Callable[[Method], float],
        patience: int | None = 5,
        larger_is_better: bool = True,
        plateau: int | None = None,
        decay: float = 0.1,
    ):
        for name, calls in (("patience", patience), ("plateau", plateau)):
            if calls is not None and calls < 1:
                raise ValueError(f"{name} must be at least 1, got {calls}")
        self.metric, self.patience, self.sign = metric, patience, 1 if larger_is_better else -1
        self.plateau, self.decay, self.rate_factor = plateau, decay, 1.0
        self.best: float | None = None
        self.images = 0  # seen when the metric was best
        self.waited = 0
        self.level = 0  # calls since the metric improved or the rates dropped
        self.weights: dict[str, Any] = {}

    def __call__(self, images: int, method: Method) -> bool:
        value = float(self.metric(method))
        if not isnan(value) and (self.best is None or self.sign * value > self.sign * self.best):
            self.best, self.images, self.waited, self.level = value, images, 0, 0
            self.weights = copy.deepcopy(method.state_dict())
        else:
            self.waited, self.level = self.waited + 1, self.level + 1
        if self.level == self.plateau:
            self.rate_factor, self.level = self.rate_factor * self.decay, 0
        return self.patience is not None and self.waited >= self.patience

    def restore(self, method: Method) -> Method:
        """Loads the best weights into `method`.

        Raises:
            ValueError: the metric was NaN at every call.
        """
        if self.best is None:
            raise ValueError("there are no best weights: the metric was NaN at every call")
        method.load_state_dict(self.weights)
        return method

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in STATE:
            setattr(self, name, state[name])
