"""The figures that compare two sets of images, by name: (real, fake) -> values by name, before the features' name.

Where a set has too few images for the published number of neighbours, all others are the neighbours.
"""

from __future__ import annotations

from collections.abc import Callable

from genlab.metrics.diversity import birthday, class_histogram, kl_to_uniform, smallest_gap
from genlab.metrics.fid import frechet
from genlab.metrics.inception_score import inception_score
from genlab.metrics.kid import kid
from genlab.metrics.precision_recall import density_coverage, precision_recall
from genlab.metrics.seen import Seen

Values = dict[str, float]
POOL = 2000  # images that are compared all with all for duplicates


def _fid(real: Seen, fake: Seen) -> Values:
    return {"FID": frechet(real.features, fake.features)}


def _kid(real: Seen, fake: Seen) -> Values:
    return dict(zip(("KID", "KID ±"), kid(real.features, fake.features)))


def _precision_recall(real: Seen, fake: Seen) -> Values:
    k = min(3, len(real) - 1, len(fake) - 1)
    return dict(zip(("precision", "recall"), precision_recall(real.features, fake.features, k)))


def _density_coverage(real: Seen, fake: Seen) -> Values:
    k = min(5, len(real) - 1)
    return dict(zip(("density", "coverage"), density_coverage(real.features, fake.features, k)))


def _inception_score(real: Seen, fake: Seen) -> Values:
    if fake.logits is None:
        return {}
    splits = max(1, min(10, len(fake) // 100))
    return dict(zip(("IS", "IS ±"), inception_score(fake.logits, splits)))


def _classes(real: Seen, fake: Seen) -> Values:
    if fake.logits is None:
        return {}
    shares = class_histogram(fake.logits)
    return {"classes": int((shares > 0).sum()), "KL to uniform": kl_to_uniform(shares)}


def _support(real: Seen, fake: Seen) -> Values:
    """Duplicates are samples nearer to each other than any two different real images are.

    So even real images get a finite support, which is the scale; POOL² / (2 ln 2), if no duplicate was found.
    """
    return {"support": birthday(fake.features[:POOL], smallest_gap(real.features[:POOL])).support}


FIGURES: dict[str, Callable[[Seen, Seen], Values]] = {
    "FID": _fid,
    "KID": _kid,
    "precision-recall": _precision_recall,
    "density-coverage": _density_coverage,
    "IS": _inception_score,
    "classes": _classes,
    "support": _support,
}


def measure(name: str, real: Seen, fake: Seen) -> Values:
    """The values of one of FIGURES, as `FID[mnist-cnn]`; none if the features lack the logits that it needs.

    Raises:
        Undefined: these images do not determine it.
    """
    return {f"{figure}[{fake.name}]": value for figure, value in FIGURES[name](real, fake).items()}
