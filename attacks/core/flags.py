"""Symptoms of a model on which the verdict of AutoAttack means little, as warnings of one sentence.

The five of the authors' implementation (Croce, Hein 2020, arXiv:2003.01690): random outputs, probabilities instead of
logits (of which `Victim` warns for every attack), zero gradients, Square better than the attacks with gradients, and
gradients that the model computes itself when it predicts (Tramer et al. 2020, arXiv:2002.08347: dynamic defences).
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from attacks.core.goal import margin
from attacks.core.model import Victim

FEW = 16  # images that are looked at
SHARE = 0.002  # of the images: so many may fall to Square alone
RANDOM = 'the model\'s outputs are random: use version="rand", which averages over the randomness.'
ZERO = "the gradient of the logits is exactly zero for some images: attacks that follow it may fail."
OPTIMISES = "the model computes gradients when it predicts: AutoAttack may fail, only an adaptive attack tells."
BLACK_BOX = "Square, which uses no gradients, fools images that the attacks with gradients do not: these may be masked."


def inspect(f: Victim, x: Tensor, y: Tensor, random: bool) -> int:
    """The number of classes; warns of what is seen in two forward passes and one backward pass of the first images.

    random: whether random outputs are expected.
    """
    x, y = x[:FEW], y[:FEW]
    with gradients_noticed() as noticed:
        logits = f.query(x)
    if noticed:
        warnings.warn(OPTIMISES, stacklevel=2)
    again, _, grad = f.ascend(x, lambda logits: margin(logits, y))
    if not random and not torch.allclose(again, logits, rtol=1e-4, atol=1e-5, equal_nan=True):
        warnings.warn(RANDOM, stacklevel=2)
    if grad is not None and (grad.flatten(1) == 0).all(1).any():
        warnings.warn(ZERO, stacklevel=2)
    return logits.shape[1]


def compare(fooled: int, n: int) -> None:
    """Warns if Square alone fooled more than a share `SHARE` of n images."""
    if fooled > SHARE * n:
        warnings.warn(BLACK_BOX, stacklevel=2)


@contextmanager
def gradients_noticed() -> Iterator[list[bool]]:
    """A list that is not empty once torch.autograd.grad or backward has been called inside the context."""
    noticed, before = list[bool](), sys.getprofile()
    codes = {torch.autograd.grad.__code__, torch.autograd.backward.__code__}

    def look(frame, event, _):
        if event == "call" and frame.f_code in codes:
            noticed.append(True)

    sys.setprofile(look)
    try:
        yield noticed
    finally:
        sys.setprofile(before)
