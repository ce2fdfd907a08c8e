"""JSMA, the Jacobian-based saliency map attack: greedily changes the pairs of pixels with the highest saliency.

Papernot, McDaniel, Jha, Fredrikson, Celik, Swami 2016, arXiv:1511.07528, Algorithms 2 and 3. With
a = d F_target / d x and b = -d (sum of the other F) / d x, both signs turned for a pixel that decreases, the pair p, q
of the largest (a_p + a_q)(b_p + b_q) is taken, both sums positive. "both" directions: Wiyatno, Xu 2018,
arXiv:1808.07945.

Departures. (1) All pairwise products are computed as one matrix product of rank 4. Pixels that cannot be in the best
pair are excluded first: those whose bound (a_p + max a)(b_p + max b) is below the best pair among the 16 largest
bounds. If more than `MOST` remain, the search is restricted to those with the largest bounds. (2) If no pair is
admissible, the pair with the largest a_p + a_q is taken, where the paper gives up. (3) Untargeted, which the paper
leaves open: the result with the fewest changed pixels over the `targets` likeliest other classes. (4) An image in which
fewer than two pixels can change is returned unchanged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from attacks.core.goal import Smallest
from attacks.core.minimal import Norm, clearly_adversarial, gradients, size
from attacks.core.model import Attack, Victim
from attacks.core.precision import widened
from genlab.core.ranges import Count, Range

FEW, MOST = 16, 512  # candidate pixels per image: in the first bound, and at most
TABLE = 2**22  # largest number of products computed at once, which bounds the memory


@dataclass(frozen=True)
class JSMA(Attack):
    """Changes pairs of pixels (entries of x) by theta, at most a fraction `gamma` of all pixels.

    direction: "increase", "decrease" or "both", the allowed signs of a change. Pixels at their bound are not chosen.
    outputs: F is "logits" or "probabilities". Probabilities sum to one, so a = b and one backward pass is enough; a is
    divided by the target's probability, which changes no choice and avoids underflow. targets: classes tried by the
    untargeted attack.
    """

    norm: ClassVar[Norm] = "l0"
    theta: Annotated[float, Range(0.001, 1)] = 1.0
    gamma: Annotated[float, Range(0, 1, above=True)] = 0.145
    direction: Literal["increase", "decrease", "both"] = "increase"
    outputs: Literal["logits", "probabilities"] = "probabilities"
    targets: Count = 2
    targeted: bool = False

    def run(self, f: Victim, x: Tensor, y: Tensor) -> Tensor:
        best, logits = Smallest(x), f.query(x)
        best.offer(slice(None), x, clearly_adversarial(logits, y, self.targeted), x.new_zeros(len(x)))
        if self.targeted:
            self._search(f, x, y, y, best)
        else:
            others = logits.scatter(1, y[:, None], -math.inf)
            for target in others.topk(min(self.targets, logits.shape[1] - 1)).indices.unbind(1):
                self._search(f, x, y, target, best)
        return best.x

    def _search(self, f: Victim, x: Tensor, y: Tensor, target: Tensor, best: Smallest) -> None:
        """Attack towards class `target` (N,) the examples whose result may be improved; y: the label of the goal."""
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
            is_adv, used = clearly_adversarial(logits.detach(), y, self.targeted), size(at.detach() - x, "l0")
            best.offer(rows, at.detach(), is_adv, used)
            grads = self._gradients(f, logits, target, at)
            at = at.detach()
            free = torch.stack([at.flatten(1) < 1 if s > 0 else at.flatten(1) > 0 for s in signs], 1)
            keep = ~is_adv & (used + 2 <= best.size[rows]) & (used + 2 <= 2 * pairs) & (free.any(1).sum(1) >= 2)
            if len(keep := keep.nonzero().squeeze(1)) < len(rows):
                rows, x, y, target, at, grads, free = (v[keep] for v in (rows, x, y, target, at, grads, free))
                if len(rows) == 0:
                    return
            a, b = (grads[:, :, None] * sign[:, None]).flatten(2).unbind(1)  # (R, signs * entries)
            pair = best_pair(a, b, free.flatten(1), entries)
            moves = sign[pair // entries] * self.theta
            at = at.flatten(1).scatter_add(1, pair % entries, moves).clamp_(0, 1).view(at.shape)

    def _gradients(self, f: Victim, logits: Tensor, target: Tensor, at: Tensor) -> Tensor:
        """(R, 2, entries): d F_target / d x, and -d (sum of the other F) / d x."""
        logits = widened(logits)
        wanted = logits.gather(1, target[:, None])
        if self.outputs == "logits":
            return gradients(f, torch.cat([wanted, wanted - logits.sum(1, keepdim=True)], 1), at).flatten(2)
        return f.gradient((wanted - logits.logsumexp(1, keepdim=True)).sum(), at).flatten(1)[:, None].expand(-1, 2, -1)


def best_pair(a: Tensor, b: Tensor, allowed: Tensor, entries: int) -> Tensor:
    """(N, 2): the pair p, q of the largest (a_p + a_q)(b_p + b_q); a, b, allowed (N, M), two pixels or more allowed.

    Features that are equal modulo `entries` are the same pixel and no pair. If no pair is admissible: the pair with the
    largest a_p + a_q.
    """
    low = torch.finfo(a.dtype).min / 4
    a, b = torch.where(allowed, a, low), torch.where(allowed, b, low)
    pair = _largest(a, entries)
    top_a, top_b = a.amax(1, keepdim=True), b.amax(1, keepdim=True)
    bound = torch.where(allowed, (a + top_a).clamp_min(0) * (b + top_b).clamp_min(0), 0)
    few = min(FEW, bound.shape[1])
    floor = _products(a, b, bound.topk(few).indices, entries).amax((1, 2))
    count = ((bound > 0) & (bound >= floor[:, None])).sum(1)  # pairs with any other feature are worse
    width = count.double().clamp(few, MOST).log2().ceil().exp2().long().clamp_max(bound.shape[1])
    for w in width.unique().tolist():  # examples are grouped by table size, which saves memory
        for rows in (width == w).nonzero().squeeze(1).split(max(1, TABLE // w**2)):
            some = bound[rows].topk(w).indices.sort(1).values
            value, where = _products(a[rows], b[rows], some, entries).flatten(1).max(1)
            found = some.gather(1, torch.stack([where // w, where % w], 1))
            pair[rows] = torch.where(value[:, None] > 0, found, pair[rows])
    return pair


def _largest(a: Tensor, entries: int) -> Tensor:
    """(N, 2): the features with the largest a (N, M) in two different pixels."""
    first = a.argmax(1, keepdim=True)
    same = torch.arange(a.shape[1], device=a.device) % entries == first % entries
    return torch.cat([first, a.masked_fill(same, -math.inf).argmax(1, keepdim=True)], 1)


def _products(a: Tensor, b: Tensor, some: Tensor, entries: int) -> Tensor:
    """(N, R, R): (a_p + a_q)(b_p + b_q) for the features `some` (N, R); 0 if a sum is not positive or p = q."""
    p, q, same = a.gather(1, some), b.gather(1, some), some % entries
    admissible = (p[:, :, None] + p[:, None] > 0) & (q[:, :, None] + q[:, None] > 0)
    admissible &= same[:, :, None] != same[:, None]
    one = torch.ones_like(p)
    left, right = torch.stack([p * q, one, p, q], 2), torch.stack([one, p * q, q, p], 1)
    return torch.where(admissible, left @ right, 0)
