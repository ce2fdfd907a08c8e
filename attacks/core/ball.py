"""Perturbation sets {d : |d|_p <= eps}: norm, steepest direction, projection and random points of each norm.

eps is in pixel units of [0, 1]; d is (N, ...) and every operation is per example. To add a norm, add a class here.
Because clean pixels lie in [0, 1], clipping x + d to [0, 1] shrinks every |d_i|, so projecting first and clipping
second satisfies both constraints for every p.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Self

import torch
from torch import Tensor

from attacks.core import random as noise
from genlab.core.ranges import Eps, Range, check


def scale(d: Tensor, factor: Tensor) -> Tensor:
    """d (N, ...) times factor (N,), one per example."""
    return d * factor.view(-1, *[1] * (d.ndim - 1))


@dataclass(frozen=True)
class Ball(ABC):
    """Perturbations of norm at most eps. Raises ValueError for an eps that is not allowed."""

    eps: Annotated[float, Range(0, 1e6)]
    name: ClassVar[str]

    def __post_init__(self) -> None:
        check(self)

    def at(self, eps: float) -> Self:
        """The same norm with another radius."""
        return replace(self, eps=eps)

    @abstractmethod
    def size(self, d: Tensor) -> Tensor:
        """(N,): the norm of each perturbation d (N, ...); independent of eps."""

    @abstractmethod
    def steepest(self, grad: Tensor) -> Tensor:
        """Steepest-ascent direction: argmax of <grad, d> over |d| <= 1; zero where the gradient is zero."""

    @abstractmethod
    def project(self, d: Tensor) -> Tensor:
        """Projection of d (N, ...) onto the ball."""

    @abstractmethod
    def random(self, x: Tensor, seed: int = 0, draw: int = 0) -> Tensor:
        """Uniform random point of the ball per example; a function of the example's pixels, seed and draw only."""

    @abstractmethod
    def surface(self, x: Tensor, seed: int = 0, draw: int = 0) -> Tensor:
        """Random point with norm eps per example, a function of the example's pixels, seed and draw only."""

    def unit(self, d: Tensor) -> Tensor:
        """d scaled to norm 1; zero stays zero."""
        size = self.size(d)
        return scale(d, torch.where(size > 0, 1 / size, 0))


@dataclass(frozen=True)
class Linf(Ball):
    """L-infinity: every entry changes by at most eps."""

    eps: Eps
    name: ClassVar[str] = "linf"

    def size(self, d: Tensor) -> Tensor:
        return torch.linalg.vector_norm(d.flatten(1), math.inf, dim=1)

    def steepest(self, grad: Tensor) -> Tensor:
        return grad.sign()

    def project(self, d: Tensor) -> Tensor:
        return d.clamp(-self.eps, self.eps)

    def random(self, x: Tensor, seed: int = 0, draw: int = 0) -> Tensor:
        u = noise.uniform(noise.key(x, seed), x.shape[1:], draw)
        return u.mul_(2).sub_(1).mul_(self.eps).to(x.dtype)

    def surface(self, x: Tensor, seed: int = 0, draw: int = 0) -> Tensor:
        u = noise.uniform(noise.key(x, seed), x.shape[1:], draw)
        return torch.where(u < 0.5, -self.eps, self.eps).to(x.dtype)


@dataclass(frozen=True)
class L2(Ball):
    """L2: the Euclidean norm of the perturbation of one image is at most eps."""

    name: ClassVar[str] = "l2"

    def size(self, d: Tensor) -> Tensor:
        return torch.linalg.vector_norm(d.flatten(1), dim=1)

    def steepest(self, grad: Tensor) -> Tensor:
        # A confident model's gradient may be 1e-25: its square underflows, so bring the largest entry to 1 first.
        peak = torch.linalg.vector_norm(grad.flatten(1), math.inf, dim=1)
        d = grad / peak.clamp_min(torch.finfo(grad.dtype).tiny).view(-1, *[1] * (grad.ndim - 1))
        return scale(d, 1 / self.size(d).clamp_min(1))

    def project(self, d: Tensor) -> Tensor:
        return scale(d, (self.eps / self.size(d).clamp_min(torch.finfo(d.dtype).tiny)).clamp_max(1))

    def random(self, x: Tensor, seed: int = 0, draw: int = 0) -> Tensor:
        radius = noise.uniform(noise.key(x, seed), (), draw) ** (1 / max(1, math.prod(x.shape[1:])))
        return scale(self.surface(x, seed, draw), radius.to(x.dtype))

    def surface(self, x: Tensor, seed: int = 0, draw: int = 0) -> Tensor:
        return self.steepest(noise.normal(noise.key(x, seed), x.shape[1:], draw).to(x.dtype)) * self.eps
