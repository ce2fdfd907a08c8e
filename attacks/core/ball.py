"""Perturbation sets {d : |d|_p <= eps}: norm, steepest direction, projection and random points of each norm.

eps is in pixel units of [0, 1]; d is (N, ...) and every operation is per example. To add a norm, add a class here.
Because clean pixels lie in [0, 1], clipping x + d to [0, 1] shrinks every |d_i|, so projecting first and clipping
second satisfies both constraints for every p. In L1 that would waste most of the budget, so there the projection onto
ball and box together is exact (Croce, Hein 2021, arXiv:2103.01208, Proposition 2.1).
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

TINY = 1e-30  # in place of a norm of zero


def scale(d: Tensor, factor: Tensor) -> Tensor:
    """d (N, ...) times factor (N,), one per example."""
    return d * factor.view(-1, *[1] * (d.ndim - 1))


def lengths(d: Tensor, order: float) -> Tensor:
    """(N, 1, ...): the norm of every d (N, ...), in a shape by which d can be divided."""
    return torch.linalg.vector_norm(d, order, tuple(range(1, d.ndim)), keepdim=True)


@dataclass(frozen=True)
class Ball(ABC):
    """Perturbations of norm at most eps. Raises ValueError for an eps that is not allowed."""

    eps: Annotated[float, Range(0, 1e6)]
    name: ClassVar[str]
    near: ClassVar[float] = 1.0  # share of eps within which an ascent best starts

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

    def step(self, x: Tensor, grad: Tensor, size: float) -> Tensor:
        """Steepest-ascent step of norm `size` from x (N, ...); in L1 it stays in the box."""
        return self.steepest(grad).mul_(size)

    @abstractmethod
    def project(self, d: Tensor) -> Tensor:
        """Projection of d (N, ...) onto the ball, a new tensor."""

    def within(self, x: Tensor, d: Tensor) -> Tensor:
        """x + d (N, ...), brought into the ball around x and into [0, 1]; x in [0, 1]."""
        return self.project(d).add_(x).clamp_(0, 1)

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
    near: ClassVar[float] = 0.1  # nearly all of the ball lies at its rim, where PGD finds fewer adversarial examples

    def size(self, d: Tensor) -> Tensor:
        return torch.linalg.vector_norm(d.flatten(1), dim=1)

    def steepest(self, grad: Tensor) -> Tensor:
        # A confident model's gradient may be 1e-25: its square underflows, so bring the largest entry to 1 first.
        d = grad / lengths(grad, math.inf).clamp_min_(torch.finfo(grad.dtype).tiny)
        return d.div_(lengths(d, 2).clamp_min_(1))

    def project(self, d: Tensor) -> Tensor:
        return d / (lengths(d, 2).div_(max(self.eps, torch.finfo(d.dtype).tiny))).clamp_min_(1)

    def random(self, x: Tensor, seed: int = 0, draw: int = 0) -> Tensor:
        radius = noise.uniform(noise.key(x, seed), (), draw) ** (1 / max(1, math.prod(x.shape[1:])))
        return scale(self.surface(x, seed, draw), radius.to(x.dtype))

    def surface(self, x: Tensor, seed: int = 0, draw: int = 0) -> Tensor:
        return self.steepest(noise.normal(noise.key(x, seed), x.shape[1:], draw).to(x.dtype)) * self.eps


@dataclass(frozen=True)
class L1(Ball):
    """L1: the changes of all entries of one image add up to at most eps; the strongest changes are sparse."""

    name: ClassVar[str] = "l1"

    def size(self, d: Tensor) -> Tensor:
        return torch.linalg.vector_norm(d.flatten(1), 1, dim=1)

    def steepest(self, grad: Tensor) -> Tensor:
        flat = grad.flatten(1)
        top = flat.abs().argmax(1, keepdim=True)
        return torch.zeros_like(flat).scatter_(1, top, flat.gather(1, top).sign()).view_as(grad)

    def step(self, x: Tensor, grad: Tensor, size: float) -> Tensor:
        """The entries with the largest gradients go to the end of the box, one after the other (Proposition 2.2)."""
        flat = grad.flatten(1)
        order = flat.abs().argsort(dim=1, descending=True, stable=True)
        room = torch.where(grad > 0, 1 - x, x).flatten(1).mul_(flat != 0).gather(1, order)
        moved = torch.minimum(room, (size - (room.cumsum(1) - room)).clamp_min_(0))
        return torch.zeros_like(flat).scatter_(1, order, moved).mul_(flat.sign()).view_as(grad)

    def project(self, d: Tensor) -> Tensor:
        return soft_threshold(d, self.eps)

    def within(self, x: Tensor, d: Tensor) -> Tensor:
        """The point of ball and box that is nearest to x + d.

        Every entry moves by clamp(|d| - level, 0, room), where room is the distance to the box. The sum of these falls
        with the level and is linear between kinks at |d| and |d| - room, which are sorted; the level is where the sum
        is eps, or 0.
        """
        size, room = d.abs().flatten(1), torch.where(d > 0, 1 - x, x).flatten(1)
        room = torch.minimum(room, size)
        kinks, order = torch.cat([size, size - room], 1).sort(dim=1, descending=True)
        slope = torch.where(order < size.shape[1], 1.0, -1.0).to(d.dtype).cumsum(1)[:, :-1]
        total = (slope * (kinks[:, :-1] - kinks[:, 1:])).cumsum(1)  # at kinks[:, 1:]
        right = (total < self.eps).sum(1, keepdim=True).clamp_max(total.shape[1] - 1)
        level = kinks.gather(1, right + 1) + (total.gather(1, right) - self.eps) / slope.gather(1, right).clamp_min(1)
        moved = _at_most(self.eps, torch.minimum(room, (size - level.clamp_min(0)).clamp_min_(0)))
        return moved.view_as(d).mul_(d.sign()).add_(x).clamp_(0, 1)

    def random(self, x: Tensor, seed: int = 0, draw: int = 0) -> Tensor:
        signed = self._exponential(x, seed, draw)
        return self._entries(signed, x) * (self.eps / signed.abs().sum(1)).view(-1, *[1] * (x.ndim - 1)).to(x.dtype)

    def surface(self, x: Tensor, seed: int = 0, draw: int = 0) -> Tensor:
        return self.unit(self._entries(self._exponential(x, seed, draw), x)) * self.eps

    @staticmethod
    def _exponential(x: Tensor, seed: int, draw: int) -> Tensor:
        """(N, D + 1) for images of D entries: exponential variables of random sign, uniform in the ball when D of them
        are divided by the sum of the sizes of all."""
        u = noise.uniform(noise.key(x, seed), (math.prod(x.shape[1:]) + 1,), draw).mul_(2).sub_(1)
        return u.abs().clamp_min_(2.0**-25).log_().neg_().copysign_(u)

    @staticmethod
    def _entries(signed: Tensor, x: Tensor) -> Tensor:
        return signed[:, :-1].reshape(x.shape).to(x.dtype)


def soft_threshold(d: Tensor, radius: Tensor | float) -> Tensor:
    """Projection of d (N, ...) onto the L1 ball of `radius`, (N,) or one for all.

    The level is found by sorting (Duchi et al. 2008, "Efficient projections onto the l1-ball").
    """
    flat = d.flatten(1)
    ordered = flat.abs().sort(dim=1, descending=True).values
    sums = ordered.cumsum(1)
    if isinstance(radius, Tensor):
        radius = radius[:, None]
    count = torch.arange(1, flat.shape[1] + 1, device=d.device)
    level = ((sums - radius) / count).amax(1, keepdim=True).clamp_min(0)
    return (_at_most(radius, (flat.abs() - level).clamp_min(0)) * flat.sign()).view(d.shape)


def _at_most(radius: Tensor | float, moved: Tensor) -> Tensor:
    """moved (N, D), at least 0, scaled down to a sum of `radius`: to remove the rounding errors of a high level."""
    return moved * (radius / moved.sum(1, keepdim=True).clamp_min(TINY)).clamp_max(1)
