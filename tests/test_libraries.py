"""Comparisons with other libraries: what is measured, and that a missing library is left out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from attacks.core.ball import Linf
from attacks.libraries import BENCHMARKS, LibraryBenchmark, run_benchmark
from attacks.pgd import FGSM
from genlab.core.timing import seconds
from genlab.data import Images


def absent(model, data):
    raise ImportError("no such library")


def test_a_contest_measures_success_and_size_and_leaves_out_what_is_missing() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)).requires_grad_(False)
    model[1].weight.copy_(torch.tensor([[-1.0] * 4, [1.0] * 4]))
    data = Images(torch.full((6, 1, 2, 2), 51, dtype=torch.uint8), torch.ones(6, dtype=torch.int64), ("a", "b"), "toy")
    data.labels[5] = 0  # wrong from the start: not counted
    idle = lambda model, data: lambda x, y: x  # noqa: E731
    lazy = lambda model, data: lambda x, y: torch.cat([0 * x[:1], x[1:]])  # noqa: E731
    benchmark = LibraryBenchmark(FGSM(Linf(0.2)), "linf", 6, {"idle": idle, "absent": absent, "lazy": lazy})
    found = {result.library: result for result in run_benchmark(benchmark, model, data)}
    assert list(found) == ["genlab", "idle", "lazy"]
    assert found["idle"].success == 0 and found["idle"].size != found["idle"].size
    assert found["lazy"].success == pytest.approx(0.2) and found["lazy"].size == pytest.approx(0.2)


def test_every_duel_names_a_norm_and_rivals() -> None:
    assert all(
        benchmark.norm in ("l0", "l1", "l2", "linf") and benchmark.libraries for benchmark in BENCHMARKS.values()
    )


def test_rounds_hold_the_time_of_every_work_without_the_first() -> None:
    calls: list[str] = []
    rounds = seconds([lambda: calls.append("a"), lambda: calls.append("b")], 3)
    assert calls == ["a", "b"] * 4 and len(rounds) == 3 and all(len(times) == 2 for times in rounds)
    with pytest.raises(ValueError, match="got 0"):
        seconds([], 0)
