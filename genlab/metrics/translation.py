"""How good a translation is: likeness to the true partner, cycle error, content preservation, FID, and what is hidden.

`there` and `back` are maps x (N, C, H, W) in [0, 1] -> the same, between the sets a and b of a Pair.

Hidden information: Chu et al. 2017, arXiv:1712.02950, who add noise to the translated image; here also other
disturbances.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from genlab.data import Folder, Images, Pair, batches
from genlab.data.jpeg import jpeg
from genlab.metrics import checks
from genlab.metrics.features import ClassifierFeatures
from genlab.metrics.figures import measure
from genlab.metrics.partner import partner_figures
from genlab.metrics.seen import extract_features

Map = Callable[[Tensor], Tensor]
BATCH = 256
NOISE = 0.03  # standard deviation
QUALITY = 75  # of JPEG


def rounded(x: Tensor) -> Tensor:
    """To the 256 levels of a file."""
    return (x * 255).round() / 255


def noisy(x: Tensor) -> Tensor:
    """With Gaussian noise, the same at every call."""
    g = torch.Generator().manual_seed(0)
    return (x + NOISE * torch.randn(x.shape, generator=g).to(x.device)).clamp(0, 1)


DISTURBANCES: dict[str, Map] = {
    "8 bits": rounded,
    f"noise {NOISE}": noisy,
    f"JPEG {QUALITY}": partial(jpeg, quality=QUALITY),
}


@torch.no_grad()
def likeness(there: Map, back: Map, pair: Pair) -> dict[str, float]:
    """cycle error: mean |back(there(x)) - x|, x of a; of aligned pairs also the `partner_figures` of there(x)
    and the true y; errors in pixels of [0, 1]."""
    columns: dict[str, list[Tensor]] = {}
    for x, y in _both(pair):
        fake = there(x)
        found = {"cycle error": _error(back(fake), x)}
        if pair.aligned:
            found |= partner_figures(fake, y)
        for name, value in found.items():
            columns.setdefault(name, []).append(value)
    return {name: float(torch.cat(values).mean()) for name, values in columns.items()}


@torch.no_grad()
def hidden(there: Map, back: Map, pair: Pair) -> dict[str, float]:
    """The cycle error when the image in the middle is disturbed: a code too faint to see does not survive it. Of
    aligned pairs also from the true y in its place, which holds no code."""
    columns: dict[str, list[Tensor]] = {}
    for x, y in _both(pair):
        fake = there(x)
        middles = {f"cycle error, {name}": disturb(fake) for name, disturb in DISTURBANCES.items()}
        if pair.aligned:
            middles["error of back(y)"] = y
        for name, middle in middles.items():
            columns.setdefault(name, []).append(_error(back(middle), x))
    return {name: float(torch.cat(values).mean()) for name, values in columns.items()}


@torch.no_grad()
def preserved(there: Map, images: Images | Folder, judge: ClassifierFeatures) -> float:
    """The share of `images` whose translation the classifier of the target domain assigns to the class they are of."""
    right = [(judge.logits(judge(there(x))).argmax(1) == y).sum() for x, y in batches(images, BATCH)]
    return int(torch.stack(right).sum()) / len(images)


@torch.no_grad()
def translation(there: Map, back: Map, pair: Pair, judge: ClassifierFeatures) -> dict[str, float]:
    """All figures of the way from a to b by name; `judge` is a classifier of b's images, if a and b have the same
    classes; else one that tells a (0) from b (1), and "seen as the target" is what it takes for b."""
    a, b, name = pair.a, pair.b, "content preservation"
    if a.classes != b.classes:
        a, b = (replace(side, labels=torch.ones_like(side.labels), classes=("a", "b")) for side in (a, b))
        name = "seen as the target"
    found = {name: preserved(there, a, judge), "judge's accuracy": preserved(lambda y: y, b, judge)}
    real = extract_features((x for x, _ in batches(pair.b, BATCH)), judge, least=1)
    fake = extract_features((there(x) for x, _ in batches(pair.a, BATCH)), judge, least=1)
    found |= likeness(there, back, pair)
    with checks.if_defined("FID"):
        found |= measure("FID", real, fake)
    return found | hidden(there, back, pair)


@torch.no_grad()
def side_by_side(there: Map, back: Map, pair: Pair) -> Tensor:
    """A square of images: x, there(x), back(there(x)) and, of aligned pairs, the true y beside each other."""
    kinds = 4 if pair.aligned else 3
    x = next(batches(pair.a, 4 * kinds))[0]
    columns = [x, there(x), back(there(x))] + ([next(batches(pair.b, len(x)))[0]] if pair.aligned else [])
    return torch.stack(columns, 1).flatten(0, 1)


def _both(pair: Pair) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches x of a, each with its partners y; y is x where there are none."""
    ys = batches(pair.b, BATCH) if pair.aligned else batches(pair.a, BATCH)
    return ((x, y) for (x, _), (y, _) in zip(batches(pair.a, BATCH), ys))


def _error(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute error per image, (N,)."""
    return (x.double() - y.double()).abs().flatten(1).mean(1)
