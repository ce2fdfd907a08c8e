"""Attribution maps from the gradient of a class's logit by the input.

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


def class_output(logits: Tensor, y: Tensor) -> Tensor:
    """The output (N,) of the class y (N,) in every row of logits (or probabilities) (N, K).

    Raises:
        ValueError: y is not one class per row, from 0 to K - 1.
    """
    n, classes = logits.shape
    if y.shape != (n,) or (n and not 0 <= int(y.min()) <= int(y.max()) < classes):
        raise ValueError(f"{n} images need a class below {classes} each, got {y.tolist()[:10]}")
    return logits.gather(1, y[:, None]).squeeze(1)


def input_gradient(model: Model, x: Tensor, y: Tensor) -> Tensor:
    """d logit_y / dx, (N, C, H, W)."""
    with torch.inference_mode(False), evaluating(model), torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        return torch.autograd.grad(class_output(model(x.clone()), y).sum(), x)[0]  # its first layer may be in-place


def saliency(model: Model, x: Tensor, y: Tensor) -> Tensor:
    """|d logit_y / dx|, the maximum over channels: (N, H, W)."""
    return input_gradient(model, x, y).abs().amax(1)


def smooth_grad(model: Model, x: Tensor, y: Tensor, n: int = 50, sigma: float = 0.15, seed: int = 0) -> Tensor:
    """SmoothGrad: |mean gradient over n noisy copies|, the maximum over channels: (N, H, W).

    sigma: standard deviation of the noise, in pixels of [0, 1].
    """
    if n < 1:
        raise ValueError(f"SmoothGrad takes at least 1 copy, got {n}")
    g = torch.Generator(x.device).manual_seed(seed)
    noise = lambda: sigma * torch.randn(x.shape, generator=g, device=x.device, dtype=x.dtype)
    total = sum((input_gradient(model, x + noise(), y) for _ in range(n)), torch.zeros_like(x))
    return (total / n).abs().amax(1)


def integrated_gradients(model: Model, x: Tensor, y: Tensor, baseline: Tensor | float = 0.0, steps: int = 50) -> Tensor:
    """(x - baseline) times the mean gradient on the line from baseline to x, summed over channels: (N, H, W), signed.

    Completeness: a map sums to logit_y(x) - logit_y(baseline), up to the error of the midpoint rule (`steps` points).
    """
    if steps < 1:
        raise ValueError(f"integrated gradients need at least 1 step, got {steps}")
    start = torch.as_tensor(baseline, dtype=x.dtype, device=x.device).expand_as(x)
    at = [(k + 0.5) / steps for k in range(steps)]
    total = sum((input_gradient(model, torch.lerp(start, x, t), y) for t in at), torch.zeros_like(x))
    return ((x - start) * total / steps).sum(1)
