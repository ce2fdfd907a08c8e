"""How near drawn images come to the true ones, and how real they look: for translations whose target is known."""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.data import Images
from genlab.metrics import checks
from genlab.metrics.features import ClassifierFeatures
from genlab.metrics.figures import measure
from genlab.metrics.seen import extract_features
from genlab.metrics.similarity import similarity

PARTNER_ERROR = "partner error"  # mean |drawn - true|, in pixels of [0, 1]


def partner_figures(drawn: Tensor, true: Tensor) -> dict[str, Tensor]:
    """Of each of the images drawn (N, C, H, W), (N,): the error against its true partner, and their `similarity`."""
    error = (drawn.double() - true.double()).abs().flatten(1).mean(1)
    return {PARTNER_ERROR: error, **similarity(drawn, true)}


@torch.no_grad()
def against_partners(drawn: Tensor, partners: Images, judge: ClassifierFeatures) -> dict[str, float]:
    """Of drawn (N, C, H, W) in [0, 1], image i meant to be image i of `partners`: their `partner_figures`, FID and
    content preservation, the share that `judge`, a classifier of such images, assigns to the true class."""
    true = partners.x
    fake, real = (extract_features([x], judge, least=1) for x in (drawn, true))
    found = {name: float(values.mean()) for name, values in partner_figures(drawn, true).items()}
    with checks.if_defined("FID"):
        found |= measure("FID", real, fake)
    return found | {
        "content preservation": float((judge.logits(fake.features).argmax(1) == partners.labels).float().mean())
    }
