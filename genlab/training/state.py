"""Saves and restores the state of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn
from torch.optim import Optimizer

from genlab.core import distributed
from genlab.core.text import one_line
from genlab.training.checkpoint import (
    COUNTS,
    CheckpointError,
    not_finite,
    optimizer_state,
    reading,
    restore_module,
    restore_optimizer,
)
from genlab.training.method import BatchStream
from genlab.training.update import NonFinite

if TYPE_CHECKING:
    from genlab.run import Run


class State:
    """The state in a checkpoint: the parts by name, the progress of training, and the length of its log."""

    def __init__(self, parts: dict[str, Any], run: Run | None):
        self.parts, self.run, self.step = parts, run, 0

    def save(self, images: int) -> None:
        """Writes a checkpoint on rank 0, if there is a run.

        Raises:
            NonFinite: a tensor of the state holds NaN or infinity; nothing was written.
        """
        state = {
            name: optimizer_state(part) if isinstance(part, Optimizer) else part.state_dict()
            for name, part in self.parts.items()
        }
        if bad := not_finite(state):
            raise NonFinite(f"{bad} is not finite after {images:,} images; the last checkpoint is kept")
        if self.run and distributed.rank() == 0:
            lines = self.run.sync_log()
            self.run.checkpoints.save({"step": self.step, "images": images, "lines": lines, **state}, self.step)

    def load(self, data: BatchStream) -> int:
        """Restores the newest intact checkpoint, and the positions of `data` and the log; returns the images seen."""
        alone = self.run if distributed.rank() == 0 else None
        found = distributed.broadcast_object(alone.checkpoints.load(set_aside=True) if alone else None)
        if found:
            self.restore(found)
        data.images = found["images"] if found else 0
        if alone:
            alone.truncate_log(found["lines"] if found else 0)
        return data.images

    def restore(self, found: dict[str, Any]) -> None:
        """Loads the parts.

        Raises:
            CheckpointError: a part is missing, unknown or does not fit.
        """
        file = found["file"]
        known = {*self.parts, *COUNTS, "run", "file"}
        if unknown := [str(name) for name in found if name not in known and not str(name).startswith("hook ")]:
            raise CheckpointError(f"{file} has a part {one_line(unknown[0], 100)!r}: it was trained with other options")
        for name, part in self.parts.items():
            if name not in found:
                raise CheckpointError(f"{file} has no {name!r}: it was trained with other options")
            what = f"{name} in {file}"
            if isinstance(part, nn.Module):
                restore_module(part, found[name], what)
            elif isinstance(part, Optimizer):
                restore_optimizer(part, found[name], what)
            else:
                with reading(what):
                    part.load_state_dict(found[name])
        self.step = found["step"]
