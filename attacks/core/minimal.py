"""Shared parts of the minimal-norm attacks: their base class, norms by name, projections, far starting points.

These attacks have no ball: they search for the smallest adversarial perturbation and return the original if they find
none. An example counts as adversarial only if its margin exceeds the rounding error of the logits (`slack`), because
the prediction of a point exactly on the decision boundary depends on the batch size; attacks aim at twice that margin.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from attacks.core import random as noise
from attacks.core.ball import lengths, scale, soft_threshold
from attacks.core.drop import drops
from attacks.core.goal import Smallest, margin, select
from attacks.core.model import Attack, Victim
from attacks.core.precision import widened

Norm = Literal["l0", "l1", "l2", "linf"]
ORDER = {"l0": 0.0, "l1": 1.0, "l2": 2.0, "linf": math.inf}
UNITS = 2  # units in the last place of the largest logit: each of two logits may be off by one
SLACK = 1e-5  # as a fraction of the range of the logits
MAX_C = 1e10  # constant c above which the search stops


def size(d: Tensor, norm: str) -> Tensor:
    """(N,): the norm ("l0", "l1", "l2" or "linf") of each perturbation d (N, ...)."""
    return torch.linalg.vector_norm(d, ORDER[norm], tuple(range(1, d.ndim)))


def slack(logits: Tensor) -> Tensor:
    """(N,), detached: the margin that rounding errors of the logits (N, K) may explain.

    `UNITS` units in the last place of the largest logit, in the logits' own dtype, or `SLACK` times the range of the
    logits (which is invariant to a constant added to all logits), whichever is larger.
    """
    low, high = widened(logits.detach()).aminmax(dim=1)
    units = UNITS * torch.finfo(logits.dtype).eps
    return torch.maximum(units * torch.maximum(-low, high), SLACK * (high - low))


def signed_margin(logits: Tensor, y: Tensor, targeted: bool) -> Tensor:
    """(N,): the logit margin of y over the best other class, negated if targeted; adversarial where negative."""
    value = margin(logits, y)
    return -value if targeted else value


def clearly_adversarial(logits: Tensor, y: Tensor, targeted: bool, confidence: float = 0.0) -> Tensor:
    """(N,) bool: adversarial by a margin larger than both `confidence` and `slack`."""
    return signed_margin(logits, y, targeted) < -slack(logits).clamp_min(confidence)


def margin_loss(logits: Tensor, y: Tensor, targeted: bool, confidence: float = 0.0) -> Tensor:
    """(N,): the loss that an attack lowers to zero; there an example is `clearly_adversarial` with `slack` to spare."""
    return judged(logits, y, targeted, confidence)[1]


def judged(logits: Tensor, y: Tensor, targeted: bool, confidence: float = 0.0) -> tuple[Tensor, Tensor]:
    """`clearly_adversarial`, (N,) bool, and `margin_loss`, (N,), at once: with the operations of one of them."""
    clear = slack(logits)
    wanted = clear.clamp_min(confidence) if confidence else clear
    loss = signed_margin(logits, y, targeted) + (wanted + clear)
    return loss.detach() < clear, loss


@dataclass(frozen=True)
class MinimalAttack(Attack):
    """An attack that looks for the smallest adversarial perturbation in its field `norm`; subclasses have `search`.

    Images for which the search from the original finds nothing, because the gradient vanishes or the boundary is far,
    are searched again from an adversarial example somewhere in the box (`reach`): at most twice the passes.
    """

    @abstractmethod
    def search(self, f: Victim, x: Tensor, y: Tensor, start: Tensor) -> Smallest:
        """The smallest adversarial examples on the way from `start` (N, ...): x itself or adversarial examples."""

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        norm: Norm = getattr(self, "norm", "l2")
        targeted: bool = getattr(self, "targeted", False)
        best = Smallest(x)
        best.offer(slice(None), x, clearly_adversarial(f.query(x), y, targeted), x.new_zeros(len(x)))
        rows = (~best.is_adv).nonzero().squeeze(1)
        if len(rows):
            best.merge(rows, self.search(f, x[rows], y[rows], x[rows]))
            rows = (~best.is_adv).nonzero().squeeze(1)
        if len(rows):
            best.merge(rows, reach(f, x[rows], y[rows], norm, targeted))
            rows = rows[best.is_adv[rows]]
        if len(rows):
            best.merge(rows, self.search(f, x[rows], y[rows], best.x[rows]))
        return best.x


def reach(f: Victim, x: Tensor, y: Tensor, norm: Norm, targeted: bool = False, steps: int = 20) -> Smallest:
    """Adversarial examples anywhere in the box, however far, moved towards the originals x.

    Candidates: the inverted image, uniform images and noise, then points on signed ascents of the loss without a ball,
    from the original and from noise; an ascent ends early where no image has a gradient. Like all of an attack's
    results they depend on the image alone, so images of other classes can only come from a caller that has them.
    """
    found, key = Smallest(x), noise.key(x)
    random = [noise.uniform(key, x.shape[1:], draw).to(x.dtype) for draw in range(2)]
    for other in (1 - x, *(torch.full_like(x, grey) for grey in (0.0, 0.5, 1.0)), *random):
        found.offer(slice(None), other, clearly_adversarial(f.query(other), y, targeted), size(other - x, norm))
    for start in (x, *random):
        rows = (~found.is_adv).nonzero().squeeze(1)
        if len(rows) == 0:
            break
        at = start[rows]
        for step in range(steps):
            is_adv, loss = judged(f(at.requires_grad_()), y[rows], targeted)
            grad = f.gradient(loss, at)
            at = at.detach()
            found.offer(rows, at, is_adv, size(at - x[rows], norm))
            if step % 10 == 1 and not grad.any():  # seldom, as it waits for the device
                break
            at = (at - 0.1 * grad.sign()).clamp(0, 1)
    bisect(f, x, y, found, norm, targeted)
    return found


def bisect(
    f: Victim, x: Tensor, y: Tensor, best: Smallest, norm: Norm, targeted: bool = False, rounds: int = 8
) -> None:
    """Bisection between the originals x and the adversarial examples in `best`: a share of the perturbation is kept,
    in L0 the largest entries, else of every entry."""
    rows = best.is_adv.nonzero().squeeze(1)
    if len(rows) == 0:
        return
    d, x, y = (best.x - x)[rows], x[rows], y[rows]
    low = torch.zeros_like(best.size[rows]).to(x.dtype)
    high = torch.ones_like(low)
    for _ in range(rounds):
        share = (low + high) / 2
        at = x + (largest(d, share * size(d, norm)) if norm == "l0" else scale(d, share))
        is_adv = clearly_adversarial(f.query(at), y, targeted)
        best.offer(rows, at, is_adv, size(at - x, norm))
        low, high = torch.where(is_adv, low, share), torch.where(is_adv, share, high)


def largest(d: Tensor, count: Tensor) -> Tensor:
    """d (N, ...) with all but its `count` (N,) largest entries set to zero."""
    rank = d.flatten(1).abs().argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return d * (rank < count[:, None]).view(d.shape)


def project(d: Tensor, radius: Tensor, norm: Norm) -> Tensor:
    """Projection of d (N, ...) onto the ball of `radius` (N,) in "l0", "l1", "l2" or "linf"."""
    if norm == "l0":
        return largest(d, radius)
    if norm == "l1":
        return soft_threshold(d, radius)
    wide = radius.view(-1, *[1] * (d.ndim - 1))
    if norm == "l2":
        return d * (wide / lengths(d, 2).clamp_min_(torch.finfo(d.dtype).tiny)).clamp_max_(1)
    return d.clamp(-wide, wide)


def inward(grad: Tensor, at: Tensor) -> Tensor:
    """The gradient of a loss to be lowered, without the entries whose step -grad would leave the box [0, 1]."""
    stays = (at - grad.sign()).clamp_(0, 1) == at  # at the end of the box that the step points to
    return grad.masked_fill(stays, 0)


def cosine(step: int, steps: int) -> float:
    """From 1 at step 0 to 0 at `steps`, along half a cosine."""
    return (1 + math.cos(math.pi * step / steps)) / 2


class Adam:
    """Adam (Kingma, Ba 2015, arXiv:1412.6980) without its learning rate; `root` is the denominator of the last step."""

    def __init__(self, x: Tensor) -> None:
        self.mean, self.square, self.count = torch.zeros_like(x), torch.zeros_like(x), 0
        self.root = torch.ones_like(x)

    def step(self, grad: Tensor) -> Tensor:
        """The direction, mean / sqrt(mean square), both corrected for their start at zero."""
        self.count += 1
        self.mean.lerp_(grad, 0.1)
        self.square.mul_(0.999).addcmul_(grad, grad, value=0.001)
        self.root = (self.square / (1 - 0.999**self.count)).sqrt_().add_(1e-8)
        return self.mean / (1 - 0.9**self.count) / self.root


def gradients(f: Victim, objectives: Tensor, x: Tensor) -> Tensor:
    """d objectives / d x, (N, R, ...), for objectives (N, R): R backward passes through one forward pass."""
    columns = list(objectives.sum(0))
    rows = [f.gradient(column, x, retain_graph=True) for column in columns[:-1]]
    return torch.stack([*rows, f.gradient(columns[-1], x)], 1)


def project_to_hyperplane(x: Tensor, w: Tensor, rise: Tensor, norm: str, rounds: int = 12) -> Tensor:
    """The smallest d, in L1, L2 or Linf, with <w, d> = rise and x + d in [0, 1]; if there is none, the corner of the
    box that maximises it.

    x, w: (N, ...), rise: (N,), of either sign. d = clip(t u, -x, 1 - x) with u = w (L2) or sign(w) (Linf); <w, d> is
    increasing, concave and piecewise linear in t, so Newton's method from t = 0 never overshoots and takes few rounds.
    In L1 the entries with the largest |w| go as far as the box lets them, one after the other.
    """
    if norm == "l1":
        return _project_in_l1(x, w, rise)
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


def _project_in_l1(x: Tensor, w: Tensor, rise: Tensor) -> Tensor:
    side = scale(w, rise.sign()).flatten(1)
    weight, flat = side.abs(), x.flatten(1)
    order = weight.argsort(dim=1, descending=True, stable=True)
    weight, room = weight.gather(1, order), torch.where(side > 0, 1 - flat, flat).gather(1, order)
    gain = weight * room
    missing = (rise.abs()[:, None] - (gain.cumsum(1) - gain)).clamp_min(0)  # before each entry
    moved = torch.minimum(room, missing / weight.clamp_min(torch.finfo(w.dtype).tiny)) * (weight > 0)
    return torch.zeros_like(flat).scatter_(1, order, moved).mul_(side.sign()).view_as(x)


def polish(
    f: Victim,
    x: Tensor,
    y: Tensor,
    best: Smallest,
    norm: Norm,
    rounds: int,
    targeted: bool = False,
    overshoot: float = 0.02,
) -> None:
    """Move the adversarial examples in `best` along the boundary towards x, `rounds` times; in L0, restore entries.

    L0 is bisected (`bisect`), which needs no gradient. In the other norms each round costs one forward and one backward
    pass. The model is linearised at the adversarial example, and the point of the linear boundary nearest to the
    original is computed (`project_to_hyperplane`). The step is a fraction of the way there, as in FAB (Croce, Hein
    2020, arXiv:1907.02044), but the fraction is adapted per example: after a failure one step back over the boundary is
    tried, then the fraction is halved. overshoot: of the first step beyond the boundary, relative to the step; halved
    by every success. An example is finished when its fraction is below 1/50.
    """
    if norm == "l0":
        return bisect(f, x, y, best, norm, targeted, min(rounds, 10))
    rows = (best.is_adv & (best.size > 0)).nonzero().squeeze(1)
    x, y, at = x[rows], y[rows], best.x[rows]
    aim, part = at, torch.full_like(best.size[rows], 0.5)
    beyond = torch.full_like(part, 1 + overshoot)
    back = torch.zeros_like(y, dtype=torch.bool)  # whether the last step was one back over the boundary
    for step in range(rounds):
        if len(rows) == 0:
            return
        is_adv, loss = judged(f(at.requires_grad_()), y, targeted)
        w = f.gradient(-loss, at)
        at, loss = at.detach(), loss.detach().to(x.dtype)
        better = best.offer(rows, at, is_adv, size(at - x, norm)) | (step == 0)
        rise = (w * (at - x)).flatten(1).sum(1) + loss
        aim = select(better, x + project_to_hyperplane(x, w, rise * beyond, norm), aim)
        over = at + project_to_hyperplane(at, w, loss.clamp_min(0) * beyond, norm)
        back = ~is_adv & ~back & (size(over - x, norm) < best.size[rows])
        beyond = torch.where(better, (1 + beyond) / 2, beyond)
        part = torch.where(better, 1.5 * part, torch.where(back, part, 0.5 * part)).clamp_max(1)
        at = select(back, over, best.x[rows] + scale(aim - best.x[rows], part))
        if drops(step) and len(keep := (part > 0.02).nonzero().squeeze(1)) < len(rows):
            rows, x, y, at, aim, part, beyond, back = (v[keep] for v in (rows, x, y, at, aim, part, beyond, back))
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
