"""What the minimal-norm attacks share: norms by name, gradients class by class, hyperplanes seen from inside the box.

None of them has a ball: they look for the smallest change that fools the model and return the original where they find
none. A success must be clear of rounding, because a point on the very boundary changes sides with the batch size: the
lead is beaten by `slack`, and attacks aim at twice that, so that no step is lost in the rounding of the logits.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from attacks.core.ball import scale
from attacks.core.goal import Smallest, chosen, margin
from attacks.core.model import Victim
from attacks.core.precision import widened

ORDER = {"l0": 0.0, "l1": 1.0, "l2": 2.0, "linf": math.inf}
UNITS = 2  # in the last place of the largest logit: each of two logits may be off by one
SLACK = 1e-5  # of the logits' spread
MOST = 1e10  # weight of the loss above which a search gives up


def size(d: Tensor, norm: str) -> Tensor:
    """(N,): the norm of each perturbation (N, ...)."""
    return torch.linalg.vector_norm(d.flatten(1), ORDER[norm], dim=1)


def slack(logits: Tensor) -> Tensor:
    """(N,): the lead that rounding may make or break, without a graph.

    `UNITS` in the last place of the largest logit, in the logits' own dtype, or `SLACK` times the spread of the logits,
    whichever is larger. The spread does not grow with a number that is added to all logits.
    """
    low, high = widened(logits.detach()).aminmax(dim=1)
    unit = torch.finfo(logits.dtype).eps * torch.maximum(-low, high)
    return torch.maximum(UNITS * unit, SLACK * (high - low))


def gap(logits: Tensor, y: Tensor, targeted: bool) -> Tensor:
    """(N,): what must fall below zero: the lead of y over the best other class or, if targeted, its arrears."""
    lead = margin(logits, y)
    return -lead if targeted else lead


def fooled(logits: Tensor, y: Tensor, targeted: bool, confidence: float = 0.0) -> Tensor:
    """(N,) bool: on the wanted side by more than `confidence` and than the slack."""
    return gap(logits, y, targeted) < -slack(logits).clamp_min(confidence)


def lacking(logits: Tensor, y: Tensor, targeted: bool, confidence: float = 0.0) -> Tensor:
    """(N,): what an attack lowers to zero, where it is `fooled` and by as much as the slack beyond."""
    clear = slack(logits)
    return gap(logits, y, targeted) + clear.clamp_min(confidence) + clear


def gradients(f: Victim, objectives: Tensor, x: Tensor) -> Tensor:
    """d objectives / d x, (N, R, ...), for objectives (N, R): R backward passes over the graph of one forward pass.

    Repeating the inputs instead would pay for the forward pass R times.
    """
    columns = list(objectives.sum(0))
    rows = [f.gradient(column, x, retain_graph=True) for column in columns[:-1]]
    return torch.stack([*rows, f.gradient(columns[-1], x)], 1)


def cross(x: Tensor, w: Tensor, rise: Tensor, norm: str, rounds: int = 12) -> Tensor:
    """The smallest d, in L2 or Linf, with <w, d> = rise and x + d in the box; else the far corner of the box.

    x, w: (N, ...), rise: (N,), of either sign. d = clip(t u, -x, 1 - x) with u = w (L2) or sign(w) (Linf); <w, d> is
    increasing, concave and piecewise linear in t, so Newton's method from t = 0 never overshoots and needs few rounds.
    """
    u = scale(w.sign() if norm == "linf" else w, rise.sign())
    u = scale(u, 1 / size(u, "linf").clamp_min(torch.finfo(u.dtype).tiny))
    pace, weight, rise = u.abs(), w.abs(), rise.abs()
    room = torch.where(u > 0, 1 - x, x)  # how far each pixel may move along u
    speed = (weight * pace).flatten(1)
    t = torch.zeros_like(rise)
    for _ in range(rounds):
        moved = torch.minimum(scale(pace, t), room)
        left = rise - (weight * moved).flatten(1).sum(1)
        slope = (speed * (moved < room).flatten(1)).sum(1)
        t = t + torch.where((left > 0) & (slope > 0), left / slope, 0)
    return u.sign() * torch.minimum(scale(pace, t), room)


def polish(
    f: Victim, x: Tensor, y: Tensor, best: Smallest, norm: str, rounds: int, targeted: bool = False, shy: float = 0.02
) -> None:
    """Slide the successes in `best` along the boundary towards the original, (L2 or Linf); a pass each way per round.

    Where the model is made linear at a success, the point of its boundary nearest to the original is known (`cross`);
    go a part of the way there, and on failure step back over the boundary once, then go half as far. The parts are the
    idea of FAB (Croce, Hein 2020, arXiv:1907.02044), the part's length is adapted per example instead of fixed. `shy`
    is by how much the boundary is overshot, relative to the step. An example is dropped when its part is below 1/50.
    """
    rows = (best.hit & (best.size > 0)).nonzero().squeeze(1)
    x, y, at = x[rows], y[rows], best.x[rows]
    aim, part = at, torch.full_like(best.size[rows], 0.5)
    back = torch.zeros_like(y, dtype=torch.bool)  # was the last step one back over the boundary?
    for step in range(rounds):
        if len(rows) == 0:
            return
        logits = f(at.requires_grad_())
        lead = lacking(logits, y, targeted)
        hit = fooled(logits.detach(), y, targeted)
        w = f.gradient(-lead.sum(), at)
        at, lead = at.detach(), lead.detach().to(x.dtype)
        better = best.offer(rows, at, hit, size(at - x, norm)) | (step == 0)
        rise = (w * (at - x)).flatten(1).sum(1) + lead
        aim = chosen(better, x + cross(x, w, rise * (1 + shy), norm), aim)
        over = at + cross(at, w, lead.clamp_min(0) * (1 + shy), norm)
        back = ~hit & ~back & (size(over - x, norm) < best.size[rows])
        part = torch.where(better, 1.5 * part, torch.where(back, part, 0.5 * part)).clamp_max(1)
        at = chosen(back, over, best.x[rows] + scale(aim - best.x[rows], part))
        keep = part > 0.02
        if not keep.all():
            rows, x, y, at, aim, part, back = (v[keep] for v in (rows, x, y, at, aim, part, back))
    if len(rows):
        best.offer(rows, at, fooled(f.query(at), y, targeted), size(at - x, norm))


class Weights:
    """The weight c of the loss against the size, one per example: times 10 until a success, then bisected.

    Carlini, Wagner 2017, section V.C. An interval whose ends are within the factor `narrow` is left alone.
    """

    def __init__(self, x: Tensor, initial: float, narrow: float) -> None:
        self.factor = narrow
        self.c = torch.full((len(x),), initial, dtype=x.dtype, device=x.device)
        self.low, self.high = torch.zeros_like(self.c), torch.full_like(self.c, math.inf)

    @property
    def narrow(self) -> Tensor:
        """(N,) bool: is nothing left to be found?"""
        return (self.high < self.factor * self.low) | (self.c > MOST)

    def update(self, rows: Tensor, hit: Tensor) -> None:
        """What c of the examples `rows` led to, (R,) bool; chooses the next."""
        c = self.c[rows]
        self.high[rows] = high = torch.where(hit, c, self.high[rows])
        self.low[rows] = low = torch.where(hit, self.low[rows], c)
        between = torch.where(low > 0, (low * high).sqrt(), high / 10)
        self.c[rows] = torch.where(high.isfinite(), between, c * 10)
