"""Exact sampling from an autoregressive network, pixel by pixel, with cached activations."""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.likelihood.pixels import PixelDistribution
from genlab.nets.causal import CausalNet
from genlab.training.progress import Progress


def draw(
    net: CausalNet,
    head: PixelDistribution,
    u: Tensor,
    labels: Tensor | None = None,
    temperature: float = 1.0,
    given: Tensor | None = None,
    known: Tensor | None = None,
) -> Tensor:
    """Samples integers (n, groups, H, W) from the uniform numbers u (n, groups, H, W).

    given, known: for completion: integers (n, groups, H, W), and a mask (n, 1, H, W), bool, of the pixels that keep
    them. The other pixels are sampled in raster order, conditioned on the previous pixels only.
    """
    n, groups, height, width = u.shape
    with torch.inference_mode(), Progress("sampling", height, unit="rows", brief=True) as progress:
        k = torch.zeros_like(u, dtype=torch.int64) if given is None else given.clone()
        known = torch.zeros_like(u[:, :1], dtype=torch.bool) if known is None else known
        fixed = known.flatten(0, 1).all(0).tolist()
        walk = net.walk(n, width, labels)
        for i in range(height):
            walk.row()
            for j in range(width):
                if fixed[i][j]:
                    walk.put(j, head.encode(k[:, :, i, j]))
                    walk.at(j)  # updates the cache for the pixels after it
                    continue
                for g in range(groups):
                    outputs = walk.at(j).view(n, groups, -1)[:, g : g + 1]
                    drawn = head.draw(outputs, u[:, g : g + 1, i, j], temperature)
                    k[:, g : g + 1, i, j] = torch.where(known[:, :, i, j], k[:, g : g + 1, i, j], drawn)
                    walk.put(j, head.encode(k[:, :, i, j]))
            progress.log(i + 1, "")
    return k.clone()  # a normal tensor, not one of inference mode


@torch.no_grad()
def draw_uncached(
    net: CausalNet, head: PixelDistribution, u: Tensor, labels: Tensor | None = None, temperature: float = 1.0
) -> Tensor:
    """The same without cache: one forward pass of the whole network per channel of a pixel; for comparison."""
    _, groups, height, width = u.shape
    k = torch.zeros_like(u, dtype=torch.int64)
    for i in range(height):
        for j in range(width):
            for g in range(groups):
                outputs = net(head.encode(k), labels)[:, g : g + 1, :, i, j]
                k[:, g : g + 1, i, j] = head.draw(outputs, u[:, g : g + 1, i, j], temperature)
    return k
