"""JSMA, the Jacobian-based saliency map attack: push to the limit, two at a time, the pixels that help the target most.

Papernot, McDaniel, Jha, Fredrikson, Celik, Swami 2016, arXiv:1511.07528, Algorithms 2 and 3. With
a = d F_target / d x and b = -d (sum of the other F) / d x, both signs turned for a pixel that decreases, the pair p, q
of the largest (a_p + a_q)(b_p + b_q) is taken, both sums positive. "both" directions: Wiyatno, Xu 2018,
arXiv:1808.07945.

Departures. (1) All products are one matrix product of rank 4. Before it, pixels are left out that could not be in the
best pair whatever the partner: (a_p + max a)(b_p + max b) below the best pair among the 16 largest such bounds.
(2) Where no pair is admissible, the one with the largest sum of a goes, instead of giving up. (3) Untargeted, which the
paper leaves open: towards each of the `targets` likeliest other classes, the fewest pixels count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.goal import Smallest
from attacks.minimal import fooled, gradients, size
from attacks.model import Attack, Victim
from attacks.options import at_least, one_of


@dataclass(frozen=True)
class JSMA(Attack):
    """Steps of theta on pairs of pixels (entries of x), for at most a share `gamma` of them.

    direction: "increase", "decrease" or "both", which way the pixels may move. A pixel at its limit is not taken again.
    outputs: F is "logits" or "probabilities". These sum to one, so a = b and one backward pass does; a is divided by
    the target's probability, which changes no choice and keeps it from vanishing.
    """

    theta: float = 1.0
    gamma: float = 0.145
    direction: str = "increase"
    outputs: str = "probabilities"
    targets: int = 2
    targeted: bool = False

    def __post_init__(self) -> None:
        for name, value in (("theta", self.theta), ("gamma", self.gamma)):
            if not 0 < value <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, got {value!r}.")
        one_of(("increase", "decrease", "both"), direction=self.direction)
        one_of(("logits", "probabilities"), outputs=self.outputs)
        at_least(1, targets=self.targets)

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        best, logits = Smallest(x), f.query(x)
        best.offer(slice(None), x, fooled(logits, y, self.targeted), x.new_zeros(len(x)))
        if self.targeted:
            self._push(f, x, y, y, best)
        else:
            others = logits.scatter(1, y[:, None], -math.inf)
            for target in others.topk(min(self.targets, logits.shape[1] - 1)).indices.unbind(1):
                self._push(f, x, y, target, best)
        return best.x

    def _push(self, f: Victim, x: Tensor, y: Tensor, target: Tensor, best: Smallest) -> None:
        """Raise F of `target` (N,) in every example where fewer pixels than now may do; y is the goal's label."""
        rows = (best.size > 0).nonzero().squeeze(1)
        x, y, target, at = x[rows], y[rows], target[rows], x[rows]
        signs = {"increase": [1.0], "decrease": [-1.0], "both": [1.0, -1.0]}[self.direction]
        sign = torch.tensor(signs, dtype=x.dtype, device=x.device)
        entries = math.prod(x.shape[1:])
        pairs = max(1, int(self.gamma * entries / 2))
        for _ in range(math.ceil(pairs / self.theta) + 1):
            if len(rows) == 0:
                return
            logits = f(at.requires_grad_())
            hit, used = fooled(logits.detach(), y, self.targeted), size(at.detach() - x, "l0")
            best.offer(rows, at.detach(), hit, used)
            slopes = self._slopes(f, logits, target, at)
            at = at.detach()
            keep = ~hit & (used + 2 <= best.size[rows]) & (used + 2 <= 2 * pairs)
            if not keep.all():
                rows, x, y, target, at, slopes = (v[keep] for v in (rows, x, y, target, at, slopes))
                if len(rows) == 0:
                    return
            flat = at.flatten(1)
            a, b = (slopes[:, :, None] * sign[:, None]).flatten(2).unbind(1)  # (R, signs * entries)
            stuck = torch.cat([flat >= 1 if s > 0 else flat <= 0 for s in signs], 1)
            pair = best_pair(a, b, ~stuck, entries)
            moves = sign[pair // entries] * self.theta
            at = flat.scatter_add(1, pair % entries, moves).clamp_(0, 1).view(at.shape)

    def _slopes(self, f: Victim, logits: Tensor, target: Tensor, at: Tensor) -> Tensor:
        """(R, 2, entries): how the target's output grows with each entry, and how the others' sum falls."""
        wanted = logits.gather(1, target[:, None])
        if self.outputs == "logits":
            return gradients(f, torch.cat([wanted, wanted - logits.sum(1, keepdim=True)], 1), at).flatten(2)
        return f.gradient((wanted - logits.logsumexp(1, keepdim=True)).sum(), at).flatten(1)[:, None].expand(-1, 2, -1)


def best_pair(a: Tensor, b: Tensor, allowed: Tensor, entries: int) -> Tensor:
    """(N, 2): the two features of the largest (a_p + a_q)(b_p + b_q), for a, b, allowed (N, M), M >= 2.

    Features that are equal modulo `entries` are one pixel, no pair. Where no pair is admissible: the largest a_p + a_q.
    """
    low = torch.finfo(a.dtype).min / 4
    a, b = torch.where(allowed, a, low), torch.where(allowed, b, low)
    top_a, top_b = a.amax(1, keepdim=True), b.amax(1, keepdim=True)
    bound = torch.where(allowed, (a + top_a).clamp_min(0) * (b + top_b).clamp_min(0), 0)
    few = bound.topk(min(16, bound.shape[1])).indices
    floor = _products(a, b, few, entries).amax((1, 2))
    count = int((bound >= floor[:, None]).sum(1).amax()) if bool((floor > 0).all()) else bound.shape[1]
    some = bound.topk(max(2, min(count, bound.shape[1]))).indices.sort(1).values
    products = _products(a, b, some, entries).flatten(1)
    value, where = products.max(1)
    pair = some.gather(1, torch.stack([where // some.shape[1], where % some.shape[1]], 1))
    return torch.where(value[:, None] > 0, pair, a.topk(2).indices)


def _products(a: Tensor, b: Tensor, some: Tensor, entries: int) -> Tensor:
    """(N, R, R): (a_p + a_q)(b_p + b_q) among the features `some` (N, R); 0 where a sum is not positive or p is q."""
    p, q, same = a.gather(1, some), b.gather(1, some), some % entries
    admissible = (p[:, :, None] + p[:, None] > 0) & (q[:, :, None] + q[:, None] > 0)
    admissible &= same[:, :, None] != same[:, None]
    one = torch.ones_like(p)
    left, right = torch.stack([p * q, one, p, q], 2), torch.stack([one, p * q, q, p], 1)
    return torch.where(admissible, left @ right, 0)
