"""Diversity of token sequences: distinct n-grams; Li et al. 2016, arXiv:1510.03055, section 5.2 (distinct-1 and -2)."""

from __future__ import annotations

from torch import Tensor


def distinct_ngrams(tokens: Tensor, n: int) -> float:
    """The number of different n-grams in the sequences (N, T), divided by that of all n-grams.

    Raises:
        ValueError: n is not from 1 to T, or there is no sequence.
    """
    if not (len(tokens) and 1 <= n <= tokens.shape[1]):
        raise ValueError(f"sequences {tuple(tokens.shape)} have no n-grams of {n} tokens")
    grams = tokens.unfold(1, n, 1).flatten(0, 1)
    return len(grams.unique(dim=0)) / len(grams)
