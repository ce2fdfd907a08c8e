"""Shared parts of the minimal-norm attacks: norms by name, gradients per class, projection onto hyperplanes in the box.

These attacks have no ball: they search for the smallest adversarial perturbation and return the original if they find
none. An example counts as adversarial only if its margin exceeds the rounding error of the logits (`slack`), because
the prediction of a point exactly on the decision boundary depends on the batch size; attacks aim at twice that margin.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from attacks.core.ball import scale
from attacks.core.goal import Smallest, margin, select
from attacks.core.model import Victim
from attacks.core.precision import widened

ORDER = {"l0": 0.0, "l1": 1.0, "l2": 2.0, "linf": math.inf}
UNITS = 2  # units in the last place of the largest logit: each of two logits may be off by one
SLACK = 1e-5  # as a fraction of the range of the logits
MAX_C = 1e10  # constant c above which the search stops


def size(d: Tensor, norm: str) -> Tensor:
    """(N,): the norm ("l0", "l1", "l2" or "linf") of each perturbation d (N, ...)."""
    return torch.linalg.vector_norm(d.flatten(1), ORDER[norm], dim=1)


def slack(logits: Tensor) -> Tensor:
    """(N,), detached: the margin that rounding errors of the logits (N, K) may explain.

    `UNITS` units in the last place of the largest logit, in the logits' own dtype, or `SLACK` times the range of the
    logits (which is invariant to a constant added to all logits), whichever is larger.
    """
    low, high = widened(logits.detach()).aminmax(dim=1)
    unit = torch.finfo(logits.dtype).eps * torch.maximum(-low, high)
    return torch.maximum(UNITS * unit, SLACK * (high - low))


def signed_margin(logits: Tensor, y: Tensor, targeted: bool) -> Tensor:
    """(N,): the logit margin of y over the best other class, negated if targeted; adversarial where negative."""
    value = margin(logits, y)
    return -value if targeted else value


def clearly_adversarial(logits: Tensor, y: Tensor, targeted: bool, confidence: float = 0.0) -> Tensor:
    """(N,) bool: adversarial by a margin larger than both `confidence` and `slack`."""
    return signed_margin(logits, y, targeted) < -slack(logits).clamp_min(confidence)


def margin_loss(logits: Tensor, y: Tensor, targeted: bool, confidence: float = 0.0) -> Tensor:
    """(N,): the loss that an attack lowers to zero; there an example is `clearly_adversarial` with `slack` to spare."""
    clear = slack(logits)
    return signed_margin(logits, y, targeted) + clear.clamp_min(confidence) + clear


def gradients(f: Victim, objectives: Tensor, x: Tensor) -> Tensor:
    """d objectives / d x, (N, R, ...), for objectives (N, R): R backward passes through one forward pass."""
    columns = list(objectives.sum(0))
    rows = [f.gradient(column, x, retain_graph=True) for column in columns[:-1]]
    return torch.stack([*rows, f.gradient(columns[-1], x)], 1)


def project_to_hyperplane(x: Tensor, w: Tensor, rise: Tensor, norm: str, rounds: int = 12) -> Tensor:
    """The smallest d, in L2 or Linf, with <w, d> = rise and x + d in [0, 1]; if there is none, the corner of the box
    that maximises it.

    x, w: (N, ...), rise: (N,), of either sign. d = clip(t u, -x, 1 - x) with u = w (L2) or sign(w) (Linf); <w, d> is
    increasing, concave and piecewise linear in t, so Newton's method from t = 0 never overshoots and takes few rounds.
    """
    u = scale(w.sign() if norm == "linf" else w, rise.sign())
    u = scale(u, 1 / size(u, "linf").clamp_min(torch.finfo(u.dtype).tiny))
    pace, weight, rise = u.abs(), w.abs(), rise.abs()
    room = torch.where(u > 0, 1 - x, x)  # distance of each pixel to the box along u
    speed = (weight * pace).flatten(1)
    t = torch.zeros_like(rise)
    for _ in range(rounds):
        moved = torch.minimum(scale(pace, t), room)
        left = rise - (weight * moved).flatten(1).sum(1)
        derivative = (speed * (moved < room).flatten(1)).sum(1)
        t = t + torch.where((left > 0) & (derivative > 0), left / derivative, 0)
    return u.sign() * torch.minimum(scale(pace, t), room)


def polish(
    f: Victim,
    x: Tensor,
    y: Tensor,
    best: Smallest,
    norm: str,
    rounds: int,
    targeted: bool = False,
    overshoot: float = 0.02,
) -> None:
    """Move the adversarial examples in `best` along the boundary towards x (L2 or Linf norm), `rounds` times.

    Each round costs one forward and one backward pass. The model is linearised at the adversarial example, and the
    point of the linear boundary nearest to the original is computed (`project_to_hyperplane`). The step is a fraction
    of the way there, as in FAB (Croce, Hein 2020, arXiv:1907.02044), but the fraction is adapted per example: after a
    failure one step back over the boundary is tried, then the fraction is halved. overshoot: of each step beyond the
    boundary, relative to the step. An example is finished when its fraction is below 1/50.
    """
    rows = (best.is_adv & (best.size > 0)).nonzero().squeeze(1)
    x, y, at = x[rows], y[rows], best.x[rows]
    aim, part = at, torch.full_like(best.size[rows], 0.5)
    back = torch.zeros_like(y, dtype=torch.bool)  # whether the last step was one back over the boundary
    for step in range(rounds):
        if len(rows) == 0:
            return
        logits = f(at.requires_grad_())
        loss = margin_loss(logits, y, targeted)
        is_adv = clearly_adversarial(logits.detach(), y, targeted)
        w = f.gradient(-loss.sum(), at)
        at, loss = at.detach(), loss.detach().to(x.dtype)
        better = best.offer(rows, at, is_adv, size(at - x, norm)) | (step == 0)
        rise = (w * (at - x)).flatten(1).sum(1) + loss
        aim = select(better, x + project_to_hyperplane(x, w, rise * (1 + overshoot), norm), aim)
        over = at + project_to_hyperplane(at, w, loss.clamp_min(0) * (1 + overshoot), norm)
        back = ~is_adv & ~back & (size(over - x, norm) < best.size[rows])
        part = torch.where(better, 1.5 * part, torch.where(back, part, 0.5 * part)).clamp_max(1)
        at = select(back, over, best.x[rows] + scale(aim - best.x[rows], part))
        keep = part > 0.02
        if not keep.all():
            rows, x, y, at, aim, part, back = (v[keep] for v in (rows, x, y, at, aim, part, back))
    if len(rows):
        best.offer(rows, at, clearly_adversarial(f.query(at), y, targeted), size(at - x, norm))


class ConstantSearch:
    """Search for the smallest constant c that succeeds, per example: times 10 until a success, then bisection.

    Carlini, Wagner 2017, arXiv:1608.04644, section V.C. Converged when the ends of the interval are within the factor
    `narrow`.
    """

    def __init__(self, x: Tensor, initial: float, narrow: float) -> None:
        self.factor = narrow
        self.c = torch.full((len(x),), initial, dtype=x.dtype, device=x.device)
        self.low, self.high = torch.zeros_like(self.c), torch.full_like(self.c, math.inf)

    @property
    def converged(self) -> Tensor:
        """(N,) bool: whether the search for c is finished."""
        return (self.high < self.factor * self.low) | (self.c > MAX_C)

    def update(self, rows: Tensor, is_adv: Tensor) -> None:
        """Set the next c of the examples `rows`, given whether the last one succeeded, is_adv (R,) bool."""
        c = self.c[rows]
        self.high[rows] = high = torch.where(is_adv, c, self.high[rows])
        self.low[rows] = low = torch.where(is_adv, self.low[rows], c)
        between = torch.where(low > 0, (low * high).sqrt(), high / 10)
        self.c[rows] = torch.where(high.isfinite(), between, c * 10)
