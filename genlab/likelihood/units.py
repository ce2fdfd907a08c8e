"""Units of likelihood: nats per image and bits per dimension; uniform dequantisation of 8-bit pixels.

A discrete model reports log P(x). A density q gives a lower bound by uniform dequantisation, log P(x) >= E log q(x + u)
(Theis et al. 2016, arXiv:1511.01844, eq. 4; Ho et al. 2019, arXiv:1902.00275, eq. 8), which is comparable to discrete
models.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log, prod

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from genlab.data import Images, batches


def bits_per_dim(nats: float, shape: tuple[int, ...]) -> float:
    """nats per image of `shape` -> bits per dimension (channel of a pixel)."""
    return nats / (prod(shape) * log(2))


BELOW_ONE = 1 - 2**-16
"""the end of the noise of a level: with more, 255 + u may round to 256"""


def dequantise(x: Tensor, u: Tensor | None = None) -> Tensor:
    """8-bit images x in [0, 1] -> (255 x + u) / 256 in [0, 1); u in [0, BELOW_ONE], none: uniform noise."""
    if u is None:
        u = torch.rand_like(x) * BELOW_ONE
    return ((255 * x).round() + u) / 256


def discrete(log_density: Tensor, shape: tuple[int, ...]) -> Tensor:
    """log q of `dequantise(x)` in nats -> a lower bound of log P(x) for images of `shape`; a level is 1/256 wide."""
    return log_density - prod(shape) * log(256)


def logistic_mass(low: Tensor, high: Tensor) -> Tensor:
    """log(sigmoid(high) - sigmoid(low)) for low < high, possibly infinite: the log-mass of a standard logistic
    distribution on an interval, in nats, accurate in the tails."""
    return logsigmoid(high) + logsigmoid(-low) + (-(low - high).expm1()).log()


@torch.no_grad()
def likelihood(log_prob: Callable[[Tensor], Tensor], data: Images, batch: int = 250) -> dict[str, float]:
    """The mean negative log-likelihood on `data`; log_prob: x (N, C, H, W) -> log P(x) (N,) in nats.

    nats: -log P(x) per image; bits_per_dim: the same in bits per dimension.
    """
    total = torch.stack([log_prob(x).double().sum() for x, _ in batches(data, batch)]).sum()
    nats = -float(total) / len(data)
    return {"nats": nats, "bits_per_dim": bits_per_dim(nats, data.shape)}
