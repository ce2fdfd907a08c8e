"""The training loop of all methods.

A Method implements an algorithm. `fit` handles iteration, device, precision, averaging over ranks, EMA, schedules,
checkpoints and logs, for any method. All durations are in images.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch

from genlab.core import distributed
from genlab.core.lock import locked
from genlab.data.own import as_stream
from genlab.training.ema import EMA
from genlab.training.interrupt import Interrupt
from genlab.training.layout import lay_out
from genlab.training.method import BatchStream, Hook, Method, Metrics, TrainOptions
from genlab.training.progress import Progress
from genlab.training.running_mean import RunningMean
from genlab.training.state import State
from genlab.training.update import Update

if TYPE_CHECKING:
    from genlab.reporting.loggers import Logger
    from genlab.run import Run


def fit(
    method: Method,
    data: BatchStream | Any,
    options: TrainOptions | None = None,
    *,
    run: Run | None = None,
    hooks: Sequence[tuple[int, Hook]] = (),
    loggers: Sequence[Logger] = (),
    title: str = "training",
) -> Method:
    """Trains for `options.images` images; resumes from the newest checkpoint of `run` if there is one.

    Args:
        method: on its device; trained in place.
        data: the batches: a DataLoader, a Dataset, an iterable of (x, y), or one of the lab's data sets or streams; see
            `genlab.data.own.as_stream`. A stream's `images` counts the images drawn so far and is set on resume.
        options: none: the defaults of the method, `method.config.training`.
        run: the run for checkpoints and metrics.jsonl; none: nothing is written.
        hooks: pairs (every, hook): `hook(images, method)` is called on rank 0 after every `every` images and at the
            end, with the EMA if there is one; a hook with three parameters is also given the metrics of the last step,
            {name: number}. If it returns True, training stops. A hook with `state_dict` and
            `load_state_dict` is saved in the checkpoint, under the name `part` if it has one. An attribute
            `rate_factor` of a hook is a factor of all learning rates.
        loggers: receive the means of the metrics that metrics.jsonl gets; see genlab.reporting.loggers.
        title: of the progress bar.

    Returns the EMA of the method if `options.half_life` is given, else the method itself, in eval mode.

    Raises:
        NonFinite: a loss, a gradient or the state to be saved is NaN or infinite; the last checkpoint is kept.
        ValueError: the data are not as the lab needs them; names what and how.
        CheckpointError: there are checkpoints, but none from which this training can be resumed.
        Locked: another process trains in the directory of `run`.
        Interrupted: SIGTERM or SIGINT was received; the current step was finished and, with a `run`, saved.
    """
    options = options or method.config.training
    where = distributed.rank(), distributed.world_size()
    data = as_stream(data, options.batch, options.seed, method.device, *where)
    training = Training(method, data, options, run, hooks, loggers)
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
                interrupt.reraise(stop, data.images, saved=run is not None)
                break
    return training.current()


class Training:
    """The state of a training: method, optimizers, EMA, log; `fit` is the loop."""

    def __init__(
        self,
        method: Method,
        data: BatchStream,
        options: TrainOptions,
        run: Run | None,
        hooks: Sequence[tuple[int, Hook]],
        loggers: Sequence[Logger],
    ):
        self.loggers, self.metrics = loggers, Metrics()
        self.method, self.data, self.options, self.run, self.hooks = method, data, options, run, hooks
        self.rank, self.world, self.first = distributed.rank(), distributed.world_size(), distributed.rank() == 0
        self.before = 0  # images seen before the last step
        lay_out(method.train(), options.channels_last)
        distributed.broadcast(method.state_dict().values())
        self.optimizers = method.optimizers()
        self.rates = {name: [group["lr"] for group in o.param_groups] for name, o in self.optimizers.items()}
        if options.schedule == "plateau" and not any(getattr(hook, "plateau", None) for _, hook in hooks):
            raise ValueError("schedule plateau needs a hook EarlyStopping with a plateau, which measures")
        self.update = Update(self.optimizers, options.clip)
        self.average = EMA(method, options.half_life) if options.half_life is not None else None
        self.means = RunningMean(method.device)
        self.state = State(self._parts(), run)

    def _parts(self) -> dict[str, Any]:
        """The parts of a checkpoint by name."""
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
        """Whether the last step completed a multiple of `every` images, or the training."""
        return self.data.images // every > self.before // every or self.finished

    def step(self) -> None:
        """One step of the method at the scheduled learning rates, and of the EMA."""
        method, device = self.method, self.method.device
        self.before = self.data.images
        self.update.progress = self.before / self.options.images
        self._set_learning_rates()
        if not method.training:  # a hook has set eval mode
            method.train()
        reseed(self.options.seed, self.state.step, self.rank, self.world, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.options.precision == "bfloat16"), in_range():
            metrics = method.step(self.data, self.update)
        metrics = {name: value.detach() for name, value in metrics.items()}  # frees the graph
        distributed.broadcast(method.buffers())  # running statistics, image pools: those of rank 0
        if self.average:
            self.average.track(method, self.data.images - self.before, self.data.images)
        if self.state.step == 0 and (suspicion := method.sanity_check(metrics)):
            warnings.warn(suspicion, stacklevel=3)
        self.state.step += 1
        self.metrics = metrics
        self.means.add(metrics)

    def _set_learning_rates(self) -> None:
        factor = self.options.learning_rate(self.update.progress)
        factor *= math.prod(getattr(hook, "rate_factor", 1.0) for _, hook in self.hooks)
        for name, optimizer in self.optimizers.items():
            for group, rate in zip(optimizer.param_groups, self.rates[name]):
                group["lr"] = rate * factor

    def log(self, progress: Progress) -> None:
        """Shows the means of the metrics since the last call, and appends them to metrics.jsonl."""
        self.update.check()
        means, images = self.means.means(), self.data.images
        progress.log(images, "  ".join(f"{name} {value:.4g}" for name, value in means.items()))
        if self.run and self.first:
            self.run.log({"step": self.state.step, "images": images, **means})
        for logger in self.loggers if self.first else ():
            logger.scalars(images, means)

    def call_hooks(self) -> bool:
        """Calls the due hooks on rank 0; returns whether one of them stops training."""
        due: list[Any] = [hook for every, hook in self.hooks if self.due(every)]
        stop = any([self._called(hook) is True for hook in due]) if self.first else False
        for hook in due:
            if hasattr(hook, "rate_factor"):
                hook.rate_factor = distributed.broadcast_object(hook.rate_factor)
        return stop

    def _called(self, hook: Callable[..., object]) -> object:
        known = (self.data.images, self.current())
        return hook(*known, {k: float(v) for k, v in self.metrics.items()}) if takes_metrics(hook) else hook(*known)

    def save(self) -> None:
        self.update.check()
        self.current()  # updates the buffers of the EMA
        self.state.save(self.data.images)

    def current(self) -> Method:
        """The EMA if there is one, else the method, in eval mode."""
        return self.average.current(self.method) if self.average else self.method.eval()


@contextmanager
def in_range() -> Iterator[None]:
    """Turns the error of torch about a label for which the network has no output into a ValueError (not on a GPU)."""
    try:
        yield
    except IndexError as error:
        if found := re.fullmatch(r"Target (-?\d+) is out of bounds\.", str(error)):
            raise ValueError(f"the data has the label {found[1]}, but the network has no output for it") from None
        raise


def takes_metrics(hook: Callable[..., object]) -> bool:
    """Whether `hook` has a third parameter without a default."""
    plain = [p for p in signature(hook).parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return sum(p.default is p.empty for p in plain) == 3


def reseed(seed: int, step: int, rank: int, world: int, device: torch.device) -> None:
    """Seeds a step by (seed, step, rank) alone: resuming is exact, and hooks do not change the random numbers.

    Like torch.manual_seed, but without the millisecond that it spends on absent devices.
    """
    number = (seed * 0x9E3779B97F4A7C15 + step * world + rank) % 2**63
    torch.default_generator.manual_seed(number)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(number)
