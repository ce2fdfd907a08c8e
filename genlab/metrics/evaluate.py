"""All figures of a generator in one table, beside the same figures of real training images: the floor."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from genlab.data import Folder, Images
from genlab.metrics import checks
from genlab.metrics.features import Features, Pixels
from genlab.metrics.figures import FIGURES, Values, measure
from genlab.metrics.memorisation import closeness, nearest_image
from genlab.metrics.parzen import parzen
from genlab.metrics.seen import KEEP, Seen, extract_features, samples, shuffled
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
    """{"samples": figures by name, "train": the same of training images}; all against the test images.

    Beside FIGURES: `Parzen`, nats per image in pixels, tuned on one half of the test images and measured on the other;
    and with `train`, `nearest[...]`, distance to the nearest training image against that of test images (0: copies).
    Figures that these images do not determine, few or alike as they may be, are left out, with a warning for each.

    Args:
        sample: n -> images (n, C, H, W) in [0, 1], in eval mode, on the device of the features.
        train: what the generator learnt from; without it there is no second column and no `nearest`.
        n: samples to draw; the floor takes at most as many training images.
        batch: images at a time; changes memory and speed only.
        seed: decides samples, orders and subsets; the caller's random state is left alone.

    Raises:
        ValueError: fewer than two samples or training images, no test image, images outside [0, 1], or not those that
            the features know.
    """
    if (few := min(n, n if train is None else len(train))) < 2:
        raise ValueError(f"at least two samples and two training images are needed, got {few}")
    real_n = 0 if train is None else min(n, len(train))
    done = 0
    with Progress("evaluating", len(test) + n + real_n) as progress:

        def tell(count: int) -> None:
            nonlocal done
            done += count
            progress.advance(done)

        def see(images: Iterable[Tensor]) -> Seen:
            return extract_features(images, features, batch, tell, least=1)

        real = see(shuffled(test, seed=seed, batch=batch))
        columns = {"samples": see(samples(sample, n, seed))}
        if train is not None:
            columns["train"] = see(shuffled(train, real_n, seed, batch))
    table: Table = {title: {"images": len(fake)} for title, fake in columns.items()}
    with Progress("measuring", len(FIGURES), unit="figures", brief=True) as progress:
        for done, name in enumerate(FIGURES):
            progress.log(done, f"next: {name}")
            with checks.if_defined(name):
                _add(table, {title: measure(name, real, fake) for title, fake in columns.items()})
    with checks.if_defined("Parzen"):
        _add(table, {title: _tuned(real, fake) for title, fake in columns.items()})
    if train is not None:
        for space in {map_.name: map_ for map_ in (features, Pixels())}.values():
            near = {title: _distances(seen, space, train, batch) for title, seen in ({"test": real} | columns).items()}
            with checks.if_defined(name := f"nearest[{space.name}]"):
                _add(table, {title: {name: closeness(near[title], near["test"])} for title in columns})
    return table


def _add(table: Table, found: Table) -> None:
    for title, values in found.items():
        table[title] |= values


def _tuned(real: Seen, fake: Seen) -> Values:
    tuned = parzen(fake.pixels, real.pixels[::2], real.pixels[1::2])
    return {"Parzen": tuned.mean, "Parzen ±": tuned.error, "Parzen width": tuned.width}


def _distances(seen: Seen, space: Features, train: Images | Folder, batch: int) -> Tensor:
    """(min(N, KEEP),): distance of each image to its nearest training image."""
    points = seen.pixels if space.name == Pixels.name else seen.features[:KEEP]
    return nearest_image(points, train, space, batch)[0]
