"""The probability of the true class along lines and on planes around an image, for plots.

After Goodfellow, Shlens, Szegedy 2015, arXiv:1412.6572, section 8 and figure 4: random directions change little, the
gradient direction a lot, so adversarial examples lie in broad subspaces, not in isolated pockets.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from attacks.core.ball import Ball, scale
from attacks.core.goal import cross_entropy
from attacks.core.model import Attack, Model, victim

BATCH = 1024  # images per pass


def directions(model: Model, x: Tensor, y: Tensor, ball: Ball, attack: Attack | None = None) -> dict[str, Tensor]:
    """Directions (N, ...) of norm 1 in the ball's norm: "random", "gradient" (of the loss) and, if given, "attack"."""
    with victim(model, x, y) as f:
        point = x.detach().clone().requires_grad_()
        grad = f.gradient(cross_entropy(f(point), y).sum(), point)
    found = {"random": ball.at(1.0).surface(x), "gradient": ball.steepest(grad)}
    return found if attack is None else found | {"attack": ball.unit(attack(model, x, y) - x)}


def line(model: Model, x: Tensor, y: Tensor, step: Tensor, sizes: Sequence[float]) -> Tensor:
    """(R, N): probability of class y at x + size * step, clipped to [0, 1], for each of R sizes."""
    points = torch.cat([x + size * step for size in sizes])
    return _probability(model, points, y.repeat(len(sizes))).view(len(sizes), len(x))


def plane(model: Model, x: Tensor, y: Tensor, a: Tensor, b: Tensor, sizes: Sequence[float]) -> Tensor:
    """(R, R, N): probability of class y at x + sizes[i] * a + sizes[j] * b, clipped to [0, 1]."""
    return torch.stack([line(model, x + size * a, y, b, sizes) for size in sizes])


def orthogonalise(a: Tensor, b: Tensor) -> Tensor:
    """The component of b (N, ...) orthogonal to a (Gram-Schmidt), rescaled to the L2 norm of b."""
    u, v = a.flatten(1), b.flatten(1)
    rest = v - (u * v).sum(1, keepdim=True) / u.square().sum(1, keepdim=True).clamp_min(torch.finfo(u.dtype).tiny) * u
    length, wanted = torch.linalg.vector_norm(rest, dim=1), torch.linalg.vector_norm(v, dim=1)
    return scale(rest.view_as(b), torch.where(length > 0, wanted / length, 0))


def empirical_cdf(sizes: Tensor) -> tuple[list[float], list[float]]:
    """The empirical distribution function of sizes (N,), to plot: sorted sizes, and the share of sizes up to each."""
    n = len(sizes)
    return sizes.sort().values.tolist(), [(i + 1) / n for i in range(n)]


def _probability(model: Model, x: Tensor, y: Tensor) -> Tensor:
    x = x.clamp(0, 1)
    with victim(model, x, y) as f:
        probabilities = torch.cat([f.query(part).softmax(1) for part in x.split(BATCH)])
    return probabilities.gather(1, y[:, None]).squeeze(1)
