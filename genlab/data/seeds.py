"""Random generators keyed by purpose: random numbers depend on the key alone, not on previous draws."""

from __future__ import annotations

from zlib import crc32

import torch


def generator(*key: int | str) -> torch.Generator:
    """A CPU generator seeded by a hash of the key. (torch's CPU generator uses only 32 bits of a seed.)"""
    return torch.Generator().manual_seed(crc32(repr(key).encode()))
