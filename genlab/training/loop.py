"""The one training loop of the lab.

A Method knows an algorithm; `fit` knows a machine. `fit` owns iteration, device, precision, averaging over ranks,
EMA, schedules, checkpoints and logs, and never asks what it trains. Every duration is in images.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from genlab.core import distributed
from genlab.core.files import mismatch
from genlab.core.lock import locked
from genlab.core.ranges import Range
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
from genlab.training.interrupt import Interrupt
from genlab.training.progress import Progress

if TYPE_CHECKING:
    from genlab.run import Run
from genlab.training.ema import EMA
from genlab.training.method import Hook, Method, Metrics, Stream, TrainOptions
from genlab.training.update import NonFinite, Update


class State:
    """Everything that a checkpoint keeps: the parts by name, how far training has come, and the lines of its log."""

    def __init__(self, parts: dict[str, Any], run: Run | None):
        self.parts, self.run, self.step = parts, run, 0

    def save(self, images: int) -> None:
        """Writes a checkpoint on rank 0, if there is a run.

        Raises:
            NonFinite: a weight, or another number of the state, is NaN or infinite; nothing was written.
        """
        state = {
            name: optimizer_state(part) if isinstance(part, Optimizer) else part.state_dict()
            for name, part in self.parts.items()
        }
        if bad := not_finite(state):
            raise NonFinite(f"{bad} is not finite after {images:,} images; the last good checkpoint stays")
        if self.run and distributed.rank() == 0:
            lines = self.run.logged()
            self.run.checkpoints.save({"step": self.step, "images": images, "lines": lines, **state}, self.step)

    def load(self, data: Stream) -> int:
        """Restores the newest sound checkpoint, and what `data` and the log were then; returns the images seen."""
        alone = self.run if distributed.rank() == 0 else None
        found = distributed.broadcast_object(alone.checkpoints.load(set_aside=True) if alone else None)
        if found:
            self.restore(found)
        data.images = found["images"] if found else 0
        if alone:
            alone.keep(found["lines"] if found else 0)
        return data.images

    def restore(self, found: dict[str, Any]) -> None:
        """Raises CheckpointError if a part is missing or does not fit."""
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


def fit(
    method: Method,
    data: Stream,
    options: TrainOptions = TrainOptions(),  # noqa: B008
    *,
    run: Run | None = None,
    hooks: Sequence[tuple[int, Hook]] = (),
    title: str = "training",
) -> Method:
    """Trains until `options.images` images were drawn; continues from the newest checkpoint of `run` if there is one.

    Args:
        method: on its device; trained in place.
        data: its `images` is set on resume and tells how far training has come.
        run: where checkpoints and metrics.jsonl go; none: nothing is written.
        hooks: pairs (every, hook): `hook(images, method)` is called on rank 0 whenever another `every` images are done
            and at the end, with the averaged method if there is one; True stops training. A hook with `state_dict` and
            `load_state_dict` is kept in the checkpoint.
        title: for the progress bar.

    Returns the averaged method if `options.half_life` is given, else the method itself, in eval mode.

    Raises:
        NonFinite: a loss, a gradient or a part of the state to be saved was not finite; the last good checkpoint stays.
        CheckpointError: there are checkpoints, but none that this training could go on from.
        Locked: another process trains in the directory of `run`.
        Interrupted: SIGTERM or SIGINT came; the current step was finished and saved.
    """
    device, rank, world = method.device, distributed.rank(), distributed.world_size()
    method.to(memory_format=torch.channels_last)
    distributed.broadcast(method.state_dict().values())
    optimizers = method.optimizers()
    base = {name: [group["lr"] for group in o.param_groups] for name, o in optimizers.items()}
    update = Update(optimizers, options.clip)
    average = EMA(method, options.half_life) if options.half_life is not None else None
    parts: dict[str, Any] = {"method": method, **{f"optimizer {name}": o for name, o in optimizers.items()}}
    if average:
        parts["average"] = average
    parts |= {f"hook {i}": hook for i, (_, hook) in enumerate(hooks) if hasattr(hook, "state_dict")}
    window = parts["window"] = RunningMean(device)
    state = State(parts, run)
    method.train()

    def current() -> Method:
        return average.current(method) if average else method.eval()

    cuda = [device] if device.type == "cuda" else []
    with (
        locked(run.path) if run and rank == 0 else nullcontext(),
        Interrupt() as interrupt,
        Progress(title, options.images, state.load(data)) as progress,
        torch.random.fork_rng(devices=cuda),
    ):
        while data.images < options.images:
            before = data.images
            update.progress = before / options.images
            for name, optimizer in optimizers.items():
                for group, lr in zip(optimizer.param_groups, base[name]):
                    group["lr"] = lr * options.learning_rate(update.progress)
            if not method.training:  # a hook has looked at it
                method.train()
            reseed(options.seed, state.step, rank, world, device)
            with torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bfloat16"):
                metrics = method.step(data, update)
            metrics = {name: value.detach() for name, value in metrics.items()}  # or the graph outlives the step
            distributed.broadcast(method.buffers())  # running statistics, pools: those of rank 0
            images = data.images
            if average:
                average.track(method, images - before, images)
            if state.step == 0 and (sanity_check := method.sanity_check(metrics)):
                warnings.warn(sanity_check, stacklevel=2)
            state.step += 1
            window.add(metrics)

            def due(every: int, before: int = before, images: int = images) -> bool:
                return images // every > before // every or images >= options.images

            if due(options.log_every):
                update.check()
                row = window.means()
                progress.log(images, "  ".join(f"{name} {value:.4g}" for name, value in row.items()))
                if run and rank == 0:
                    run.log({"step": state.step, "images": images, **row})
            progress.advance(images)
            enough = [hook(images, current()) is True for every, hook in hooks if due(every)] if rank == 0 else []
            stop = distributed.highest(interrupt.signal or any(enough), device)
            if due(options.save_every) or stop:
                update.check()
                current()
                state.save(images)
            if stop:
                interrupt.reraise(stop, images)
                break
    return current()


class RunningMean:
    """Means of the metrics since the last line of the log; summed on the device, fetched at once."""

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
        """Name -> mean, and starts anew."""
        values = (self.sums / self.steps).tolist() if isinstance(self.sums, Tensor) else []
        self.sums, self.steps = 0.0, 0
        return dict(zip(self.names, values))

    def state_dict(self) -> dict[str, Any]:
        sums = self.sums.tolist() if isinstance(self.sums, Tensor) else []  # numbers: a metric may be NaN, a part not
        return {"names": self.names, "sums": sums, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if fault := mismatch(state, {"names": list[str], "sums": list, "steps": Annotated[int, Range(0)]}):
            raise ValueError(fault)
        self.names, self.steps = state["names"], state["steps"]
        sums = torch.tensor(state["sums"], dtype=torch.float32, device=self.device)
        if sums.shape != (len(self.names) if self.steps else 0,):
            raise ValueError(f"it holds {len(sums)} sums of {len(self.names)} metrics")
        self.sums = sums if len(sums) else 0.0


def reseed(seed: int, step: int, rank: int, world: int, device: torch.device) -> None:
    """Makes the noise of a step depend on (seed, step, rank) alone: resuming is exact, and hooks cannot disturb it.

    As torch.manual_seed, which takes a millisecond for the devices that are not there.
    """
    number = (seed * 0x9E3779B97F4A7C15 + step * world + rank) % 2**63
    torch.default_generator.manual_seed(number)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(number)
