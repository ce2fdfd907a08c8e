"""Options are held against the annotations that they are declared with."""

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest

from genlab.core.ranges import LearningRate, NonEmpty, OutOfRange, Range, Seed, Share, Width, check


@dataclass(frozen=True)
class Inner:
    factor: Annotated[float, Range(0, 1, above=True, below=True)] = 0.5


@dataclass(frozen=True)
class Options:
    width: Width = 64
    lr: LearningRate | None = 1e-3
    seed: Seed = 0
    norm: Literal["linf", "l2"] = "linf"
    shares: tuple[Share, ...] = (0.5,)
    sizes: NonEmpty[Width] = (8,)
    betas: tuple[float, float] = (0.5, 0.999)
    start: bool = True
    inner: Inner = field(default_factory=Inner)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"width": 0}, "width must be at least 1 and at most 65,536, got 0"),
        ({"width": 1.5}, "width must be a whole number, at least 1 and at most 65,536, got 1.5"),
        ({"width": True}, "got True"),
        ({"width": 10**400}, "got a number of more than 30 digits"),
        ({"lr": math.nan}, "lr must be a finite number, above 0 and at most 10,000, got nan"),
        ({"lr": 0.0}, "above 0 and at most 10,000, got 0.0"),
        ({"lr": 1e308}, "lr must be"),
        ({"seed": 2**63}, "seed must be"),
        ({"norm": "l3"}, "norm must be one of 'linf', 'l2', got 'l3'"),
        ({"shares": (0.5, 2.0)}, "shares must be a tuple of numbers, each at least 0 and at most 1"),
        ({"sizes": ()}, "sizes must be at least one value, each only once, got none"),
        ({"sizes": (8, 16, 8)}, "sizes must be at least one value, each only once, got (8, 16, 8)"),
        ({"sizes": (0,)}, "sizes must be a tuple of numbers, each at least 1 and at most 65,536, at least one value"),
        ({"betas": (0.5,)}, "betas must be a tuple of 2"),
        ({"betas": (0.5, math.inf)}, "each a finite number"),
        ({"start": "maybe"}, "start must be True or False, got 'maybe'"),
        ({"inner": Inner(1.0)}, "factor must be above 0 and below 1, got 1.0"),
    ],
)
def test_what_an_annotation_does_not_allow_is_refused_by_name(options, sentence):
    with pytest.raises(OutOfRange) as caught:
        check(Options(**options))
    assert sentence in str(caught.value)


@pytest.mark.parametrize("options", [{}, {"lr": None}, {"lr": 1}, {"shares": ()}, {"betas": [0, 1]}, {"seed": 2**62}])
def test_what_an_annotation_allows_passes(options):
    check(Options(**options))
