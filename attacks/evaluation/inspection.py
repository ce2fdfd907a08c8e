"""Inspection of a model before it is attacked: predictions on clean images, and properties that mislead attacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.core.callables import NO_MODULE_FOUND, networks
from attacks.core.flags import gradients_noticed
from attacks.core.goal import NO_PREDICTION, cross_entropy, predicted_classes
from attacks.core.model import Model, NoGradient, Victim, looks_like_probabilities, victim

ROUNDING = 0.01  # relative to the largest logit of an image; at least four units in the last place


def one_line(error: Exception) -> str:
    """An exception in one line of at most 300 characters."""
    text = " ".join(str(error).split())
    text = text if len(text) <= 300 else text[:297] + "..."
    return text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}".removesuffix(": ")


@dataclass(frozen=True)
class Inspection:
    """predictions (N,): classes of the clean images, NO_PREDICTION (-1) where a logit is NaN."""

    predictions: Tensor
    warnings: list[str]


Parts = Callable[[], Iterable[tuple[Tensor, Tensor]]]  # the images and labels in batches, anew at every call


def inspect(name: str, model: Model, parts: Parts) -> Inspection:
    """Predictions of model `name` on all images of `parts`, and warnings.

    Warnings: NaN in logits or gradients, zero or missing gradients, probabilities instead of logits, outputs that are
    random or depend on the rest of the batch, gradients that the model computes itself, no correct prediction, a
    callable in which no module is found. Raises ValueError for labels that are no class of the model.
    """
    found: list[str] = []
    if not networks(model):
        found.append(NO_MODULE_FOUND)
    y = torch.cat([labels for _, labels in parts()])
    with victim(model, *next(iter(parts()))) as f:
        with gradients_noticed() as noticed:
            logits = torch.cat([f.query(x) for x, _ in parts()])
        if (most := int(y.max())) >= logits.shape[1]:
            raise ValueError(f"labels must be below the number of classes {logits.shape[1]}, got {most}.")
        if noticed:
            found.append(
                "it computes gradients when it predicts: only an attack made for it can tell how robust it is."
            )
        random = not torch.allclose(_second_pass(f, parts, found), logits, rtol=1e-4, atol=1e-5, equal_nan=True)
        if random:
            found.append("outputs are random: attacks must average over the randomness (EOT).")
        elif len(y) >= 4:
            found += _batch_dependence(f, parts, logits)
    seen = predicted_classes(logits)
    if looks_like_probabilities(logits):
        found.append("its outputs look like probabilities, but attacks expect logits.")
    if lost := int((seen == NO_PREDICTION).sum()):
        found.append(
            f"the logits are NaN on {lost} of {len(y)} clean inputs: these count neither as correct nor as fooled."
        )
    if not (seen == y).any():
        found.append("no input is classified correctly, so there is no success rate.")
    return Inspection(seen, [f"{name}: {text}" for text in found])


def _second_pass(f: Victim, parts: Parts, found: list[str]) -> Tensor:
    """A second pass, with gradients of the loss if there are any; adds warnings about them to `found`."""
    n, logits, flat, broken = 0, list[Tensor](), 0, 0
    try:
        for part, labels in parts():
            n += len(labels)
            inputs = part.detach().clone().requires_grad_()
            again = f(inputs)
            (grad,) = torch.autograd.grad(cross_entropy(again, labels).sum(), inputs)
            answered = ~again.detach().isnan().any(1)
            flat += int(((grad.flatten(1) == 0).all(1)).sum())
            broken += int((~grad.flatten(1).isfinite().all(1) & answered).sum())
            logits.append(again.detach())
    except Exception as error:
        why = "" if isinstance(error, NoGradient) else f" ({one_line(error)})"
        found.append(
            f"it gives no gradient with respect to its input{why}: only attacks without gradients can be evaluated."
        )
        return torch.cat([f.query(part) for part, _ in parts()])
    if flat:
        found.append(
            f"the gradient is exactly zero on {100 * flat / n:.0f} % of the inputs: gradient-based attacks may fail."
        )
    if broken:
        found.append(
            f"the gradient is NaN or infinite on {broken} of {n} clean inputs: gradient-based attacks may fail."
        )
    return torch.cat(logits)


def _batch_dependence(f: Victim, parts: Parts, logits: Tensor) -> list[str]:
    """Warns if predictions change in reversed order and batches of half the size."""
    n = len(logits)
    try:
        halves = (half for x, _ in parts() for half in x.tensor_split(2 if len(x) >= 4 else 1))
        other = torch.cat([f.query(half.flip(0)).flip(0) for half in halves])
    except Exception as error:
        return [f"it fails on batches of other sizes, which attacks may need: {one_line(error)}"]
    rounding = max(ROUNDING, 4 * torch.finfo(logits.dtype).eps) * logits.abs().amax(1, keepdim=True)
    changed = int(((other - logits).abs() > rounding).any(1).sum())
    if not changed:
        return []
    return [
        f"the logits of {changed} of {n} inputs depend on the other inputs of the batch (BatchNorm without running "
        "statistics?), so all results depend on the batch size."
    ]
