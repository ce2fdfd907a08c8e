"""The importance-weighted bound; Burda et al. 2016, arXiv:1509.00519, eq. 8.

log 1/k sum_i w_i with w_i = p(x, z_i) / q(z_i | x) increases with k, from the ELBO at k = 1 to log p(x).
"""

from __future__ import annotations

from collections.abc import Callable
from math import log

import torch
from torch import Tensor


def importance_bound(log_weights: Tensor) -> Tensor:
    """The bound (N,) in nats from log w (k, N)."""
    return log_weights.logsumexp(0) - log(len(log_weights))


def streamed_bound(draw: Callable[[int], Tensor], k: int, chunk: int) -> Tensor:
    """The bound (N,) from k samples, `chunk` at a time, with memory independent of k; draw(n) -> log w (n, N)."""
    if k < 1 or chunk < 1:
        raise ValueError(f"the bound needs k and chunk of at least 1, got k = {k} and chunk = {chunk}")
    total = draw(min(chunk, k)).logsumexp(0)
    for start in range(chunk, k, chunk):
        total = torch.logaddexp(total, draw(min(chunk, k - start)).logsumexp(0))
    return total - log(k)
