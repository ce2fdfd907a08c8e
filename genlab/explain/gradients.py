"""Maps from the slope of a class's logit by the pixels.

saliency               Simonyan, Vedaldi, Zisserman 2013, arXiv:1312.6034, section 3.1
smooth_grad            Smilkov et al. 2017, arXiv:1706.03825, section 2
integrated_gradients   Sundararajan, Taly, Yan 2017, arXiv:1703.01365, section 3
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genlab.core.modes import evaluating

Model = Callable[[Tensor], Tensor]  # x (N, C, H, W) in [0, 1] -> logits (N, K)


def spoken(logits: Tensor, y: Tensor) -> Tensor:
    """The logit (N,) of the class y (N,) of every row.

    Raises:
        ValueError: y has not one class of the model per row.
    """
    n, classes = logits.shape
    if y.shape != (n,) or (n and not 0 <= int(y.min()) <= int(y.max()) < classes):
        raise ValueError(f"{n} images need a class below {classes} each, got {y.tolist()[:10]}")
    return logits.gather(1, y[:, None]).squeeze(1)


def slope(model: Model, x: Tensor, y: Tensor) -> Tensor:
    """d logit_y / dx, (N, C, H, W)."""
    with evaluating(model), torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        return torch.autograd.grad(spoken(model(x), y).sum(), x)[0]


def saliency(model: Model, x: Tensor, y: Tensor) -> Tensor:
    """|d logit_y / dx|, the largest of the channels: (N, H, W)."""
    return slope(model, x, y).abs().amax(1)


def smooth_grad(model: Model, x: Tensor, y: Tensor, n: int = 50, sigma: float = 0.15, seed: int = 0) -> Tensor:
    """The saliency of the mean slope among n noisy copies, (N, H, W); sigma in pixels of [0, 1]."""
    if n < 1:
        raise ValueError(f"SmoothGrad takes at least 1 copy, got {n}")
    g = torch.Generator(x.device).manual_seed(seed)
    noise = lambda: sigma * torch.randn(x.shape, generator=g, device=x.device, dtype=x.dtype)
    total = sum((slope(model, x + noise(), y) for _ in range(n)), torch.zeros_like(x))
    return (total / n).abs().amax(1)


def integrated_gradients(model: Model, x: Tensor, y: Tensor, baseline: Tensor | float = 0.0, steps: int = 50) -> Tensor:
    """(x - baseline) times the mean slope on the line between them, summed over channels: (N, H, W), signed.

    Complete: a map sums to logit_y(x) - logit_y(baseline), up to the error of the midpoint rule.
    """
    if steps < 1:
        raise ValueError(f"the line needs at least 1 step, got {steps}")
    start = torch.as_tensor(baseline, dtype=x.dtype, device=x.device).expand_as(x)
    at = [(k + 0.5) / steps for k in range(steps)]
    total = sum((slope(model, torch.lerp(start, x, t), y) for t in at), torch.zeros_like(x))
    return ((x - start) * total / steps).sum(1)
