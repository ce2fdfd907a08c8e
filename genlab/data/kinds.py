"""Kinds of training data, of which a method takes some (`Config.takes`)."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from genlab.data.aligned import Aligned
from genlab.data.images import Pair

KINDS = {
    "images": "one set of images",
    "two sets": "two sets, as in --data unpaired:A,B",
    "pairs": "pairs, as in --data pairs:FOLDER",
}


def check_kind(source: Any, takes: Container[str], who: str) -> None:
    """Checks that the data set `source` is of a kind, a key of KINDS, that `who` takes.

    Raises:
        ValueError: it is of another.
    """
    kind = "two sets" if isinstance(source, Pair) else "pairs" if isinstance(source, Aligned) else "images"
    if kind not in takes:
        known = " or ".join(text for name, text in KINDS.items() if name in takes)
        raise ValueError(f"{who} learns from {known}, got {KINDS[kind]}")
