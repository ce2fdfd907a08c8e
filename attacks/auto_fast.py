"""AutoAttack for a fraction of its passes: the version "fast" of `Auto`.

Cheap attacks come first, and each sees the images that are left: APGD on cross-entropy; APGD on the targeted DLR loss
towards the class whose linearised boundary is nearest, rather than the likeliest one (MALT: Melamed et al. 2024,
arXiv:2407.02240); in L2, where the gradient inside the ball more often leads nowhere, a minimal-norm attack from
outside; a few queries of Square. What is left is attacked for as long as it seems worth it, by the margin of the best
point so far as a share of the margin of the image (images are discarded in a similar way by A3: Liu et al. 2022,
arXiv:2203.05154): more and longer runs of APGD, also towards the nearest classes, and rounds of Square that start from
the best point. An image whose margin stays large under all of the first attacks counts as robust.

In L1 an ascent ends where its random start leads it, soon and mostly in vain: many short runs fool more than few long
ones. Of 71 images that five runs of 20 steps had not fooled (validation images, two robust CNNs), 24 more fooled 11,
and those were among the 33 whose margin had fallen to a fifth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from attacks.auto_pgd import AutoPGD
from attacks.core.ball import Ball
from attacks.core.goal import Best, is_adversarial, margin, select
from attacks.core.minimal import MinimalAttack, Norm
from attacks.core.model import Victim
from attacks.minimal import nearest_classes
from attacks.pdgd import PDGD
from attacks.square import Square

Loss = Literal["ce", "dlr"]


@dataclass(frozen=True)
class Plan:
    """What is done in one norm. first: steps and runs of APGD on all images; minimal: the attack from outside; more:
    loss, steps and runs of APGD on images below the share `close` of the margin; rounds: of Square, queries and share.
    """

    first: tuple[int, int] = (30, 1)
    minimal: MinimalAttack | None = None
    close: float = 0.25
    more: tuple[Loss, int, int] = ("dlr", 100, 2)
    rounds: tuple[tuple[int, float], ...] = ((400, 0.16), (800, 0.1), (2000, 0.06))


PLANS = {
    "linf": Plan(),
    "l2": Plan(minimal=PDGD(steps=50)),
    "l1": Plan(first=(20, 5), close=0.2, more=("ce", 20, 24), rounds=((400, 0.1),)),
}
AIMED, QUERIES = 30, 40  # of all images: steps of APGD-T, queries of Square
LONG, CLASSES = 100, 3  # steps and classes of the later runs of APGD-T
AREA = 0.1  # share of the image's area that the first squares of a round cover
ALL = 1e30


def fast(f: Victim, x: Tensor, y: Tensor, ball: Ball, seed: int) -> Tensor:
    """The examples x (N, ...) of least margin, in the ball; adversarial ones where any was found."""
    norm: Norm = ball.name  # type: ignore[assignment]
    plan, best, logits = PLANS[norm], Best(x), f.query(x)
    clean, classes = margin(logits, y), logits.shape[1]
    best.offer(slice(None), x, is_adversarial(logits, y), -clean)

    def left(share: float) -> Tensor:
        """The images that are not fooled, and whose margin is at most this share of that at the start."""
        return (~best.is_adv & (-best.value <= share * clean)).nonzero().squeeze(1)

    def judge(rows: Tensor, adv: Tensor) -> None:
        logits = f.query(adv)
        best.offer(rows, adv, is_adversarial(logits, y[rows]), -margin(logits, y[rows]))

    def climb(rows: Tensor, loss: Loss, steps: int, runs: int, draw: int) -> None:
        if len(rows):
            judge(rows, AutoPGD(ball, steps, loss, runs, seed=seed + draw).run(f, x[rows], y[rows]))

    def aim(rows: Tensor, steps: int, count: int, draw: int) -> None:
        if len(rows) == 0:
            return
        apgd, found = AutoPGD(ball, steps, seed=seed + draw), Best(x[rows])
        for n, target in enumerate(nearest_classes(f, x[rows], y[rows], norm, count).unbind(1)):
            apgd.ascend(f, x[rows], y[rows], found, n, target)
        judge(rows, found.x)

    def paint(rows: Tensor, square: Square, start: Tensor | None = None) -> None:
        if len(rows) and x.ndim == 4:
            judge(rows, square.search(f, x[rows], y[rows], None if start is None else start[rows]))

    climb(left(ALL), "ce", *plan.first, 0)
    if classes >= 4:  # the targeted DLR loss needs four
        aim(left(ALL), AIMED, 1, 1)
    if plan.minimal and len(rows := left(ALL)):
        found = plan.minimal.search(f, x[rows], y[rows], x[rows])
        judge(rows, select(found.size <= ball.eps, found.x, best.x[rows]))
    paint(left(ALL), Square(ball, QUERIES, seed=seed))
    loss, steps, runs = plan.more
    climb(left(plan.close), loss if classes > 2 else "ce", steps, runs, 2)  # the DLR loss of two classes is constant
    if classes >= 4:
        aim(left(plan.close), LONG, CLASSES, 3)
    for queries, share in plan.rounds:
        paint(left(share), Square(ball, queries, AREA, seed=seed + queries), best.x)
    return best.x
