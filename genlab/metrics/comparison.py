"""Metrics that compare two sets of images, by name: (real, fake) -> {name: value}; `measure` adds the features' name.

For sets smaller than the published number of neighbours k, k is reduced.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from genlab.metrics.cmmd import cmmd
from genlab.metrics.diversity import birthday, class_histogram, kl_to_uniform, smallest_distance
from genlab.metrics.extract import FeatureSet
from genlab.metrics.fid import frechet_distance
from genlab.metrics.inception_score import inception_score
from genlab.metrics.kid import kid
from genlab.metrics.precision_recall import density_coverage, precision_recall

Values = dict[str, float]
POOL = 2000  # images that are compared pairwise for duplicates


def _fid(real: FeatureSet, fake: FeatureSet) -> Values:
    return {"FID": frechet_distance(real.features, fake.features)}


def _kid(real: FeatureSet, fake: FeatureSet) -> Values:
    mean, spread = kid(real.features, fake.features)
    return {"KID": mean} if math.isnan(spread) else {"KID": mean, "KID ±": spread}


def _cmmd(real: FeatureSet, fake: FeatureSet) -> Values:
    return {"CMMD": cmmd(real.features, fake.features)}


def _precision_recall(real: FeatureSet, fake: FeatureSet) -> Values:
    k = min(3, len(real) - 1, len(fake) - 1)
    return dict(zip(("precision", "recall"), precision_recall(real.features, fake.features, k)))


def _density_coverage(real: FeatureSet, fake: FeatureSet) -> Values:
    k = min(5, len(real) - 1)
    return dict(zip(("density", "coverage"), density_coverage(real.features, fake.features, k)))


def _inception_score(real: FeatureSet, fake: FeatureSet) -> Values:
    if fake.logits is None:
        return {}
    splits = max(1, min(10, len(fake) // 100))
    return dict(zip(("IS", "IS ±"), inception_score(fake.logits, splits)))


def _classes(real: FeatureSet, fake: FeatureSet) -> Values:
    if fake.logits is None:
        return {}
    shares = class_histogram(fake.logits)
    return {"classes": int((shares > 0).sum()), "KL to uniform": kl_to_uniform(shares)}


def _support(real: FeatureSet, fake: FeatureSet) -> Values:
    """The support size by the birthday test; threshold: the smallest non-zero distance between real images.

    Real images therefore have a finite estimate, for reference. Without duplicates it is POOL² / (2 ln 2).
    """
    return {"support": birthday(fake.features[:POOL], smallest_distance(real.features[:POOL])).support}


METRICS: dict[str, Callable[[FeatureSet, FeatureSet], Values]] = {
    "FID": _fid,
    "KID": _kid,
    "CMMD": _cmmd,
    "precision-recall": _precision_recall,
    "density-coverage": _density_coverage,
    "IS": _inception_score,
    "classes": _classes,
    "support": _support,
}


def measure(name: str, real: FeatureSet, fake: FeatureSet) -> Values:
    """The values of one of METRICS, as in `FID[mnist-cnn]`; empty if it needs logits and the features have none.

    Raises:
        Undefined: the metric is undefined for these images.
    """
    return {f"{figure}[{fake.name}]": value for figure, value in METRICS[name](real, fake).items()}
