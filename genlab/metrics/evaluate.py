"""All metrics of a generator in one table, with those of real training images as reference."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from genlab.data import Folder, Images
from genlab.metrics import checks
from genlab.metrics.comparison import METRICS, Values, measure
from genlab.metrics.extract import KEEP, FeatureSet, extract_features, samples, shuffled
from genlab.metrics.features import Features, PixelFeatures
from genlab.metrics.memorisation import nearest_distance_ratio, nearest_image
from genlab.metrics.parzen import parzen
from genlab.training.progress import Progress

Table = dict[str, dict[str, float]]


@torch.no_grad()
def evaluate(
    sample: Callable[[int], Tensor],
    test: Images | Folder,
    features: Features,
    train: Images | Folder | None = None,
    n: int = 5000,
    batch: int = 256,
    seed: int = 0,
) -> Table:
    """{"samples": metrics by name, "train": the same metrics of training images}; all compared with the test images.

    Besides METRICS: `Parzen`, the log-likelihood in nats per image, with the width chosen on one half of the test
    images and measured on the other; and with `train`, `nearest[...]`, the ratio of the median distances of samples and
    of test images to their nearest training images (0: copies). Metrics that are undefined for these images (too few,
    or identical) are left out with a warning.

    Args:
        sample: n -> images (n, C, H, W) in [0, 1], in eval mode, on the device of the features.
        train: the training images of the generator; none: no second column and no `nearest`.
        n: number of samples; the reference uses at most as many training images.
        batch: images per forward pass; affects memory and speed only.
        seed: of samples, orders and subsets; the global random state is restored.

    Raises:
        ValueError: fewer than two samples or training images, no test image, images outside [0, 1] or of another shape
            than the features take.
    """
    if (few := min(n, n if train is None else len(train))) < 2:
        raise ValueError(f"at least two samples and two training images are needed, got {few}")
    real_n = 0 if train is None else min(n, len(train))
    done = 0
    with Progress("evaluating", len(test) + n + real_n) as progress:

        def advance(count: int) -> None:
            nonlocal done
            done += count
            progress.advance(done)

        def extract(images: Iterable[Tensor]) -> FeatureSet:
            return extract_features(images, features, batch, advance, least=1)

        real = extract(shuffled(test, seed=seed, batch=batch))
        columns = {"samples": extract(samples(sample, n, seed))}
        if train is not None:
            columns["train"] = extract(shuffled(train, real_n, seed, batch))
    table: Table = {title: {"images": len(fake)} for title, fake in columns.items()}
    with Progress("measuring", len(METRICS), unit="metrics", brief=True) as progress:
        for done, name in enumerate(METRICS):
            progress.log(done, f"next: {name}")
            with checks.if_defined(name):
                _add(table, {title: measure(name, real, fake) for title, fake in columns.items()})
    with checks.if_defined("Parzen"):
        _add(table, {title: _tuned(real, fake) for title, fake in columns.items()})
    if train is not None:
        for space in {map_.name: map_ for map_ in (features, PixelFeatures())}.values():
            near = {title: _distances(seen, space, train, batch) for title, seen in ({"test": real} | columns).items()}
            with checks.if_defined(name := f"nearest[{space.name}]"):
                _add(table, {title: {name: nearest_distance_ratio(near[title], near["test"])} for title in columns})
    return table


@torch.no_grad()
def compare(real: Images | Folder, fake: Images | Folder, features: Features, batch: int = 256) -> Values:
    """All METRICS of two sets of images by name, such as FID[pixels]; those that are undefined are left out with a
    warning.

    Raises:
        ValueError: a set has fewer than two images, or the features do not take them.
    """
    sides = [extract_features(shuffled(images, batch=batch), features, batch) for images in (real, fake)]
    found: Values = {"images": len(sides[1])}
    for name in METRICS:
        with checks.if_defined(name):
            found |= measure(name, *sides)
    return found


def _add(table: Table, found: Table) -> None:
    for title, values in found.items():
        table[title] |= values


def _tuned(real: FeatureSet, fake: FeatureSet) -> Values:
    tuned = parzen(fake.pixels, real.pixels[::2], real.pixels[1::2])
    return {"Parzen": tuned.mean, "Parzen ±": tuned.error, "Parzen width": tuned.width}


def _distances(seen: FeatureSet, space: Features, train: Images | Folder, batch: int) -> Tensor:
    """(min(N, KEEP),): the distance of each image to its nearest training image."""
    points = seen.pixels if space.name == PixelFeatures.name else seen.features[:KEEP]
    return nearest_image(points, train, space, batch)[0]
