"""Toy data: points of known distributions.

ring, grid       mixtures of 8 and 25 Gaussians; Metz et al. 2017, arXiv:1611.02163, section 3.1, and Srivastava et al.
                 2017, arXiv:1705.07761, section 4.1
swiss_roll       a spiral in the plane, without modes
gaussian         one Gaussian on the line
segment          a vertical line of length 1 at x; Arjovsky et al. 2017, arXiv:1701.07875, example 1
lower_triangle   4x4 matrices with entries U(1, 5) on and below the diagonal and 0 above, as rows of 16

A set is sampled once, from a seed; Stream makes batches of it. Coordinates are not limited to [0, 1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from genlab.data.seeds import generator


@dataclass(frozen=True, eq=False)
class Points:
    """x: float32 (N, D); labels: int64 (N,), the mode of each point; centres: (K, D); spread: std of a mode.

    A set without modes has K = 0, and all labels are 0.
    """

    x: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)
    centres: Tensor = field(repr=False)
    spread: float
    name: str

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or not self.x.is_floating_point():
            raise ValueError(f"points must be float (N, D), not {self.x.dtype} {tuple(self.x.shape)}")
        if self.labels.shape != self.x.shape[:1] or self.centres.shape[1:] != self.x.shape[1:]:
            shapes = tuple(self.labels.shape), tuple(self.centres.shape)
            raise ValueError(f"labels and centres {shapes} do not fit points {tuple(self.x.shape)}")

    def __len__(self) -> int:
        return len(self.x)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape[1:])

    @property
    def device(self) -> torch.device:
        return self.x.device

    def to(self, device: torch.device | str) -> Points:
        moved = {name: getattr(self, name).to(device) for name in ("x", "labels", "centres")}
        return replace(self, **moved)

    def gather(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """index int64 (n,), on the set's device -> points (n, D), labels (n,)."""
        return self.x.index_select(0, index), self.labels.index_select(0, index)

    def coverage(self, fake: Tensor, least: float = 0.1) -> Coverage:
        """Mode coverage of generated points `fake` (n, D).

        A point is of high quality within three standard deviations of its nearest centre (Srivastava et al. 2017,
        section 4.1). A mode is covered if it gets at least the fraction `least` of n / K such points, and at least one.
        `least` = 0 is the count of the paper, which a few scattered points satisfy.

        Raises:
            ValueError: the set has no modes.
        """
        if not len(self.centres):
            raise ValueError(f"{self.name} has no modes to cover")
        distance, nearest = torch.cdist(fake.to(self.centres), self.centres).min(dim=1)
        good = distance <= 3 * self.spread
        counts = nearest[good].bincount(minlength=len(self.centres))
        covered = counts >= max(1.0, least * len(fake) / len(self.centres))
        return Coverage(int(covered.sum()), good.double().mean().item(), counts)


@dataclass(frozen=True)
class Coverage:
    """modes: number of covered modes; quality: share of high-quality points; counts: int64 (K,), of these per mode."""

    modes: int
    quality: float
    counts: Tensor = field(repr=False)


def mixture(centres: Tensor, spread: float, n: int, seed: int, name: str) -> Points:
    """n points of a mixture of K equally weighted isotropic Gaussians around `centres` (K, D)."""
    g = generator(name, seed)
    labels = torch.randint(len(centres), (n,), generator=g)
    noise = torch.randn(n, centres.shape[1], generator=g)
    return Points(centres[labels] + spread * noise, labels, centres, spread, name)


def ring(n: int = 50_000, modes: int = 8, radius: float = 2.0, spread: float = 0.02, seed: int = 0) -> Points:
    """Gaussians evenly spaced on a circle."""
    angle = torch.arange(modes) * (2 * math.pi / modes)
    return mixture(radius * torch.stack([angle.cos(), angle.sin()], 1), spread, n, seed, f"ring of {modes}")


def grid(n: int = 50_000, side: int = 5, gap: float = 2.0, spread: float = 0.05, seed: int = 0) -> Points:
    """A grid of side x side Gaussians with distance `gap`, centred at the origin."""
    line = gap * (torch.arange(side) - (side - 1) / 2)
    return mixture(torch.cartesian_prod(line, line), spread, n, seed, f"grid of {side * side}")


def gaussian(mean: float = 0.0, std: float = 1.0, n: int = 50_000, seed: int = 0) -> Points:
    """N(mean, std²) on the line: x is (n, 1)."""
    return mixture(torch.tensor([[mean]]), std, n, seed, f"N({mean:g}, {std:g}²)")


def swiss_roll(n: int = 50_000, spread: float = 0.05, seed: int = 0) -> Points:
    """A spiral of one and a half turns, radius 0.67 to 2, uniform in angle."""
    g = generator("swiss roll", seed)
    angle = math.pi * (1.5 + 3 * torch.rand(n, generator=g))
    x = torch.stack([angle.cos(), angle.sin()], 1) * (2 * angle / (4.5 * math.pi))[:, None]
    return without_modes(x + spread * torch.randn(n, 2, generator=g), "swiss roll", spread)


def segment(x: float = 0.0, n: int = 50_000, seed: int = 0) -> Points:
    """(x, Z) with Z uniform on [0, 1]: segments at different x have disjoint supports."""
    height = torch.rand(n, generator=generator(f"segment at {x:g}", seed))
    return without_modes(torch.stack([torch.full((n,), x), height], 1), f"segment at {x:g}")


def lower_triangle(n: int = 50_000, side: int = 4, low: float = 1.0, high: float = 5.0, seed: int = 0) -> Points:
    """Lower-triangular side x side matrices with independent entries U(low, high), flattened row by row."""
    entries = low + (high - low) * torch.rand(n, side, side, generator=generator("lower triangle", seed))
    return without_modes(entries.tril().flatten(1), "lower triangle")


def without_modes(x: Tensor, name: str, spread: float = 0.0) -> Points:
    """The points x (n, D) as a set."""
    return Points(x, torch.zeros(len(x), dtype=torch.int64), x.new_empty(0, x.shape[1]), spread, name)
