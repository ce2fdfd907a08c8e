"""AutoAttack for a fraction of its passes: the version "fast" of `Auto`.

Cheap attacks come first, and each sees the images that are left: APGD on cross-entropy; APGD on the targeted DLR loss
towards the class whose linearised boundary is nearest, rather than the likeliest one (MALT: Melamed et al. 2024,
arXiv:2407.02240); in L1 and L2, where the gradient inside the ball more often leads nowhere, a minimal-norm attack from
outside; a few queries of Square. What is left is attacked for as long as it seems worth it, by the margin of the best
point so far as a share of the margin of the image (images are discarded in a similar way by A3: Liu et al. 2022,
arXiv:2203.05154): longer runs of APGD, also towards the nearest classes, and rounds of Square that start from the best
point. An image whose margin stays large under all of the first attacks counts as robust.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from attacks.auto_pgd import AutoPGD
from attacks.core.ball import Ball
from attacks.core.goal import Best, is_adversarial, margin, select
from attacks.core.minimal import MinimalAttack, Norm
from attacks.core.model import Victim
from attacks.minimal import nearest_classes
from attacks.pdgd import PDGD, PDPGD
from attacks.square import Square

FIRST, AIMED, QUERIES = 30, 30, 40  # of all images: steps of APGD and APGD-T, queries of Square
MINIMAL: dict[str, MinimalAttack] = {"l1": PDPGD(steps=50), "l2": PDGD(steps=50)}
CLOSE, LONG = 0.25, 100  # share of the margin below which images are attacked for longer; steps of each run
CLASSES = 3  # of the long runs of APGD-T
ROUNDS = ((400, 0.16), (800, 0.1), (2000, 0.06))  # of Square: queries, of images below this share of the margin
AREA = 0.1  # share of the image's area that the first squares of a round cover
ALL = 1e30
Loss = Literal["ce", "dlr"]


def fast(f: Victim, x: Tensor, y: Tensor, ball: Ball, seed: int) -> Tensor:
    """The examples x (N, ...) of least margin, in the ball; adversarial ones where any was found."""
    norm: Norm = ball.name  # type: ignore[assignment]
    best, logits = Best(x), f.query(x)
    clean, classes = margin(logits, y), logits.shape[1]
    best.offer(slice(None), x, is_adversarial(logits, y), -clean)

    def left(share: float) -> Tensor:
        """The images that are not fooled, and whose margin is at most this share of that at the start."""
        return (~best.is_adv & (-best.value <= share * clean)).nonzero().squeeze(1)

    def judge(rows: Tensor, adv: Tensor) -> None:
        logits = f.query(adv)
        best.offer(rows, adv, is_adversarial(logits, y[rows]), -margin(logits, y[rows]))

    def climb(rows: Tensor, steps: int, loss: Loss, draw: int, restarts: int = 1) -> None:
        if len(rows):
            judge(rows, AutoPGD(ball, steps, loss, restarts, seed=seed + draw).run(f, x[rows], y[rows]))

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

    dlr: Loss = "dlr" if classes > 2 else "ce"  # it is constant for two classes, and its targeted form needs four
    climb(left(ALL), FIRST, "ce", 0)
    if classes >= 4:
        aim(left(ALL), AIMED, 1, 1)
    if norm in MINIMAL and len(rows := left(ALL)):
        found = MINIMAL[norm].search(f, x[rows], y[rows], x[rows])
        judge(rows, select(found.size <= ball.eps, found.x, best.x[rows]))
    paint(left(ALL), Square(ball, QUERIES, seed=seed))
    climb(left(CLOSE), LONG, dlr, 2, restarts=2)
    if classes >= 4:
        aim(left(CLOSE), LONG, CLASSES, 3)
    for queries, share in ROUNDS:
        paint(left(share), Square(ball, queries, AREA, seed=seed + queries), best.x)
    return best.x
