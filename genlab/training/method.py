"""Base classes: a training algorithm with its networks (Method), its options (Config), and TrainOptions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from genlab.core.picture import MOST, Pictures, in_rows
from genlab.core.ranges import Count, Length, OpenShare, Positive, Range, Seed, Steps, check
from genlab.training.schedules import ScheduleName, schedule, warm_up
from genlab.training.update import Update

Metrics = dict[str, Tensor]  # name -> scalar, on the device until it is logged
# (images so far, method in eval mode), or with the metrics of the last step as a third -> True to stop training
Hook = Callable[[int, "Method"], object] | Callable[[int, "Method", dict[str, float]], object]


class BatchStream(Protocol):
    """An endless, resumable iterator of batches; `images` counts the images drawn so far, over all ranks."""

    images: int

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]: ...
    def __next__(self) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class TrainOptions:
    """Options of training, the same for all methods."""

    images: Length = 600_000
    """length of training, in images"""
    batch: Count = 64
    """batch size, over all ranks"""
    seed: Seed = 0
    """random seed of weights, data order and noise"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """precision of the forward passes (autocast); bfloat16 is slow on CPUs without AMX or AVX-512 BF16"""
    channels_last: bool | None = None
    """memory format of the networks; none: channels last, but for instance normalisation and your own networks"""
    schedule: ScheduleName = "constant"
    """learning-rate schedule; step: drops after 1/2 and 3/4 of training; plateau: when best-by does not improve"""
    lr_decay: OpenShare = 0.1
    """learning-rate factor of each drop (schedules step and plateau) or of the whole training (exponential)"""
    warmup: Annotated[float, Range(0, 1, below=True)] = 0.0
    """fraction of training with linear warm-up of the learning rates"""
    clip: Positive | None = None
    """gradient clipping: maximal gradient norm per optimizer; none: no clipping"""
    half_life: Positive | None = None
    """half-life of the exponential moving average (EMA) of the weights, in images; none: no EMA"""
    save_every: Count = 100_000
    """images between checkpoints"""
    log_every: Count = 10_000
    """images between log entries"""
    best_by: str | None = None
    """keep the weights with the best validation metric, as in max:accuracy or min:bits_per_dim; needs --hold-out"""
    patience: Steps | None = None
    """early stopping by best-by: stop after this many of 20 evaluations without improvement; none: never"""
    plateau_patience: Steps = 2
    """schedule plateau: the learning rates drop after this many of 20 evaluations without improvement"""

    def __post_init__(self) -> None:
        check(self)

    def check_relations(self) -> None:
        if self.best_by is not None and not re.fullmatch("(max|min):.+", self.best_by):
            raise ValueError(f"--best-by must be as in max:accuracy or min:loss, got {self.best_by!r}")
        if self.patience is not None and self.best_by is None:
            raise ValueError(f"--patience needs --best-by, got {self.patience}")
        if self.schedule == "plateau" and self.best_by is None:
            raise ValueError("--schedule plateau needs --best-by, the measurement that it follows")
        if self.schedule == "plateau" and self.patience is not None and self.patience <= self.plateau_patience:
            raise ValueError(
                f"--patience must be above --plateau-patience {self.plateau_patience}, or training stops before the "
                f"first drop, got {self.patience}"
            )

    def learning_rate(self, progress: float) -> float:
        """The factor of all learning rates at `progress` in [0, 1], without the drops of schedule plateau."""
        return warm_up(schedule(self.schedule, self.lr_decay), self.warmup)(progress)


@dataclass(frozen=True)
class Config:
    """The options of a method, for the command line and config.json; `build` makes the method."""

    training: ClassVar[TrainOptions] = TrainOptions()
    """the default training options of this method"""
    takes: ClassVar[tuple[str, ...]] = ("images",)
    """the kinds of training data, keys of genlab.data.kinds.KINDS"""

    def __post_init__(self) -> None:
        check(self)

    def build(self, shape: tuple[int, int, int], classes: int) -> Method:
        """The untrained method for images of `shape` (C, H, W) with this number of classes.

        Raises:
            ValueError: the options do not fit the images; names the option and what is allowed.
        """
        raise NotImplementedError

    def own_code(self) -> list[str]:
        """The user's own code that `build` calls, as file.py:function; its hash is stored in config.json."""
        return []

    def check_data(self, data: Any) -> None:
        """Checks the training data before a run is created; does nothing by default.

        data: the training stream (genlab.data.Stream) from its start; batches may be drawn from it.

        Raises:
            ValueError: the data do not fit these options; names the option and what the images allow.
        """


class Method(nn.Module):
    """A training algorithm: networks, options, optimizers and one training step.

    A subclass takes its networks and its config: `GAN(generator, discriminator, GANConfig(lr=1e-4))`. All state that a
    resumed training needs must be in parameters, buffers or optimizers. Images are float32 (N, C, H, W) in [0, 1] as
    inputs and outputs of every method.
    """

    config: Config

    def __init__(self, config: Config | None = None):
        super().__init__()
        self.config = Config() if config is None else config

    def optimizers(self) -> dict[str, Optimizer]:
        """One optimizer per group of parameters that are updated together, by name."""
        raise NotImplementedError

    def step(self, data: BatchStream, update: Update) -> Metrics:
        """One iteration of the paper's algorithm: draws batches, calls `update(name, loss)`, returns scalars to log."""
        raise NotImplementedError

    def sanity_check(self, first: Metrics) -> str | None:
        """A warning if the metrics of the first step are implausible (a loss far from ln K, say), else None."""
        return None

    def evaluate(self, data: Any) -> dict[str, float]:
        """Metrics on held-out `data` (Images or Pair), by name."""
        return {}

    @torch.no_grad()
    def pictures(self, data: Any) -> Pictures:
        """Images in [0, 1] for the report, by name: tensors (N, C, H, W), or a Picture with labels; `data` (Images or
        Pair) is held out.

        By default 64 images of `sample`, and held-out images above their `reconstruct`, if the method has these.
        """
        self.eval()
        found: Pictures = {}
        sample, reconstruct = (getattr(self, name, None) for name in ("sample", "reconstruct"))
        if sample:
            found["samples"] = sample(64)
        if reconstruct:
            x = data.subset(slice(0, MOST)).x
            found["reconstructions"] = in_rows({"held out": x, "reconstructed": reconstruct(x)})
        return found

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device
