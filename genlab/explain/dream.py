"""Deep Dream: an image in which a network sees more of what it saw; Mordvintsev, Olah, Tyka 2015, "Inceptionism"."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from genlab.core.modes import evaluating
from genlab.core.ranges import Positive, Range, Repeats, Seed, Steps, checked
from genlab.explain.layers import activations


@checked
def deep_dream(
    model: nn.Module,
    layer: nn.Module,
    x: Tensor,
    octaves: Repeats = 3,
    scale: Annotated[float, Range(1, 100, above=True)] = 1.4,
    steps: Steps = 20,
    step_size: Positive = 0.02,
    jitter: Annotated[int, Range(0, 10**4)] = 4,
    seed: Seed = 0,
) -> Tensor:
    """Gradient ascent on |a(x)|^2 / 2, whose gradient by the layer's output a is a itself: what is positive becomes
    more positive, what is negative more negative. Images like x (N, C, H, W) in [0, 1].

    Args:
        octaves: sizes of the image, each `scale` times the one before, up to that of x; what was dreamt at one size is
            enlarged and added to the image of the next.
        steps: of each octave.
        step_size: mean change of a pixel in a step.
        jitter: the image is moved by up to so many pixels, around its borders, before each step.

    Raises:
        ValueError: an argument is out of range, or the image is too small for the octaves or for the layer.
    """
    g = torch.Generator().manual_seed(seed)
    sizes = [[round(side / scale**k) for side in x.shape[2:]] for k in reversed(range(octaves))]
    if min(sizes[0]) < 4:
        raise ValueError(f"{octaves} octaves make the image {sizes[0][0]}x{sizes[0][1]} pixels: take fewer")
    dreamt = x.new_zeros(1, 1, 1, 1)
    with evaluating(model), torch.enable_grad():
        for size in sizes:
            image = interpolate(x, size, mode="bilinear", antialias=True)
            now = (image + interpolate(dreamt.expand(*image.shape[:2], -1, -1), size, mode="bilinear")).clamp(0, 1)
            for _ in range(steps):
                by = torch.randint(-jitter, jitter + 1, (2,), generator=g).tolist()
                moved = now.detach().roll(by, (2, 3)).requires_grad_()
                (a,) = activations(model, moved, [layer])
                (slope,) = torch.autograd.grad(a.square().sum() / 2, moved)
                size_of = slope.abs().flatten(1).mean(1).clamp(min=1e-12).view(-1, 1, 1, 1)
                now = (moved.detach() + step_size * slope / size_of).clamp(0, 1).roll([-each for each in by], (2, 3))
            dreamt = now - image
    return now.detach()
