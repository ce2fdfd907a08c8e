"""Detectors of attacks, and a classifier that raises an alarm; `scores` has the scores, `DetectorAware` is the attack.

The threshold is chosen from clean images alone, as Xu, Evans, Qi 2018 do, arXiv:1704.01155. An attacker who knows of
the detector attacks both networks as one whose last class is the alarm (Carlini, Wagner 2017, arXiv:1705.07263):
report `attacks.detector_aware` beside the oblivious attack.
"""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import Tensor, nn

from attacks.core.goal import answers, is_adversarial
from attacks.evaluation.results import Rate
from genlab.core.modes import evaluating


class Detector(nn.Module):
    """x (N, C, H, W) in [0, 1] -> (N,) bool, the alarm: score(x) > threshold.

    score: x -> (N,), the higher the more suspicious. threshold and unit are those of a score; `calibrate` finds them.
    """

    threshold: Tensor
    unit: Tensor

    def __init__(self, score: nn.Module, threshold: float = math.nan, unit: float = 1.0) -> None:
        super().__init__()
        self.score = score
        self.register_buffer("threshold", torch.tensor(threshold))
        self.register_buffer("unit", torch.tensor(unit))

    def extra_repr(self) -> str:
        return f"threshold={self.threshold.item():.4g}"

    def calibrate(self, clean: Tensor, fpr: float) -> Self:
        """The detector whose alarm a new clean image sets off with a chance of at most `fpr`, given others, `clean`.

        The threshold is the score that holds back a share of 1 - fpr of the N + 1 images, the new one among them.
        """
        if not 0 < fpr < 1:
            raise ValueError(f"the false-positive rate must be in (0, 1), got {fpr!r}.")
        allowed = math.floor(fpr * (len(clean) + 1) + 1e-9)
        if allowed < 1:
            least = math.ceil(1 / fpr - 1e-9) - 1
            raise ValueError(f"a false-positive rate of {fpr:g} needs at least {least} clean images, got {len(clean)}.")
        scores = self.scores(clean)
        if not scores.isfinite().all():
            raise ValueError(f"scores of clean images must be finite, got {scores[~scores.isfinite()][0].item()}.")
        threshold, spread = scores.sort().values[-allowed].item(), scores.std(correction=0).item()
        return type(self)(self.score, threshold, spread or 1.0).to(scores.device)

    @torch.no_grad()
    def scores(self, x: Tensor, batch: int = 256) -> Tensor:
        """Scores (N,) of any number of images, in eval mode, without gradients."""
        with evaluating(self):
            return torch.cat([self.score(part) for part in x.split(batch)]) if len(x) else x.new_zeros(0)

    def excess(self, x: Tensor) -> Tensor:
        """(score - threshold) / unit, above 0 where there is an alarm."""
        if self.threshold.isnan():
            raise ValueError("the detector has no threshold: call calibrate(clean images, false-positive rate) first.")
        return (self.score(x) - self.threshold) / self.unit

    def forward(self, x: Tensor) -> Tensor:
        return self.excess(x) > 0


class Guarded(nn.Module):
    """x -> logits (N, K + 1): those of `model`, and an alarm, which is the answer where any detector raises its own.

    The alarm's logit is the largest of the others plus asinh(excess): an attacker who lowers it finds a gradient
    near the threshold and far from it. (The paper's is a multiple of the largest logit, which must then be positive.)
    """

    alarms = True  # to `evaluate`: who raises it has not succeeded

    def __init__(self, model: nn.Module, *detectors: Detector) -> None:
        super().__init__()
        if not detectors:
            raise ValueError("a guarded model needs at least 1 detector, got none.")
        self.model, self.detectors = model, nn.ModuleList(detectors)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.model(x)
        excess = torch.stack([detector.excess(x) for detector in self.detectors]).amax(0)  # type: ignore[operator]
        return torch.cat([logits, (logits.amax(1) + excess.asinh())[:, None]], 1)

    def adaptive(self) -> Self:
        """The same guarded model, attacked through any filter of its own."""
        model = self.model.adaptive() if hasattr(self.model, "adaptive") else self.model  # type: ignore[operator]
        return type(self)(model, *self.detectors)


@torch.no_grad()
def undetected(model: Guarded, x: Tensor, adversarial: Tensor, y: Tensor, batch: int = 256) -> Rate:
    """Of the images x that get their label y without alarm, how many are wrong without alarm when made adversarial."""
    with evaluating(model):
        logits = [torch.cat([model(part) for part in images.split(batch)]) for images in (x, adversarial)]
    right, alarm = answers(logits[0]) == y, logits[0].shape[1] - 1
    wrong = is_adversarial(logits[1], y) & (logits[1].argmax(1) != alarm)
    return Rate(int((right & wrong).sum()), int(right.sum()))
