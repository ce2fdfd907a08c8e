"""Spatially transformed adversarial examples (stAdv): the image is resampled along a smooth flow field.

Xiao et al. 2018, arXiv:1801.02612: bilinear sampling (equation 1), objective L_adv + tau * L_flow (equations 2 to 4).

Departures. (1) Adam per example instead of L-BFGS with a line search. (2) The optimisation continues after its first
success, returns the adversarial example of the lowest L_flow, and stops when that has not fallen for `patience` steps.
(3) 1e-8 is added under the square root in L_flow, which has no gradient at a zero flow otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from attacks.core.drop import drops
from attacks.core.goal import Smallest, is_adversarial
from attacks.core.minimal import signed_margin
from attacks.core.model import Attack, Victim
from genlab.core.ranges import Range, Steps, Weight

SMALL = 1e-8  # under the square root of L_flow


def move(x: Tensor, flow: Tensor) -> Tensor:
    """x (N, C, H, W) sampled at each pixel's position plus flow (N, 2, H, W), in pixels (down, right); edges repeat.

    NaN in the flow is set to zero: sampling at NaN is undefined and may crash the process.
    """
    h, w = x.shape[2:]
    flow = flow.nan_to_num(0.0)
    row, column = torch.meshgrid(torch.arange(h).to(flow), torch.arange(w).to(flow), indexing="ij")
    down, right = flow[:, 0] + row, flow[:, 1] + column
    grid = torch.stack([2 * right / max(1, w - 1) - 1, 2 * down / max(1, h - 1) - 1], -1)
    return grid_sample(x.to(grid.dtype), grid, padding_mode="border", align_corners=True).to(x.dtype)


def roughness(flow: Tensor) -> Tensor:
    """(N,): L_flow (equation 4), the sum over neighbouring pixels of the norm of the difference of their flows."""

    def each_way(difference: Tensor) -> Tensor:
        return (difference.square().sum(1) + SMALL).sqrt().sub(math.sqrt(SMALL)).flatten(1).sum(1)

    return 2 * (each_way(flow.diff(dim=2)) + each_way(flow.diff(dim=3)))  # the paper counts every pair twice


@dataclass(frozen=True)
class Spatial(Attack):
    """stAdv for x (N, C, H, W). No ball: the flow is smooth, but the change of a pixel is not bounded.

    tau: weight of L_flow. confidence: logit margin to be reached. lr: learning rate of Adam, in pixels of displacement.
    patience: steps without improvement after which an example stops. Raises ValueError if x is not (N, C, H, W).
    """

    steps: Steps = 200
    tau: Weight = 0.05
    confidence: Weight = 0.0
    lr: Annotated[float, Range(0, 1e4, above=True)] = 0.05
    patience: Steps = 30
    targeted: bool = False

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        if x.ndim != 4:
            raise ValueError(f"Spatial takes images (N, C, H, W), got shape {tuple(x.shape)}.")
        best, rows = Smallest(x), torch.arange(len(x), device=x.device)
        flow = x.new_zeros(len(x), 2, *x.shape[2:])
        first, second = torch.zeros_like(flow), torch.zeros_like(flow)  # Adam's moments
        waited = torch.zeros_like(rows)
        for step in range(self.steps + 1):
            last = step == self.steps  # this pass only evaluates the last flow
            flow = flow.detach().requires_grad_(not last)
            with torch.set_grad_enabled(not last):
                moved = move(x, flow)
                logits, rough = f(moved), roughness(flow)
                distance = signed_margin(logits, y, self.targeted)  # to the goal, in logits
                objective = (distance + self.confidence).clamp_min(0) + self.tau * rough
            is_adv = is_adversarial(logits, y, self.targeted) & (distance + self.confidence <= 0)
            taken = best.offer(rows, moved.detach(), is_adv, rough.detach())
            if last:
                break
            grad = f.gradient(objective, flow)
            waited = torch.where(taken, 0, waited + best.is_adv[rows])
            if drops(step) and len(keep := (waited < self.patience).nonzero().squeeze(1)) < len(rows):
                if len(keep) == 0:
                    break
                x, y, rows, flow, grad, first, second, waited = (
                    t[keep] for t in (x, y, rows, flow, grad, first, second, waited)
                )
            first, second = 0.9 * first + 0.1 * grad, 0.999 * second + 0.001 * grad.square()
            ahead = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
            flow = flow.detach() - self.lr * ahead[0] / (ahead[1].sqrt() + 1e-8)
        return best.x
