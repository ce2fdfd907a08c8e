"""LIME: a local linear model of superpixels; Ribeiro, Singh, Guestrin 2016, arXiv:1602.04938, equation 1."""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.core.modes import evaluating
from genlab.explain.gradients import Model, class_output


def superpixels(x: Tensor, n: int = 16, colour: float = 0.5, seed: int = 0) -> Tensor:
    """(C, H, W) -> (H, W): at most n superpixels, numbered from 0.

    k-means of position and colour, as in SLIC (Achanta et al. 2012). colour: weight of the colour; at 1 the distance of
    black and white equals that of opposite sides of the image.
    """
    from sklearn.cluster import KMeans

    h, w = x.shape[1:]
    if not 1 <= n <= h * w:
        raise ValueError(f"{h}x{w} pixels fall into 1 to {h * w} superpixels, got {n}")
    rows, columns = torch.meshgrid(torch.linspace(0, 1, h), torch.linspace(0, 1, w), indexing="ij")
    points = torch.stack([rows, columns, *(colour * x.detach().float().cpu())]).flatten(1).T
    groups = KMeans(n, n_init=1, random_state=seed).fit_predict(points.numpy())
    return torch.as_tensor(groups, dtype=torch.int64, device=x.device).unique(return_inverse=True)[1].view(h, w)


@torch.no_grad()
def lime(
    model: Model,
    x: Tensor,
    y: Tensor,
    groups: Tensor,
    n: int = 500,
    value: float = 0.0,
    width: float = 0.25,
    ridge: float = 1e-3,
    seed: int = 0,
) -> Tensor:
    """(N, H, W), signed: the coefficient of each superpixel in a linear model of the probability of y.

    Weighted least squares on n perturbed copies per image, in which each superpixel is removed with probability 1/2;
    their weights are exp(-d^2 / width^2), with d the cosine distance to the original (section 3.4).

    Args:
        groups: (N, H, W), superpixels numbered from 0, as of `superpixels`.
        n: perturbed copies per image.
        value: pixel value of removed superpixels.
        width: of the kernel.
        ridge: L2 regularisation of the coefficients.
    """
    g = torch.Generator().manual_seed(seed)
    found = []
    with evaluating(model):
        for image, label, group in zip(x, y, groups, strict=True):
            k = int(group.max()) + 1
            shown = (torch.rand(n, k, generator=g) < 0.5).to(x)
            shown[0] = 1.0
            probability = class_output(
                model(torch.lerp(x.new_tensor(value), image, shown[:, group][:, None])).softmax(1), label.expand(n)
            )
            cosine = shown.sum(1) / (k * shown.sum(1).clamp(min=1)).sqrt()
            weight = (-((1 - cosine) / width).square()).exp().sqrt()[:, None]
            design = torch.cat([shown, torch.ones_like(shown[:, :1])], 1) * weight
            square = design.T @ design + ridge * torch.eye(k + 1, dtype=x.dtype, device=x.device)
            found.append(torch.linalg.solve(square, design.T @ (probability[:, None] * weight))[:k, 0][group])
    return torch.stack(found)
