"""Style transfer by Gram matrices; Gatys, Ecker, Bethge 2015, arXiv:1508.06576.

Departures: projected Adam in place of L-BFGS. The paper scales the network's weights so that the mean activation of
every filter is 1; here every term of the loss is divided by its value for activations of 0, so that it is 1 there. The
total variation of the image may be penalised.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genlab.core.modes import evaluating
from genlab.core.ranges import LearningRate, Steps, Weight, checked
from genlab.explain.layers import activations
from genlab.explain.maximise import total_variation


def gram(a: Tensor) -> Tensor:
    """(N, K, h, w) -> (N, K, K): equation 3, G_ij = sum_k F_ik F_jk, divided by the number of positions."""
    f = a.flatten(2)
    return f @ f.mT / f.shape[2]


def distance(a: Tensor, b: Tensor) -> Tensor:
    """|a - b|^2 / |b|^2 for each of N, (N,): equations 1 and 4, up to their scale."""
    return (a - b).flatten(1).square().sum(1) / b.flatten(1).square().sum(1).clamp(min=1e-12)


def style_distance(model: nn.Module, layers: Sequence[nn.Module], x: Tensor, style: Tensor) -> Tensor:
    """(N,): the mean over layers of the distance of Gram matrices of images x and style; equation 5."""
    with evaluating(model):
        pairs = zip(activations(model, x, layers), activations(model, style, layers))
        return torch.stack([distance(gram(a), gram(b)) for a, b in pairs]).mean(0)


@checked
def style_transfer(
    model: nn.Module,
    content: Tensor,
    style: Tensor,
    content_layer: nn.Module,
    style_layers: Sequence[nn.Module],
    weight: Weight = 300.0,
    smooth: Weight = 0.01,
    steps: Steps = 200,
    lr: LearningRate = 0.02,
) -> Tensor:
    """argmin_x L_content(x) + weight L_style(x) + smooth TV(x), from the content images: images of their shape.

    Args:
        content: (N, C, H, W) in [0, 1]: its activations of `content_layer` are kept.
        style: (N, C, h, w) in [0, 1], of any size: the Gram matrices of its activations of `style_layers` are kept.
        weight: beta / alpha of equation 7. smooth: weight of the total variation, a sum over pixels.

    Raises:
        ValueError: not one style for each content, no style layer, or an argument is out of range.
    """
    if not style_layers:
        raise ValueError("style transfer needs at least one style layer, got none")
    if len(content) != len(style):
        raise ValueError(f"{len(content)} images need as many styles, got {len(style)}")
    layers = [content_layer, *style_layers]
    with evaluating(model):
        with torch.no_grad():
            (kept,) = activations(model, content, [content_layer])
            grams = [gram(a) for a in activations(model, style, style_layers)]
        with torch.enable_grad():
            x = content.detach().clone().requires_grad_()
            optimizer = torch.optim.Adam([x], lr)
            for _ in range(steps):
                optimizer.zero_grad()
                a, *others = activations(model, x, layers)
                styles = torch.stack([distance(gram(b), target) for b, target in zip(others, grams)]).mean(0)
                loss = distance(a, kept) + weight * styles + smooth * total_variation(x)
                loss.sum().backward(inputs=[x])
                optimizer.step()
                with torch.no_grad():
                    x.clamp_(0, 1)
    return x.detach()
