"""Logs of a training beside metrics.jsonl: TensorBoard, Weights & Biases, trackio, or one of the user.

Their packages are optional extras, imported when a log is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Protocol

from PIL.Image import Image

from genlab.core.registry import choose
from genlab.run import Run, flatten

PROJECT = "genlab"


class Logger(Protocol):
    """Receives what a training reports; `images` is the number of training images seen."""

    def scalars(self, images: int, values: dict[str, float]) -> None:
        """Metrics by name."""

    def picture(self, images: int, name: str, picture: Image) -> None:
        """A grid of sample images."""

    def close(self) -> None:
        """The training has ended."""


class TensorBoard:
    """Event files in the folder tensorboard/ of the run; the options are a text."""

    def __init__(self, run: Run, images: int) -> None:
        writer = _imported("torch.utils.tensorboard", "tensorboard").SummaryWriter
        self.writer = writer(str(run.path / "tensorboard"), purge_step=images + 1)
        lines = (f"| {name} | {value} |" for name, value in flatten(run.experiment).items())
        self.writer.add_text("config", "\n".join(["| option | value |", "|---|---|", *lines]), images)

    def scalars(self, images: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, images)

    def picture(self, images: int, name: str, picture: Image) -> None:
        import numpy as np

        self.writer.add_image(name, np.asarray(picture.convert("RGB")), images, dataformats="HWC")

    def close(self) -> None:
        self.writer.close()


class Tracker:
    """Weights & Biases and trackio, which have the same interface; a resumed run continues its old log."""

    def __init__(self, package: str, run: Run, images: int) -> None:
        self.module = _imported(package, package)
        own = {"id": f"{run.path.name}-{run.identity[:8]}", "dir": str(run.path)} if package == "wandb" else {}
        name = run.path.resolve().name
        self.module.init(project=PROJECT, name=name, config=flatten(run.experiment), resume="allow", **own)

    def scalars(self, images: int, values: dict[str, float]) -> None:
        self.module.log({"images": images, **values}, step=images)

    def picture(self, images: int, name: str, picture: Image) -> None:
        self.module.log({name: self.module.Image(picture.convert("RGB"))}, step=images)

    def close(self) -> None:
        self.module.finish()


LOGGERS: dict[str, Callable[[Run, int], Logger]] = {
    "tensorboard": TensorBoard,
    "wandb": lambda run, images: Tracker("wandb", run, images),
    "trackio": lambda run, images: Tracker("trackio", run, images),
}
PACKAGES = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb", "trackio": "trackio"}


def check_loggers(names: Sequence[str | Logger]) -> None:
    """
    Raises:
        ValueError: a name is unknown, or its package is not installed.
    """
    for name in names:
        if isinstance(name, str):
            _imported(PACKAGES[choose(name, LOGGERS, "log")], name)


def open_loggers(names: Sequence[str | Logger], run: Run, images: int) -> list[Logger]:
    """The logs `names` (names of LOGGERS, or loggers) of `run`, whose training begins or goes on after `images`."""
    return [LOGGERS[each](run, images) if isinstance(each, str) else each for each in names]


def _imported(module: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ValueError(f"--log {extra} needs a package: pip install 'genlab[{extra}]' ({error})") from None
