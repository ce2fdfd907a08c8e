"""Metrics of paired translation: errors against the true targets (partners), FID, content preservation."""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.data import Images
from genlab.metrics import checks
from genlab.metrics.comparison import measure
from genlab.metrics.extract import extract_features
from genlab.metrics.features import ClassifierFeatures
from genlab.metrics.similarity import similarity

PARTNER_ERROR = "partner error"  # mean |output - target|, pixels in [0, 1]


def partner_metrics(outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Per image (N,): the mean absolute error of outputs against targets, both (N, C, H, W), and their `similarity`."""
    error = (outputs.double() - targets.double()).abs().flatten(1).mean(1)
    return {PARTNER_ERROR: error, **similarity(outputs, targets)}


@torch.no_grad()
def against_partners(outputs: Tensor, partners: Images, classifier: ClassifierFeatures) -> dict[str, float]:
    """The mean `partner_metrics` of outputs (N, C, H, W) in [0, 1], whose targets are `partners`, their FID, and
    content preservation: the accuracy of `classifier`, trained on such images, on the outputs."""
    targets = partners.x
    fake, real = (extract_features([x], classifier, least=1) for x in (outputs, targets))
    found = {name: float(values.mean()) for name, values in partner_metrics(outputs, targets).items()}
    with checks.if_defined("FID"):
        found |= measure("FID", real, fake)
    return found | {
        "content preservation": float((classifier.logits(fake.features).argmax(1) == partners.labels).float().mean())
    }
