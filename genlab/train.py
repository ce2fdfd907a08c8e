"""The one training loop of the lab.

A Method knows an algorithm; `fit` knows a machine. `fit` owns iteration, device, precision, averaging over ranks,
weight averaging (EMA), schedules, checkpoints and logs, and never asks what it trains. Every duration is in images.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from genlab import distributed
from genlab.checkpoint import CheckpointError, not_finite, reading, restore_module, restore_optimizer
from genlab.files import Schema, mismatch
from genlab.interrupt import Interrupt
from genlab.lock import locked
from genlab.progress import Progress
from genlab.ranges import Count, Positive, Range, Seed, check
from genlab.schedules import SCHEDULES, ScheduleName, warm_up
from genlab.text import one_line

if TYPE_CHECKING:
    from genlab.run import Run

Metrics = dict[str, Tensor]  # name -> scalar, left on the device until it is logged
Hook = Callable[[int, "Method"], object]  # (images so far, method in eval mode) -> True to stop training


class NonFinite(ArithmeticError):
    """A loss or gradient is NaN or infinite, and the step was not taken; or a state is, and it was not saved."""


class Stream(Protocol):
    """An endless, resumable source of batches; `images` counts those this run has drawn, over all ranks."""

    images: int

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]: ...
    def __next__(self) -> tuple[Tensor, Tensor]: ...


class Method(nn.Module):
    """A training algorithm: the networks it trains, and what one step does to them.

    Keep everything that must survive a restart in parameters, buffers or optimizers. Images are float32 (N, C, H, W)
    in [0, 1] wherever they enter or leave a method.
    """

    def optimizers(self) -> dict[str, Optimizer]:
        """One optimizer per group of parameters that is updated together."""
        raise NotImplementedError

    def step(self, data: Stream, update: Update) -> Metrics:
        """One iteration of the outer loop of the paper: draw batches, update, report scalars."""
        raise NotImplementedError

    def doubt(self, first: Metrics) -> str | None:
        """What is suspicious about the metrics of the very first step, in a sentence; None if nothing is."""
        return None

    def evaluate(self, data: Any) -> dict[str, float]:
        """Figures on held-out `data` (an Images), by name."""
        return {}

    @torch.no_grad()
    def pictures(self, data: Any) -> dict[str, Tensor]:
        """Image batches (N, C, H, W) worth looking at, by name; `data` (an Images) is held out.

        By default 64 of what `sample` draws, and what `reconstruct` makes of 32 held-out images, each after its
        original; for methods that have them.
        """
        self.eval()
        found: dict[str, Tensor] = {}
        sample, reconstruct = (getattr(self, name, None) for name in ("sample", "reconstruct"))
        if sample:
            found["samples"] = sample(64)
        if reconstruct:
            x = data.subset(slice(0, 32)).x
            found["reconstructions"] = torch.stack([x, reconstruct(x)], dim=1).flatten(0, 1)
        return found

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device


@dataclass(frozen=True)
class Options:
    """How long and how to train."""

    images: Count = 600_000
    """training length, in images"""
    batch: Count = 64
    """images per batch, over all ranks"""
    seed: Seed = 0
    """start of every random number: weights, order, noise"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """arithmetic of the forward passes; bfloat16 is many times slower on a processor without it (AMX, AVX-512 BF16)"""
    schedule: ScheduleName = "constant"
    """course of the learning rates"""
    warmup: Annotated[float, Range(0, 1, below=True)] = 0.0
    """fraction of training over which the learning rates rise from 0"""
    clip: Positive | None = None
    """largest gradient norm per optimizer"""
    half_life: Positive | None = None
    """half-life of the weight average (EMA), in images; none: no average"""
    save_every: Count = 100_000
    """images between checkpoints"""
    log_every: Count = 10_000
    """images between lines of the log"""

    def __post_init__(self) -> None:
        check(self)

    def learning_rate(self, progress: float) -> float:
        """The factor on every learning rate at `progress` in [0, 1]."""
        return warm_up(SCHEDULES[self.schedule], self.warmup)(progress)


@dataclass(frozen=True)
class Config:
    """The options of a method: what `genlab train METHOD` offers, what config.json keeps, and how to build it again."""

    training: ClassVar[Options] = Options()
    """how this method is trained unless the user says otherwise"""

    def __post_init__(self) -> None:
        check(self)

    def build(self, shape: tuple[int, int, int], classes: int) -> Method:
        """The method, untrained, for images of `shape` (C, H, W) in so many classes."""
        raise NotImplementedError


class Update:
    """Descends one optimizer along one loss: the only way a Method changes weights.

    The guard against non-finite numbers never waits for the device: on a GPU the fused optimizers read its verdict
    there and skip this step and all later ones, and `check` reports it when the log or a checkpoint is due.
    """

    def __init__(self, optimizers: dict[str, Optimizer], clip: float | None = None):
        self.optimizers, self.clip = optimizers, clip
        self.progress = 0.0  # of training, in [0, 1]
        some = next((p for o in optimizers.values() for group in o.param_groups for p in group["params"]), None)
        device = "cpu" if some is None else some.device
        self.failed, self.one = torch.zeros((), device=device), torch.ones((), device=device)

    def __call__(self, name: str, loss: Tensor, leaves: Sequence[Tensor] = ()) -> None:
        """Backpropagates `loss` (a scalar) into the parameters of optimizer `name` alone, and into `leaves`; steps.

        Raises:
            NonFinite: before the step, if the loss or a gradient is NaN or infinite.
        """
        optimizer = self.optimizers[name]
        params = [p for group in optimizer.param_groups for p in group["params"]]
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(loss.device.type, enabled=False):
            loss.float().backward(inputs=[*params, *leaves])
        value = loss.detach().float().clone()
        if distributed.world_size() > 1:
            grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in params]
            *grads, value = distributed.average([*grads, value])
            for p, grad in zip(params, grads):
                p.grad = grad
        self.guard(name, optimizer, [value, *(p.grad for p in params if p.grad is not None)])
        if self.clip is not None:
            nn.utils.clip_grad_norm_(params, self.clip)
        optimizer.step()
        torch.clear_autocast_cache()  # else the next forward reuses the old half-precision copies

    def guard(self, name: str, optimizer: Optimizer, numbers: list[Tensor]) -> None:
        """Keeps a step with a number that is not finite from happening: at once on the CPU, without a wait on a GPU.

        `failed` is 1 from the first such number on. One kernel looks at all of them: that of torch.amp.GradScaler,
        which also multiplies them, here by 1.
        """
        torch._amp_foreach_non_finite_check_and_unscale_(numbers, self.failed, self.one)
        if self.deferred(optimizer):
            optimizer.found_inf = self.failed  # type: ignore[attr-defined]  # read by the fused kernels
        elif self.failed:
            raise NonFinite(f"the loss or gradient of {name!r} is not finite")

    def deferred(self, optimizer: Optimizer) -> bool:
        """Does the optimizer read the verdict on the device?"""
        return self.failed.is_cuda and getattr(optimizer, "_step_supports_amp_scaling", False)

    def check(self) -> None:
        """Raises NonFinite if a deferred guard has tripped; waits for the device."""
        if self.failed:
            raise NonFinite(f"the loss or gradient of one of {sorted(self.optimizers)} is not finite")


class Average(nn.Module):
    """Exponential moving average of a Method's parameters; buffers are those of the method.

    The half-life is in images, so batch size does not change it, and never more than a twentieth of the images seen,
    so that the average forgets the random start (the ramp-up of Karras et al. 2022, arXiv:2206.00364, code).
    """

    def __init__(self, method: Method, half_life: float):
        super().__init__()
        self.method, self.half_life = copy.deepcopy(method).eval().requires_grad_(False), half_life

    @torch.no_grad()
    def track(self, method: Method, images: int, seen: int) -> None:
        """Moves towards `method`, which was just trained on `images` images, `seen` in all."""
        beta = 0.5 ** (images / min(self.half_life, seen / 20))
        torch._foreach_lerp_(list(self.method.parameters()), list(method.parameters()), 1 - beta)

    @torch.no_grad()
    def current(self, method: Method) -> Method:
        """The averaged method, with the buffers that `method` has now."""
        for mean, buffer in zip(self.method.buffers(), method.buffers()):
            mean.copy_(buffer)
        return self.method


class State:
    """Everything that a checkpoint keeps: the parts by name, how far training has come, and the lines of its log."""

    counts: ClassVar[Schema] = dict.fromkeys(("step", "images", "lines"), Annotated[int, Range(0, 10**15)])

    def __init__(self, parts: dict[str, Any], run: Run | None):
        self.parts, self.run, self.step = parts, run, 0

    def save(self, images: int) -> None:
        """Writes a checkpoint on rank 0, if there is a run.

        Raises:
            NonFinite: a weight, or another number of the state, is NaN or infinite; nothing was written.
        """
        state = {name: part.state_dict() for name, part in self.parts.items()}
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
        if fault := mismatch(found, self.counts):
            raise CheckpointError(f"{file} {fault}")
        known = {*self.parts, *self.counts, "run", "file"}
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
    options: Options = Options(),
    *,
    run: Run | None = None,  # noqa: B008
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
    average = Average(method, options.half_life) if options.half_life is not None else None
    parts: dict[str, Any] = {"method": method, **{f"optimizer {name}": o for name, o in optimizers.items()}}
    if average:
        parts["average"] = average
    parts |= {f"hook {i}": hook for i, (_, hook) in enumerate(hooks) if hasattr(hook, "state_dict")}
    window = parts["window"] = Window(device)
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
            if state.step == 0 and (doubt := method.doubt(metrics)):
                warnings.warn(doubt, stacklevel=2)
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


class Window:
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
