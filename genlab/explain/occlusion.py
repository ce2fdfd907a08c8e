"""Occlusion sensitivity; Zeiler & Fergus 2014, arXiv:1311.2901, section 4.2."""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.core.modes import evaluating
from genlab.explain.gradients import Model, class_output


@torch.no_grad()
def occlusion(model: Model, x: Tensor, y: Tensor, size: int = 3, value: float = 0.5, stride: int = 1) -> Tensor:
    """(N, H, W): the mean decrease of the probability of y over all occluding squares that cover the pixel.

    Args:
        size, stride: side of the square and distance of neighbouring squares, in pixels.
        value: pixel value of the square, in [0, 1]; on a black background a black square hides nothing.

    Raises:
        ValueError: the square does not fit into the image, or stride < 1.
    """
    h, w = x.shape[2:]
    if not 1 <= size <= min(h, w) or stride < 1:
        raise ValueError(f"a square has a side in [1, {min(h, w)}] and moves by at least 1, got {size} and {stride}")
    places = lambda length: sorted({*range(0, length - size + 1, stride), length - size})  # including the last position
    loss, count = x.new_zeros(len(x), h, w), x.new_zeros(h, w)
    with evaluating(model):
        probability = lambda x: class_output(model(x).softmax(1), y)
        whole = probability(x)
        for top in places(h):
            for left in places(w):
                part = slice(top, top + size), slice(left, left + size)
                covered = x.clone()
                covered[:, :, *part] = value
                loss[:, *part] += (whole - probability(covered))[:, None, None]
                count[part] += 1
    return loss / count.clamp(min=1)
