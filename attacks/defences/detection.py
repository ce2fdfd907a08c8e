"""Detectors of adversarial examples, and a classifier with an alarm class; scores are in `attacks.defences.scores`.

The threshold is chosen on clean images only, as in Xu, Evans, Qi 2018, arXiv:1704.01155. The adaptive attack treats
classifier and detector as one model whose last class is the alarm (Carlini, Wagner 2017, arXiv:1705.07263): report
`attacks.detector_aware` beside the oblivious attack.
"""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import Tensor, nn

from attacks.core.goal import is_adversarial, predicted_classes
from attacks.core.rate import Rate
from genlab.core.modes import evaluating


class Detector(nn.Module):
    """x (N, C, H, W) in [0, 1] -> (N,) bool, the alarm: score(x) > threshold.

    score: x -> (N,), higher for adversarial images. unit: scale of the score. `calibrate` sets threshold and unit.
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
        """The detector with a false-positive rate of at most fpr on new clean images; clean (N, C, H, W).

        The threshold is the conformal (1 - fpr) quantile of the scores; unit is their standard deviation. Raises
        ValueError for fpr outside (0, 1), too few images, and scores that are not finite.
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
        """Scores (N,) of x (N, C, H, W) in batches, in eval mode, without gradients."""
        with evaluating(self):
            return torch.cat([self.score(part) for part in x.split(batch)]) if len(x) else x.new_zeros(0)

    def excess(self, x: Tensor) -> Tensor:
        """(N,): (score - threshold) / unit, above 0 where there is an alarm. Raises ValueError without a threshold."""
        if self.threshold.isnan():
            raise ValueError("the detector has no threshold: call calibrate(clean images, false-positive rate) first.")
        return (self.score(x) - self.threshold) / self.unit

    def forward(self, x: Tensor) -> Tensor:
        return self.excess(x) > 0


class GuardedClassifier(nn.Module):
    """x -> logits (N, K + 1): those of `model`, and the alarm, which is predicted where any detector raises an alarm.

    The logit of the alarm is the largest of the others plus asinh(excess), which has a useful gradient near the
    threshold and far from it. (The paper's is a multiple of the largest logit, which must then be positive.)
    """

    has_alarm_class = True  # read by `evaluate`: predicting the alarm is no success

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
        """The same guarded model, with `adaptive()` of its classifier if it has that method."""
        model = self.model.adaptive() if hasattr(self.model, "adaptive") else self.model  # type: ignore[operator]
        return type(self)(model, *self.detectors)


@torch.no_grad()
def undetected(model: GuardedClassifier, x: Tensor, adversarial: Tensor, y: Tensor, batch: int = 256) -> Rate:
    """Of the images x classified as y without alarm, the rate of misclassification without alarm of `adversarial`."""
    with evaluating(model):
        logits = [torch.cat([model(part) for part in images.split(batch)]) for images in (x, adversarial)]
    right, alarm = predicted_classes(logits[0]) == y, logits[0].shape[1] - 1
    wrong = is_adversarial(logits[1], y) & (logits[1].argmax(1) != alarm)
    return Rate(int((right & wrong).sum()), int(right.sum()))
