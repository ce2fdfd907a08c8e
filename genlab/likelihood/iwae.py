"""The importance-weighted bound; Burda et al. 2016, arXiv:1509.00519, eq. 8.

log 1/k sum_i w_i, where w_i = p(x, z_i) / q(z_i given x), rises with k: from the evidence lower bound at k = 1 to
log p(x).
"""

from __future__ import annotations

from collections.abc import Callable
from math import log

import torch
from torch import Tensor


def importance_bound(log_weights: Tensor) -> Tensor:
    """log w (k, N) -> (N,), in nats."""
    return log_weights.logsumexp(0) - log(len(log_weights))


def streamed_bound(draw: Callable[[int], Tensor], k: int, chunk: int) -> Tensor:
    """The same of k samples, `chunk` at a time: draw(n) -> log w (n, N). Memory does not depend on k."""
    if k < 1 or chunk < 1:
        raise ValueError(f"the bound needs at least one sample, one at a time, got k = {k} and chunk = {chunk}")
    total = draw(min(chunk, k)).logsumexp(0)
    for start in range(chunk, k, chunk):
        total = torch.logaddexp(total, draw(min(chunk, k - start)).logsumexp(0))
    return total - log(k)
