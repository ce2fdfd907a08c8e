"""The one training loop of the lab.

A Method knows an algorithm; `fit` knows a machine. `fit` owns iteration, device, precision, averaging over ranks,
EMA, schedules, checkpoints and logs, and never asks what it trains. Every duration is in images.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch

from genlab.core import distributed
from genlab.core.lock import locked
from genlab.training.ema import EMA
from genlab.training.interrupt import Interrupt
from genlab.training.method import Hook, Method, Stream, TrainOptions
from genlab.training.progress import Progress
from genlab.training.running_mean import RunningMean
from genlab.training.state import State
from genlab.training.update import Update

if TYPE_CHECKING:
    from genlab.run import Run


def fit(
    method: Method,
    data: Stream,
    options: TrainOptions | None = None,
    *,
    run: Run | None = None,
    hooks: Sequence[tuple[int, Hook]] = (),
    title: str = "training",
) -> Method:
    """Trains until `options.images` images were drawn; continues from the newest checkpoint of `run` if there is one.

    Args:
        method: on its device; trained in place.
        data: its `images` is set on resume and tells how far training has come.
        options: none: the defaults of the method, `method.config.training`.
        run: where checkpoints and metrics.jsonl go; none: nothing is written.
        hooks: pairs (every, hook): `hook(images, method)` is called on rank 0 whenever another `every` images are done
            and at the end, with the averaged method if there is one; True stops training. A hook with `state_dict` and
            `load_state_dict` is kept in the checkpoint, as its `part` if it has such a name.
        title: for the progress bar.

    Returns the averaged method if the half-life of an average is given, else the method itself, in eval mode.

    Raises:
        NonFinite: a loss, a gradient or a part of the state to be saved was not finite; the last good checkpoint stays.
        CheckpointError: there are checkpoints, but none that this training could go on from.
        Locked: another process trains in the directory of `run`.
        Interrupted: SIGTERM or SIGINT came; the current step was finished and saved.
    """
    training = Training(method, data, options or method.config.training, run, hooks)
    with (
        locked(run.path) if run and training.first else nullcontext(),
        Interrupt() as interrupt,
        Progress(title, training.options.images, training.state.load(data)) as progress,
        torch.random.fork_rng(devices=[method.device] if method.device.type == "cuda" else []),
    ):
        while not training.finished:
            training.step()
            if training.due(training.options.log_every):
                training.log(progress)
            progress.advance(data.images)
            enough = training.call_hooks()
            stop = distributed.highest(interrupt.signal or enough, method.device)
            if training.due(training.options.save_every) or stop:
                training.save()
            if stop:
                interrupt.reraise(stop, data.images)
                break
    return training.current()


class Training:
    """A method in training, with its optimizers, its average and its log; `fit` says what happens when."""

    def __init__(
        self,
        method: Method,
        data: Stream,
        options: TrainOptions,
        run: Run | None,
        hooks: Sequence[tuple[int, Hook]],
    ):
        self.method, self.data, self.options, self.run, self.hooks = method, data, options, run, hooks
        self.rank, self.world, self.first = distributed.rank(), distributed.world_size(), distributed.rank() == 0
        self.before = 0  # images seen before the last step
        method.train().to(memory_format=torch.channels_last)
        distributed.broadcast(method.state_dict().values())
        self.optimizers = method.optimizers()
        self.rates = {name: [group["lr"] for group in o.param_groups] for name, o in self.optimizers.items()}
        self.update = Update(self.optimizers, options.clip)
        self.average = EMA(method, options.half_life) if options.half_life is not None else None
        self.means = RunningMean(method.device)
        self.state = State(self._parts(), run)

    def _parts(self) -> dict[str, Any]:
        """What a checkpoint keeps, by name."""
        parts: dict[str, Any] = {"method": self.method}
        parts |= {f"optimizer {name}": optimizer for name, optimizer in self.optimizers.items()}
        if self.average:
            parts["average"] = self.average
        parts |= {
            getattr(hook, "part", f"hook {i}"): hook
            for i, (_, hook) in enumerate(self.hooks)
            if hasattr(hook, "state_dict")
        }
        return {**parts, "window": self.means}

    @property
    def finished(self) -> bool:
        return self.data.images >= self.options.images

    def due(self, every: int) -> bool:
        """In the last step another `every` images were completed, or training was."""
        return self.data.images // every > self.before // every or self.finished

    def step(self) -> None:
        """One step of the method at the scheduled learning rates; the average follows."""
        method, device = self.method, self.method.device
        self.before = self.data.images
        self.update.progress = self.before / self.options.images
        self._set_learning_rates()
        if not method.training:  # a hook has looked at it
            method.train()
        reseed(self.options.seed, self.state.step, self.rank, self.world, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.options.precision == "bfloat16"):
            metrics = method.step(self.data, self.update)
        metrics = {name: value.detach() for name, value in metrics.items()}  # or the graph outlives the step
        distributed.broadcast(method.buffers())  # running statistics, pools: those of rank 0
        if self.average:
            self.average.track(method, self.data.images - self.before, self.data.images)
        if self.state.step == 0 and (suspicion := method.sanity_check(metrics)):
            warnings.warn(suspicion, stacklevel=3)
        self.state.step += 1
        self.means.add(metrics)

    def _set_learning_rates(self) -> None:
        factor = self.options.learning_rate(self.update.progress)
        for name, optimizer in self.optimizers.items():
            for group, rate in zip(optimizer.param_groups, self.rates[name]):
                group["lr"] = rate * factor

    def log(self, progress: Progress) -> None:
        """Shows the means of the metrics since the last call, and writes them to the log of the run."""
        self.update.check()
        means, images = self.means.means(), self.data.images
        progress.log(images, "  ".join(f"{name} {value:.4g}" for name, value in means.items()))
        if self.run and self.first:
            self.run.log({"step": self.state.step, "images": images, **means})

    def call_hooks(self) -> bool:
        """Calls the hooks that are due, on rank 0; True if one of them wants training to stop."""
        due = [hook for every, hook in self.hooks if self.due(every)] if self.first else []
        return any([hook(self.data.images, self.current()) is True for hook in due])

    def save(self) -> None:
        self.update.check()
        self.current()  # brings the buffers of the average up to date
        self.state.save(self.data.images)

    def current(self) -> Method:
        """The averaged method if there is an average, else the method, in eval mode."""
        return self.average.current(self.method) if self.average else self.method.eval()


def reseed(seed: int, step: int, rank: int, world: int, device: torch.device) -> None:
    """Makes the noise of a step depend on (seed, step, rank) alone: resuming is exact, and hooks cannot disturb it.

    As torch.manual_seed, which takes a millisecond for the devices that are not there.
    """
    number = (seed * 0x9E3779B97F4A7C15 + step * world + rank) % 2**63
    torch.default_generator.manual_seed(number)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(number)
