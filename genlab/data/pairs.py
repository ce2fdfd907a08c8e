"""Paired data (input, target) made from single images, on their device, for every batch.

A Task is a callable: x (N, C, H, W) in [0, 1] -> (input, target), both of that shape and range. `task("inpainting:8")`
parses one; `paired` makes the pairs of a whole data set, for evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from genlab.core.registry import choose, unknown
from genlab.data.images import Images, Pair, to_float
from genlab.data.resize import luma
from genlab.data.seeds import generator
from genlab.data.styles import OF_GREY, STYLES

GREY = 0.5  # fill value of holes


class Task(Protocol):
    """x (N, C, H, W) in [0, 1] -> (input, target), each of that shape and range."""

    def __call__(self, x: Tensor, /) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class SuperResolution:
    """The input is downsampled by averaging `factor` x `factor` blocks, and enlarged again by repetition."""

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
    """The input has a grey square of `hole` x `hole` pixels at a random position; no mask is given."""

    hole: int = 8

    def __post_init__(self) -> None:
        if self.hole < 1:
            raise ValueError(f"a hole has a side of at least 1 pixel, got {self.hole}")

    def holes(self, x: Tensor) -> Tensor:
        """The masks of images x (N, C, H, W): bool (N, 1, H, W), a randomly placed square in each."""
        n, _, h, w = x.shape
        if self.hole > min(h, w):
            raise ValueError(f"a hole of {self.hole}x{self.hole} does not fit into images of {h}x{w}")
        row, column = (self.span(n, side, x.device) for side in (h, w))
        return (row[:, :, None] & column[:, None, :])[:, None]

    def span(self, n: int, side: int, device: torch.device) -> Tensor:
        """bool (n, side): True at `hole` consecutive positions, the first one uniformly distributed."""
        first = torch.randint(side - self.hole + 1, (n, 1), device=device)
        place = torch.arange(side, device=device)
        return (place >= first) & (place < first + self.hole)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.masked_fill(self.holes(x), GREY), x


@dataclass(frozen=True)
class Colour:
    """Colourisation: the input is the luma, in all three channels."""

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.shape[1] != 3:
            raise ValueError(f"colourisation needs images of 3 channels, these have {x.shape[1]}")
        return luma(x).expand_as(x), x


@dataclass(frozen=True)
class Edges:
    """The input is an edge map, black on white: edges where the luma of neighbours differs by `percent` or more."""

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
    """The target is the image in another style: one of `genlab.data.styles` that keeps the number of channels."""

    style: str = "night"

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.style not in (known := [name for name in STYLES if name not in OF_GREY]):
            raise ValueError(unknown(self.style, known, "style"))
        return x, STYLES[self.style](x)


TASKS: dict[str, Callable[[str], Task]] = {  # name -> task of the argument after the colon
    "super-resolution": lambda word: SuperResolution(number(word)),
    "inpainting": lambda word: Inpainting(number(word)),
    "edges": lambda word: Edges(number(word)),
    "partner": Partner,
}


def task(words: str) -> Task:
    """Parses super-resolution:FACTOR, inpainting:SIDE, edges:PERCENT, partner:STYLE or colour.

    Raises:
        ValueError: the name or its argument is invalid.
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
    """The next batch of a stream of two image sets: two independent batches (n, C, H, W).

    Raises:
        ValueError: the stream yields images with labels.
    """
    x, y = next(data)
    if y.ndim != 4:
        raise ValueError("this method needs two sets, as in --data unpaired:A,B; the data are one set")
    return x, y


def labelled_sides(data: Any) -> list[tuple[Tensor, Tensor]]:
    """The next batch of a stream of two image sets, with the labels: [(x_a, y_a), (x_b, y_b)], x (n, C, H, W), y (n,).

    Raises:
        ValueError: the stream is of one set, or does not yield labels beside two sets.
    """
    found = data.sides() if hasattr(data, "sides") else []
    if len(found) != 2:
        raise ValueError("this method needs two sets with labels, as in --data unpaired:A,B; the data are one set")
    return found


def paired(task: Task, images: Images, seed: int = 0) -> Pair:
    """An aligned Pair of inputs (rounded to 8 bits) and targets; `seed`: of the random parts of the task."""
    with torch.random.fork_rng():
        torch.manual_seed(generator("pairs", seed).initial_seed())
        parts = [task(to_float(part)) for part in images.pixels.split(1024)]
    given, wanted = (torch.cat(side).mul(255).round().byte() for side in zip(*parts))
    return Pair(replace(images, pixels=given), replace(images, pixels=wanted), aligned=True)
