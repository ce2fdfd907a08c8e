"""Figures during training: `fit(..., hooks=[(every, MetricHook(run, features, test))])`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genlab.core.registry import choose
from genlab.data import Folder, Images
from genlab.metrics import checks
from genlab.metrics.diversity import class_histogram
from genlab.metrics.features import Features
from genlab.metrics.figures import FIGURES, measure
from genlab.metrics.seen import Seen, extract_features, sampler, samples, shuffled
from genlab.run import Run
from genlab.training.method import Method


class MetricHook:
    """Draws n samples, always from the same seed, and logs a row {"images": ..., "FID[digits-cnn]": ...}.

    Training does not notice: the random state is put back, and the method is in eval mode as `fit` passes it. `rows`
    holds what was logged, `shares` the share of each class at the same moments, if the features come with a classifier.

    Args:
        run: the run, or the directory that it will have; none: rows are only kept in `rows`.
        features: on the device of the training.
        test: real images to compare with, on that device too.
        figures: names of FIGURES.
        n: samples per row.

    Raises:
        ValueError: an unknown figure or fewer than two samples; later, a method that does not generate.
    """

    def __init__(
        self,
        run: Run | Path | str | None,
        features: Features,
        test: Images | Folder,
        figures: Sequence[str] = ("FID",),
        n: int = 1000,
        seed: int = 0,
    ):
        if n < 2:
            raise ValueError(f"at least two samples are needed, got {n}")
        self.figures = [choose(name, FIGURES, "figure") for name in figures]
        self.run, self.features, self.test, self.n, self.seed = run, features, test, n, seed
        self.real: Seen | None = None
        self.rows: list[dict[str, float]] = []
        self.shares: list[list[float]] = []

    def __call__(self, images: int, method: Method) -> None:
        draw = sampler(method)
        if self.real is None:
            self.real = extract_features(shuffled(self.test, seed=self.seed), self.features, least=1)
        fake = extract_features(samples(draw, self.n, self.seed), self.features)
        row: dict[str, float] = {"images": images}
        for name in self.figures:
            with checks.if_defined(name):
                row |= measure(name, self.real, fake)
        self.rows.append(row)
        if fake.logits is not None:
            self.shares.append(class_histogram(fake.logits).tolist())
        if self.run is not None:
            (self.run if isinstance(self.run, Run) else Run(self.run)).log(row)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "shares": self.shares}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows, self.shares = state["rows"], state["shares"]
