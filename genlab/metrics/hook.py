"""Metrics during training: `fit(..., hooks=[(every, MetricHook(run, features, test))])`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genlab.core.registry import choose
from genlab.data import Folder, Images
from genlab.metrics import checks
from genlab.metrics.comparison import METRICS, measure
from genlab.metrics.diversity import class_histogram
from genlab.metrics.extract import FeatureSet, extract_features, sampler, samples, shuffled
from genlab.metrics.features import Features
from genlab.run import Run
from genlab.training.method import Method


class MetricHook:
    """Evaluates n samples, always from the same seed, and logs a row {"images": ..., "FID[digits-cnn]": ...}.

    It does not influence the training: the random state is restored. `rows` holds the logged rows, `shares` the class
    histograms at the same times, if the features have logits.

    Args:
        run: the run or its future directory; none: rows are only kept in `rows`.
        features: on the device of the training.
        test: real images to compare with, on the same device.
        metrics: names of METRICS.
        n: samples per evaluation.

    Raises:
        ValueError: an unknown metric or fewer than two samples; when called, a method that does not generate.
    """

    def __init__(
        self,
        run: Run | Path | str | None,
        features: Features,
        test: Images | Folder,
        metrics: Sequence[str] = ("FID",),
        n: int = 1000,
        seed: int = 0,
    ):
        if n < 2:
            raise ValueError(f"at least two samples are needed, got {n}")
        self.metrics = [choose(name, METRICS, "metric") for name in metrics]
        self.run, self.features, self.test, self.n, self.seed = run, features, test, n, seed
        self.real: FeatureSet | None = None
        self.rows: list[dict[str, float]] = []
        self.shares: list[list[float]] = []

    def __call__(self, images: int, method: Method) -> None:
        draw = sampler(method)
        if self.real is None:
            self.real = extract_features(shuffled(self.test, seed=self.seed), self.features, least=1)
        fake = extract_features(samples(draw, self.n, self.seed), self.features)
        row: dict[str, float] = {"images": images}
        for name in self.metrics:
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
