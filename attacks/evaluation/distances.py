"""Smallest adversarial distances met during a search, and how near they are to the best that any attack found.

AttackBench: Cina et al. 2024, arXiv:2404.19460. d*: for each image, the smallest distance of an adversarial example
that the model was shown, within a budget of forward and backward passes; 0 for an image that is wrong from the start,
infinite if none was found. rho(eps) is the share of images with d* > eps (eq. 2), AUREC its integral from 0 to eps_0
(eq. 4), and the local optimality of an attack (eq. 5) compares its AUREC with that of the smallest d* of all attacks;
eps_0 is the largest of those. The global optimality is the mean over models.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.core.minimal import Norm
from attacks.core.model import Attack, Model, victim
from attacks.evaluation.crafting import Recorder

BATCH = 128


@dataclass(frozen=True)
class Distances:
    """distance (N,): d* of every image, on the CPU. correct: share of images classified correctly from the start.

    forwards, backwards: passes per image; seconds: of the whole.
    """

    distance: Tensor
    correct: float
    forwards: float
    backwards: float
    seconds: float


def smallest_distances(
    attack: Attack, model: Model, x: Tensor, y: Tensor, norm: Norm, budget: float = 2000, batch: int = BATCH
) -> Distances:
    """d* in `norm` of every image under the attack, within `budget` passes per image."""
    parts, forwards, backwards, begin = list[Tensor](), 0, 0, time.perf_counter()
    for images, labels in zip(x.split(batch), y.split(batch), strict=True):
        recorder = Recorder(model, norm, budget)
        recorder.watch(images, labels)
        attack(recorder, images.clone(), labels.clone())
        forwards, backwards = forwards + recorder.forwards, backwards + recorder.backwards
        recorder.budget = math.inf  # an image that is wrong from the start counts as 0, whatever was asked
        with victim(recorder, images, labels) as f:
            f.query(images)
        parts.append(recorder.distance.cpu())
    distance = torch.cat(parts)
    correct = float((distance > 0).double().mean())
    return Distances(distance, correct, forwards / len(x), backwards / len(x), time.perf_counter() - begin)


def aurec(distance: Tensor, eps: float) -> float:
    """The area under rho from 0 to eps, exactly: rho is a step function, so the mean of min(d*, eps)."""
    return float(distance.double().clamp(max=eps).mean())


def best_of(distances: Sequence[Tensor]) -> Tensor:
    """(N,): the smallest d* of all attacks, the empirical best attack a*."""
    return torch.stack(list(distances)).amin(0)


def local_optimality(distance: Tensor, best: Tensor, correct: float | None = None) -> float:
    """In [0, 1]: 1 if the attack is as good as the best of all, 0 if it finds nothing; NaN if nothing was found at all.

    correct: the clean accuracy; None: the share of images whose best distance is not 0.
    """
    correct = float((best > 0).double().mean()) if correct is None else correct
    finite = best[best.isfinite()].double()
    if len(finite) == 0:
        return math.nan
    eps = float(finite.max())
    room = correct * eps - aurec(best, eps)
    return min(1.0, max(0.0, (correct * eps - aurec(distance, eps)) / room)) if room > 0 else math.nan


def optimality(found: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, float]]:
    """model -> attack -> d* (N,) becomes attack -> model -> local optimality, and "global", their mean.

    Models on which no attack found anything, or all the same, are left out.
    """
    result: dict[str, dict[str, float]] = {attack: {} for distances in found.values() for attack in distances}
    for model, distances in found.items():
        best = best_of(list(distances.values()))
        for attack, distance in distances.items():
            if not math.isnan(score := local_optimality(distance, best)):
                result[attack][model] = score
    for scores in result.values():
        scores["global"] = sum(scores.values()) / max(1, len(scores))
    return result


def robustness_curve(distance: Tensor, eps: float) -> tuple[list[float], list[float]]:
    """The steps of rho from 0 to eps, as points (eps, share of images still classified correctly)."""
    ordered = distance.double().sort().values
    n, inside = len(ordered), ordered[ordered <= eps].tolist()
    xs, ys = [0.0], [1.0]
    for k, value in enumerate(inside, 1):
        xs += [value, value]
        ys += [ys[-1], 1 - k / n]
    return [*xs, eps], [*ys, ys[-1]]
