"""PDGD and PDPGD: the smallest perturbation as a saddle point, by (proximal) primal-dual gradient descent.

Matyasko, Chau 2021, arXiv:2106.01538. The Lagrangian lambda_0 |d| + lambda_1 softplus(margin) (eq. 5), with the
multipliers on the simplex, is lowered in d by Adam and raised in the multipliers along the sign of the margin.
PDGD takes the gradient of the L2 norm; PDPGD, for norms that are not smooth, replaces it by the proximal operator of
the norm in the metric of Adam, as in proximal Adam (Melchior, Joseph, Moolekamp 2019, arXiv:1910.10094). The proximal
operator for L0 is that of the L_2/3 quasi-norm. Settings are those of the authors' code.

Departure: the iterates swing about the boundary, so the best one is moved along it at the end (`polish`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from attacks.core.goal import Smallest
from attacks.core.minimal import Adam, MinimalAttack, Norm, clearly_adversarial, judged, polish, project, size
from attacks.core.model import Victim
from genlab.core.ranges import Positive, Range, Steps

LR_END, DUAL_LR_END = 0.01, 0.1  # learning rates at the end, relative to those at the start
RATIO = 1e6  # of the two multipliers, at most
SMOOTHING = 0.1  # weight of the newest multipliers in their running mean, as in the code
INNER = 5  # rounds of proximal Adam


@dataclass(frozen=True)
class PDGD(MinimalAttack):
    """Smallest L2 perturbation. lr: of Adam; dual_lr: of the multipliers; ratio: lambda_0 / lambda_1 at the start.

    polish: rounds of refinement at the end.
    """

    steps: Steps = 200
    lr: Positive = 0.1
    dual_lr: Positive = 0.1
    ratio: Positive = 0.01
    polish: Annotated[int, Range(0, 10**6)] = 12
    targeted: bool = False
    norm: ClassVar[Norm] = "l2"

    def search(self, f: Victim, x: Tensor, y: Tensor, start: Tensor) -> Smallest:
        best, at, adam = Smallest(x), start.detach(), Adam(x)
        dual = torch.full((len(x),), -math.log(self.ratio), dtype=x.dtype, device=x.device)  # log(lambda_1 / lambda_0)
        weight = torch.sigmoid(dual)  # lambda_1 = 1 - lambda_0, as a running mean
        for step in range(self.steps):
            is_adv, loss = judged(f(at.requires_grad_()), y, self.targeted)
            grad = f.gradient(self.lagrangian(at - x, softplus(loss), weight), at)
            at = at.detach()
            best.offer(slice(None), at, is_adv, size(at - x, self.norm))
            done = step / self.steps
            lr = self.lr * LR_END**done
            moved = (at - lr * adam.step(grad)).clamp(0, 1)
            at = x + self.shrink(moved - x, x, (1 - weight) / weight, lr, adam.root)
            dual_lr = self.dual_lr * (1 - (1 - DUAL_LR_END) * done)
            dual = (dual + dual_lr * torch.where(is_adv, -1.0, 1.0)).clamp(-math.log(RATIO), math.log(RATIO))
            weight = weight.lerp(torch.sigmoid(dual), SMOOTHING)
        best.offer(slice(None), at, clearly_adversarial(f.query(at), y, self.targeted), size(at - x, self.norm))
        polish(f, x, y, best, self.norm, self.polish, self.targeted)
        return best

    def lagrangian(self, d: Tensor, lost: Tensor, weight: Tensor) -> Tensor:
        """(N,): its smooth part."""
        return (1 - weight) * (d.flatten(1).square().sum(1) + 1e-12).sqrt() + weight * lost

    def shrink(self, d: Tensor, x: Tensor, price: Tensor, lr: float, root: Tensor) -> Tensor:
        """d after the proximal step of the other part: none here."""
        return d


@dataclass(frozen=True)
class PDPGD(PDGD):
    """Smallest perturbation in `norm`, with the proximal operator of the norm."""

    norm: Norm = "l1"  # type: ignore[misc]

    def lagrangian(self, d: Tensor, lost: Tensor, weight: Tensor) -> Tensor:
        return lost

    def shrink(self, d: Tensor, x: Tensor, price: Tensor, lr: float, root: Tensor) -> Tensor:
        """Proximal Adam: argmin over z in the box of price |z| + |z - d|^2 / (2 lr) in the metric `root`, by gradient
        steps on the second term, each followed by the proximal operator of the first."""
        most = size(root, "linf")
        level = price * lr / most
        pace = root / most.view(-1, *[1] * (d.ndim - 1))
        z = d
        for _ in range(INNER):
            z = (x + proximal(z - pace * (z - d), level, self.norm)).clamp(0, 1) - x
        return z


def proximal(d: Tensor, level: Tensor, norm: Norm) -> Tensor:
    """argmin over z of level |z| + |z - d|_2^2 / 2, for d (N, ...) and level (N,); L0 stands for L_2/3 to the 2/3."""
    if norm == "l0":
        return two_thirds(d, level.view(-1, *[1] * (d.ndim - 1)))
    dual: Norm = {"l1": "linf", "l2": "l2", "linf": "l1"}[norm]  # type: ignore[assignment]
    return d - project(d, level, dual)  # Moreau's identity


def two_thirds(d: Tensor, level: Tensor) -> Tensor:
    """The proximal operator of level * |d|^(2/3), per entry, in closed form (the largest root of a quartic)."""
    wide = d.abs().double()
    square, cube = wide.square() / 16, (8 / 729) * level.double() ** 3
    inner = (square.square() - cube).clamp_min(0).sqrt()
    t = 2 * ((square + inner) ** (1 / 3) + (square - inner).clamp_min(0) ** (1 / 3))
    root = t.sqrt()
    z = ((root + (2 * wide / root.clamp_min(1e-30) - t).clamp_min(0).sqrt()) / 2) ** 3
    kept = wide >= 2 * (2 / 3 * level.double()) ** 0.75
    return torch.where(kept, z, 0).to(d.dtype).copysign(d)
