"""A look at a model before it is attacked: its answers to the clean images, and what would make attacks mislead."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.core.callables import UNSEEN, networks
from attacks.core.goal import UNANSWERED, answers, cross_entropy
from attacks.core.model import Model, NoGradient, Victim, looks_like_probabilities, victim

ROUNDING = 0.01  # of an image's largest logit; in half precision, four units in the last place


def sentence(error: Exception) -> str:
    """An exception in one line of at most 300 characters."""
    text = " ".join(str(error).split())
    text = text if len(text) <= 300 else text[:297] + "..."
    return text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}".removesuffix(": ")


@dataclass(frozen=True)
class Look:
    """answers (N,): the classes of the clean images, UNANSWERED where a logit is NaN."""

    answers: Tensor
    warnings: list[str]


def inspect(name: str, model: Model, x: Tensor, y: Tensor, batch: int) -> Look:
    """The answers of the model `name` to x (N, ...), and warnings of what is odd about it.

    Odd are: NaN in logits or gradients, gradients that are zero or missing, probabilities instead of logits, outputs
    that are random or depend on the other images of the batch, no right answer at all, no module behind a callable.
    """
    found: list[str] = []
    if not networks(model):
        found.append(UNSEEN)
    with victim(model, x, y) as f:
        parts = x.split(batch)
        logits = torch.cat([f.query(part) for part in parts])
        random = not torch.allclose(_again(f, parts, y, found), logits, rtol=1e-4, atol=1e-5, equal_nan=True)
        if random:
            found.append("two passes over the same input differ, so attacks must average over its randomness.")
        elif len(x) >= 4:
            found += _company(f, x, logits, len(parts))
    seen = answers(logits)
    if looks_like_probabilities(logits):
        found.append("its outputs look like probabilities, but attacks expect logits.")
    if lost := int((seen == UNANSWERED).sum()):
        found.append(
            f"the logits are NaN on {lost} of {len(x)} clean inputs: these count neither as right nor as fooled."
        )
    if not (seen == y).any():
        found.append("no input is classified correctly, so there is no success rate.")
    return Look(seen, [f"{name}: {text}" for text in found])


def _again(f: Victim, parts: tuple[Tensor, ...], y: Tensor, found: list[str]) -> Tensor:
    """The logits once more, on the way to the gradients of the loss, if there are any; what is wrong with them."""
    n, logits, flat, broken = len(y), list[Tensor](), 0, 0
    try:
        for part, labels in zip(parts, y.split(len(parts[0])), strict=True):
            inputs = part.detach().clone().requires_grad_()
            again = f(inputs)
            (grad,) = torch.autograd.grad(cross_entropy(again, labels).sum(), inputs)
            answered = ~again.detach().isnan().any(1)
            flat += int(((grad.flatten(1) == 0).all(1)).sum())
            broken += int((~grad.flatten(1).isfinite().all(1) & answered).sum())
            logits.append(again.detach())
    except Exception as error:
        why = "" if isinstance(error, NoGradient) else f" ({sentence(error)})"
        found.append(
            f"it gives no gradient with respect to its input{why}: only attacks that need none can be measured."
        )
        return torch.cat([f.query(part) for part in parts])
    if flat:
        found.append(f"the gradient is exactly zero on {100 * flat / n:.0f} % of the inputs: attacks may be blind.")
    if broken:
        found.append(f"the gradient is NaN or infinite on {broken} of {n} clean inputs: attacks may be blind.")
    return torch.cat(logits)


def _company(f: Victim, x: Tensor, logits: Tensor, parts: int) -> list[str]:
    """Asks again in reversed order, in batches of half the size."""
    n = len(x)
    try:
        other = torch.cat([f.query(part.flip(0)) for part in reversed(x.tensor_split(min(2 * parts, n // 2)))]).flip(0)
    except Exception as error:
        return [f"it fails on batches of other sizes, which attacks may need: {sentence(error)}"]
    rounding = max(ROUNDING, 4 * torch.finfo(logits.dtype).eps) * logits.abs().amax(1, keepdim=True)
    changed = int(((other - logits).abs() > rounding).any(1).sum())
    if not changed:
        return []
    return [
        f"the answers to {changed} of {n} inputs depend on the other inputs of the batch (BatchNorm without running "
        "statistics?), so every figure depends on the batch size."
    ]
