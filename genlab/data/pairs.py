"""Pairs (input, target) made from single images, on their device, whenever a batch is drawn.

A task is a value: x (N, C, H, W) in [0, 1] -> two tensors of that shape and range, what is given and what is wanted.
`task("inpainting:8")` makes one from words; `paired` makes the pairs of a whole set, to measure by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from genlab.core.registry import choose, unknown
from genlab.data.images import Images, Pair, unit
from genlab.data.resize import luma
from genlab.data.seeds import generator
from genlab.data.styles import OF_GREY, STYLES

GREY = 0.5  # what a hole is filled with


class Task(Protocol):
    """x (N, C, H, W) in [0, 1] -> (input, target), each of that shape and range."""

    def __call__(self, x: Tensor, /) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class SuperResolution:
    """The input is the mean of every `factor` x `factor` pixels, in all of their places."""

    factor: int = 4

    def __post_init__(self) -> None:
        if self.factor < 2:
            raise ValueError(f"super-resolution enlarges by a whole factor of at least 2, got {self.factor}")

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if any(side % self.factor for side in x.shape[2:]):
            raise ValueError(f"images of {x.shape[2]}x{x.shape[3]} cannot be divided by the factor {self.factor}")
        return interpolate(avg_pool2d(x, self.factor), scale_factor=self.factor), x


@dataclass(frozen=True)
class Inpainting:
    """The input has a grey square of `hole` x `hole` pixels, anywhere, and says by its colour alone where that is."""

    hole: int = 8

    def __post_init__(self) -> None:
        if self.hole < 1:
            raise ValueError(f"a hole has a side of at least 1 pixel, got {self.hole}")

    def holes(self, x: Tensor) -> Tensor:
        """Where images x (N, C, H, W) are hidden: bool (N, 1, H, W), a square in a random place for each."""
        n, _, h, w = x.shape
        if self.hole > min(h, w):
            raise ValueError(f"a hole of {self.hole}x{self.hole} does not fit into images of {h}x{w}")
        row, column = (self.span(n, side, x.device) for side in (h, w))
        return (row[:, :, None] & column[:, None, :])[:, None]

    def span(self, n: int, side: int, device: torch.device) -> Tensor:
        """bool (n, side): True in `hole` neighbouring places, the first of them uniform."""
        first = torch.randint(side - self.hole + 1, (n, 1), device=device)
        place = torch.arange(side, device=device)
        return (place >= first) & (place < first + self.hole)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.masked_fill(self.holes(x), GREY), x


@dataclass(frozen=True)
class Colour:
    """The input is grey: the luma, in all three channels."""

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.shape[1] != 3:
            raise ValueError(f"only images of 3 channels can lose their colour, these have {x.shape[1]}")
        return luma(x).expand_as(x), x


@dataclass(frozen=True)
class Edges:
    """The input is a drawing, black on white: a line where the luma of two neighbours differs by `percent` or more."""

    percent: int = 10

    def __post_init__(self) -> None:
        if not 1 <= self.percent <= 100:
            raise ValueError(f"edges are differences of 1 to 100 percent, got {self.percent}")

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        grey = luma(x) if x.shape[1] == 3 else x
        right, below = grey.diff(dim=3, append=grey[..., -1:]), grey.diff(dim=2, append=grey[..., -1:, :])
        line = torch.maximum(right.abs(), below.abs()) >= self.percent / 100
        return (~line).to(x.dtype).expand_as(x), x


@dataclass(frozen=True)
class Partner:
    """The target is the image in another style, one of those of `genlab.data.styles` that keep the channels."""

    style: str = "night"

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.style not in (known := [name for name in STYLES if name not in OF_GREY]):
            raise ValueError(unknown(self.style, known, "style"))
        return x, STYLES[self.style](x)


TASKS: dict[str, Callable[[str], Task]] = {  # name -> task, from the word after the colon
    "super-resolution": lambda word: SuperResolution(number(word)),
    "inpainting": lambda word: Inpainting(number(word)),
    "edges": lambda word: Edges(number(word)),
    "partner": Partner,
}


def task(words: str) -> Task:
    """super-resolution:FACTOR, inpainting:SIDE, edges:PERCENT, partner:STYLE or colour.

    Raises:
        ValueError: there is no such task, or not with such a number or style.
    """
    if words == "colour":
        return Colour()
    name, _, word = words.partition(":")
    return TASKS[choose(name, [*TASKS, "colour"], "task")](word)


def number(word: str) -> int:
    if not word.isdecimal():
        raise ValueError(f"this task needs a whole number after its name, as in inpainting:8, got {word!r}")
    return int(word)


def sides(data: Iterator[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The next batches of the two sets of a stream, (n, C, H, W) each, which have nothing to do with each other."""
    x, y = next(data)
    if y.ndim != 4:
        raise ValueError("this method learns from two sets, as in --data unpaired:A,B; the data are one, with labels")
    return x, y


def single(data: Iterator[tuple[Tensor, Tensor]]) -> Tensor:
    """The next batch (n, C, H, W) of a stream of one set."""
    x, y = next(data)
    if y.ndim == 4:
        raise ValueError("this method makes its pairs from one set of images, as in --data glyphs; the data are two")
    return x


def paired(task: Task, images: Images, seed: int = 0) -> Pair:
    """Inputs in 8 bits and targets, aligned; `seed` decides what is random in the task."""
    with torch.random.fork_rng():
        torch.manual_seed(generator("pairs", seed).initial_seed())
        parts = [task(unit(part)) for part in images.pixels.split(1024)]
    given, wanted = (torch.cat(side).mul(255).round().byte() for side in zip(*parts))
    return Pair(replace(images, pixels=given), replace(images, pixels=wanted), aligned=True)
