"""Means of the metrics of many steps, for the log."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import Tensor

from genlab.core.files import mismatch
from genlab.core.ranges import Range
from genlab.training.method import Metrics


class RunningMean:
    """Means of the metrics since the last log entry; summed on the device, transferred once."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.names: list[str] = []  # the same at every step
        self.sums: Tensor | float = 0.0
        self.steps = 0

    @torch.no_grad()
    def add(self, metrics: Metrics) -> None:
        if self.steps and self.names != list(metrics):
            raise ValueError(f"a step reports {list(metrics)}, those before it {self.names}")
        self.names, self.steps = list(metrics), self.steps + 1
        if metrics:
            self.sums = torch.stack([value.detach().float() for value in metrics.values()]) + self.sums

    def means(self) -> dict[str, float]:
        """Name -> mean; resets the sums."""
        values = (self.sums / self.steps).tolist() if isinstance(self.sums, Tensor) else []
        self.sums, self.steps = 0.0, 0
        return dict(zip(self.names, values))

    def state_dict(self) -> dict[str, Any]:
        sums = self.sums.tolist() if isinstance(self.sums, Tensor) else []  # no tensor: may be NaN
        return {"names": self.names, "sums": sums, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if fault := mismatch(state, {"names": list[str], "sums": list, "steps": Annotated[int, Range(0)]}):
            raise ValueError(fault)
        self.names, self.steps = state["names"], state["steps"]
        sums = torch.tensor(state["sums"], dtype=torch.float32, device=self.device)
        if sums.shape != (len(self.names) if self.steps else 0,):
            raise ValueError(f"it holds {len(sums)} sums of {len(self.names)} metrics")
        self.sums = sums if len(sums) else 0.0
