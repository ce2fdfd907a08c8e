"""What every method is: an algorithm with its networks (Method), its options (Config), how long and how to train it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from genlab.core.ranges import Count, Length, Positive, Range, Seed, Steps, check
from genlab.training.schedules import SCHEDULES, ScheduleName, warm_up
from genlab.training.update import Update

Metrics = dict[str, Tensor]  # name -> scalar, left on the device until it is logged
Hook = Callable[[int, "Method"], object]  # (images so far, method in eval mode) -> True to stop training


class Stream(Protocol):
    """An endless, resumable source of batches; `images` counts those this run has drawn, over all ranks."""

    images: int

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]: ...
    def __next__(self) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class TrainOptions:
    """How long and how to train."""

    images: Length = 600_000
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
    best_by: str | None = None
    """keep the weights with the best validation figure, as in max:accuracy or min:bits_per_dim; needs --hold-out"""
    patience: Steps | None = None
    """with best-by: stop after so many measurements without a better one, of 20 in all; none: never"""

    def __post_init__(self) -> None:
        check(self)

    def check_relations(self) -> None:
        if self.best_by is not None and not re.fullmatch("(max|min):.+", self.best_by):
            raise ValueError(f"--best-by must be as in max:accuracy or min:loss, got {self.best_by!r}")
        if self.patience is not None and self.best_by is None:
            raise ValueError(f"--patience needs --best-by, got {self.patience}")

    def learning_rate(self, progress: float) -> float:
        """The factor on every learning rate at `progress` in [0, 1]."""
        return warm_up(SCHEDULES[self.schedule], self.warmup)(progress)


@dataclass(frozen=True)
class Config:
    """The options of a method: what `genlab train METHOD` offers, what config.json keeps, and how to build it again."""

    training: ClassVar[TrainOptions] = TrainOptions()
    """how this method is trained unless the user says otherwise"""

    def __post_init__(self) -> None:
        check(self)

    def build(self, shape: tuple[int, int, int], classes: int) -> Method:
        """The method, untrained, for images of `shape` (C, H, W) in so many classes."""
        raise NotImplementedError

    def check_data(self, data: Any) -> None:
        """Refuses images that these options cannot learn from, before there is a run.

        data: what a training would see (a genlab.data.Stream) from its start; batches may be drawn from it.

        Raises:
            ValueError: naming the option and what the images allow.
        """


class Method(nn.Module):
    """A training algorithm: the networks it trains, its options, and what one step does to them.

    A subclass takes its networks and its config: `GAN(generator, discriminator, GANConfig(lr=1e-4))`. Keep everything
    that must survive a restart in parameters, buffers or optimizers. Images are float32 (N, C, H, W) in [0, 1] wherever
    they enter or leave a method.
    """

    config: Config

    def __init__(self, config: Config | None = None):
        super().__init__()
        self.config = Config() if config is None else config

    def optimizers(self) -> dict[str, Optimizer]:
        """One optimizer per group of parameters that is updated together."""
        raise NotImplementedError

    def step(self, data: Stream, update: Update) -> Metrics:
        """One iteration of the outer loop of the paper: draw batches, update, report scalars."""
        raise NotImplementedError

    def sanity_check(self, first: Metrics) -> str | None:
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
