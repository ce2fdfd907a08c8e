"""Layer-wise relevance propagation (LRP); Bach et al. 2015, doi:10.1371/journal.pone.0130140.

The relevance R of a class begins as its logit and is handed back from every layer to its inputs, in proportion to what
each contributed: R_i = sum_j z_ij / z_j R_j.

epsilon   z_ij = a_i w_ij, z_j = sum_i z_ij + b_j + eps sign(z_j); equation 58. The bias and eps keep their shares.
z+        z_ij = (a_i w_ij)^+, z_j = sum_i z_ij: positive contributions alone, without the bias; equation 60 with
          alpha = 1, beta = 0, which for a_i >= 0 is the z+ rule of Montavon et al. 2017, arXiv:1512.02479.

Written as R = a * g, relevance is a gradient g of a network with the same values and other slopes (Montavon et al.
2019, "Layer-wise relevance propagation: an overview", section 10.2.2): layers with weights have the slope of z_j times
the constant a_j / z_j, pointwise layers such as tanh the constant slope output / input. Sums, pooling and ReLU need no
change, so this takes networks with skip connections behind
their first layer, too.
"""

from __future__ import annotations

from math import inf
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from genlab.core.modes import evaluating
from genlab.explain.gradients import class_output

Rule = Literal["epsilon", "z+"]
POINTWISE = (nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.ELU, nn.Softplus)  # their output's relevance is their input's
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)  # pointwise at test time: with z+ as the above, with epsilon as other weights
TINY = 1e-9


def lrp(model: nn.Module, x: Tensor, y: Tensor, rule: Rule = "epsilon", eps: float = 1e-3) -> Tensor:
    """(N, H, W), signed: the relevance of every pixel for logit_y, summed over channels.

    Relevance is read at the input of the first layer with weights: normalisation before it hands on what it gets. Maps
    sum to logit_y with z+ (a unit without positive contributions keeps its share), and with epsilon if there are no
    biases and eps is small.

    Args:
        model: of nn.Conv2d, nn.Linear, ReLU, pooling, batch normalisation, sums, and POINTWISE.
        eps: of the epsilon rule, in units of the layers' outputs.

    Raises:
        ValueError: another rule; y is not one class per image; no layer with weights sees every pixel of the images, or
            there are paths around the first, as behind a spatial transformer.
    """
    if rule not in ("epsilon", "z+") or not 0 <= eps < inf:
        raise ValueError(f"LRP takes the rule epsilon with a finite eps of at least 0, or z+, got {rule!r} and {eps}")
    first: list[Tensor] = []

    def enter(_layer: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor] | None:
        if first:
            return None
        first.append(inputs[0].detach().requires_grad_())
        return (first[0].clone(),)

    def weigh(layer: nn.Conv2d | nn.Linear, inputs: tuple[Tensor], out: Tensor) -> Tensor:
        z = out if rule == "epsilon" else positive(layer, inputs[0])
        stable = z + torch.where(z < 0, -eps, eps) if rule == "epsilon" else z
        return with_slope(out, z * ratio(out, stable))

    def hand_on(layer: nn.Module, inputs: tuple[Tensor], out: Tensor) -> Tensor:
        return with_slope(out, inputs[0] * ratio(out, inputs[0]))

    pointwise = POINTWISE if rule == "epsilon" else POINTWISE + NORMS
    handles = []
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            handles += [layer.register_forward_pre_hook(enter), layer.register_forward_hook(weigh)]
        elif isinstance(layer, pointwise):
            handles.append(layer.register_forward_hook(hand_on))
    try:
        with torch.inference_mode(False), evaluating(model), torch.enable_grad():
            pixels = x.detach().clone().requires_grad_()
            logit = class_output(model(pixels.clone()), y).sum()
    finally:
        for handle in handles:
            handle.remove()
    if not first or first[0].numel() != x.numel():
        raise ValueError(f"LRP needs a network whose first layer with weights sees every pixel of {tuple(x.shape)}")
    slope, around = torch.autograd.grad(logit, [first[0], pixels], allow_unused=True)
    if slope is None or (around is not None and around.any()):
        raise ValueError("LRP needs a network in which all paths go through its first layer with weights")
    return (first[0].detach() * slope).reshape(x.shape).sum(1)


def positive(layer: nn.Conv2d | nn.Linear, a: Tensor) -> Tensor:
    """sum_i (a_i w_ij)^+ of a convolution or linear layer."""
    apply = layer._conv_forward if isinstance(layer, nn.Conv2d) else linear
    up, down = layer.weight.clamp(min=0), layer.weight.clamp(max=0)
    return apply(a.clamp(min=0), up, None) + apply(a.clamp(max=0), down, None)


def ratio(a: Tensor, b: Tensor) -> Tensor:
    """a / b as a constant; 0 where b is 0."""
    return torch.where(b.abs() > TINY, a / b, 0.0).detach()


def with_slope(value: Tensor, slope: Tensor) -> Tensor:
    """A tensor with the value of one and the gradient of another."""
    return value.detach() + slope - slope.detach()
