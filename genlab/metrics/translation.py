"""Metrics of unpaired translation: cycle error, error against the true partner, content preservation, FID, and hidden
information.

`there` and `back` are the translations a -> b and b -> a between the sets of a Pair: x (N, C, H, W) in [0, 1] -> the
same shape and range.

Hidden information: Chu et al. 2017, arXiv:1712.02950, who add noise to the translated image; here also rounding and
JPEG.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from genlab.core.picture import MOST, Picture, in_rows
from genlab.data import Folder, Images, Pair, batches
from genlab.data.jpeg import jpeg
from genlab.metrics import checks
from genlab.metrics.comparison import measure
from genlab.metrics.extract import extract_features
from genlab.metrics.features import ClassifierFeatures
from genlab.metrics.partner import partner_metrics

Map = Callable[[Tensor], Tensor]
BATCH = 256
NOISE = 0.03  # standard deviation
QUALITY = 75  # of JPEG


def rounded(x: Tensor) -> Tensor:
    """x rounded to 8 bits."""
    return (x * 255).round() / 255


def noisy(x: Tensor) -> Tensor:
    """x with Gaussian noise, the same at every call."""
    g = torch.Generator().manual_seed(0)
    return (x + NOISE * torch.randn(x.shape, generator=g).to(x.device)).clamp(0, 1)


PERTURBATIONS: dict[str, Map] = {
    "8 bits": rounded,
    f"noise {NOISE}": noisy,
    f"JPEG {QUALITY}": partial(jpeg, quality=QUALITY),
}


@torch.no_grad()
def cycle_errors(there: Map, back: Map, pair: Pair) -> dict[str, float]:
    """cycle error: mean |back(there(x)) - x| over a; for aligned pairs also the `partner_metrics` of there(x) against
    the true partners; errors in pixels of [0, 1]."""
    columns: dict[str, list[Tensor]] = {}
    for x, y in _both(pair):
        fake = there(x)
        found = {"cycle error": _error(back(fake), x)}
        if pair.aligned:
            found |= partner_metrics(fake, y)
        for name, value in found.items():
            columns.setdefault(name, []).append(value)
    return {name: float(torch.cat(values).mean()) for name, values in columns.items()}


@torch.no_grad()
def hidden_information(there: Map, back: Map, pair: Pair) -> dict[str, float]:
    """The cycle error when the translated image is perturbed: it rises if the image hides information in an invisible
    signal. For aligned pairs also the error of back(y) from the true partner y, which hides nothing."""
    columns: dict[str, list[Tensor]] = {}
    for x, y in _both(pair):
        fake = there(x)
        middles = {f"cycle error, {name}": disturb(fake) for name, disturb in PERTURBATIONS.items()}
        if pair.aligned:
            middles["error of back(y)"] = y
        for name, middle in middles.items():
            columns.setdefault(name, []).append(_error(back(middle), x))
    return {name: float(torch.cat(values).mean()) for name, values in columns.items()}


@torch.no_grad()
def content_preservation(there: Map, images: Images | Folder, judge: ClassifierFeatures) -> float:
    """The share of `images` whose translation a classifier of the target domain assigns to their class."""
    right = [(judge.logits(judge(there(x))).argmax(1) == y).sum() for x, y in batches(images, BATCH)]
    return int(torch.stack(right).sum()) / len(images)


@torch.no_grad()
def translation(there: Map, back: Map, pair: Pair, judge: ClassifierFeatures) -> dict[str, float]:
    """All metrics of the translation from a to b by name.

    judge: if a and b have the same classes, a classifier of b's images, for "content preservation"; else a classifier
    of a (0) against b (1), for "target-domain accuracy", the share of translations that it assigns to b.
    """
    a, b, name = pair.a, pair.b, "content preservation"
    if a.classes != b.classes:
        a, b = (replace(side, labels=torch.ones_like(side.labels), classes=("a", "b")) for side in (a, b))
        name = "target-domain accuracy"
    found = {
        name: content_preservation(there, a, judge),
        "classifier accuracy": content_preservation(lambda y: y, b, judge),
    }
    real = extract_features((x for x, _ in batches(pair.b, BATCH)), judge, least=1)
    fake = extract_features((there(x) for x, _ in batches(pair.a, BATCH)), judge, least=1)
    found |= cycle_errors(there, back, pair)
    with checks.if_defined("FID"):
        found |= measure("FID", real, fake)
    return found | hidden_information(there, back, pair)


@torch.no_grad()
def side_by_side(there: Map, back: Map, pair: Pair) -> Picture:
    """Rows: x, there(x), back(there(x)) and, for aligned pairs, the true partners."""
    x = next(batches(pair.a, MOST))[0]
    rows = {"original": x, "translated": there(x), "and back": back(there(x))}
    return in_rows(rows | ({"true partner": next(batches(pair.b, MOST))[0]} if pair.aligned else {}))


@torch.no_grad()
def hidden_code(there: Map, back: Map, pair: Pair, times: float = 8.0) -> Picture:
    """Rows: x, there(x), the code that it hides, and what comes back from there(x), undisturbed and disturbed.

    The code is made visible as `times` the difference of there(x) from the true partner, around grey; if the pair is
    not aligned, as the difference that JPEG makes.
    """
    x = next(batches(pair.a, MOST))[0]
    fake = there(x)
    plain = next(batches(pair.b, MOST))[0] if pair.aligned else jpeg(fake, quality=QUALITY)
    rows = {"original": x, "translated": fake, f"hidden code × {times:g}": 0.5 + times * (fake - plain)}
    rows["and back"] = back(fake)
    return in_rows(rows | {f"back after {name}": back(disturb(fake)) for name, disturb in PERTURBATIONS.items()})


def _both(pair: Pair) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches x of a with their partners y; if the pair is not aligned, y is x."""
    ys = batches(pair.b, BATCH) if pair.aligned else batches(pair.a, BATCH)
    return ((x, y) for (x, _), (y, _) in zip(batches(pair.a, BATCH), ys))


def _error(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute error per image, (N,)."""
    return (x.double() - y.double()).abs().flatten(1).mean(1)
