"""Random numbers as a function of the example: the noise of an image does not depend on the rest of the batch.

Counter-based generation after Salmon et al. 2011 ("Parallel random numbers: as easy as 1, 2, 3") with the finaliser of
SplitMix64 (Steele, Lea, Flood 2014): number i of stream k is mix(k + i * gamma), so nothing is sequential and nothing
is stored. The stream of an example is a hash of its pixels and a seed, so equal images get equal noise. Integer
arithmetic wraps modulo 2**64, so `key` and `uniform` are bit-identical on every device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def _signed(value: int) -> int:
    """The int64 with the same 64 bits."""
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


GAMMA = _signed(0x9E3779B97F4A7C15)
MIX1 = _signed(0xBF58476D1CE4E5B9)
MIX2 = _signed(0x94D049BB133111EB)


def _shift(z: Tensor, by: int) -> Tensor:
    """Logical right shift: int64 shifts copy the sign bit, the mask removes the copies."""
    return (z >> by).bitwise_and_((1 << (64 - by)) - 1)


def _mix(z: Tensor) -> Tensor:
    """A bijection of 64-bit words in which every input bit changes about half of the output bits; in place."""
    z.bitwise_xor_(_shift(z, 30)).mul_(MIX1)
    z.bitwise_xor_(_shift(z, 27)).mul_(MIX2)
    return z.bitwise_xor_(_shift(z, 31))


def key(x: Tensor, seed: int = 0) -> Tensor:
    """x (N, ...) -> (N,) int64, one stream per example: a hash of its pixels, their positions and the seed."""
    wide = x.dtype == torch.float64
    bits = (x.detach() if wide else x.detach().float()).flatten(1) + 0.0  # + 0.0 turns -0.0 into 0.0
    words = bits.contiguous().view(torch.int64 if wide else torch.int32).long()
    positions = torch.arange(1, words.shape[1] + 1, device=x.device).mul_(GAMMA)
    total = _mix(words + positions).sum(1)
    return _mix(total + _mix(torch.full_like(total, _signed(seed)).add_(GAMMA)))


def _words(key: Tensor, shape: Sequence[int], draw: int, salt: int) -> Tensor:
    """(N, *shape) int64 of 64 random bits; different draws and salts are independent streams."""
    stream = _mix(key + _signed((2 * draw + salt + 1) * MIX1))
    counter = torch.arange(1, math.prod(shape) + 1, device=key.device).mul_(GAMMA)
    return _mix(stream[:, None] + counter).view(len(key), *shape)


def uniform(key: Tensor, shape: Sequence[int], draw: int = 0) -> Tensor:
    """(N, *shape) float32, uniform in [0, 1), multiples of 2**-24; key (N,) from `key`, draw: index of the sample."""
    return _shift(_words(key, shape, draw, salt=0), 40).float().mul_(2.0**-24)


def normal(key: Tensor, shape: Sequence[int], draw: int = 0) -> Tensor:
    """(N, *shape) float32, standard normal, by Box-Muller from the two halves of one word.

    Computed in float64 (float32 on MPS, which has no float64), so devices agree up to the last bits of log and cos.
    """
    words = _words(key, shape, draw, salt=1)
    wide = torch.float32 if key.device.type == "mps" else torch.float64
    radius = _shift(words, 32).to(wide).add_(1).mul_(2.0**-32).log_().mul_(-2).sqrt_()  # of a number in (0, 1]
    angle = words.bitwise_and_(2**32 - 1).to(wide).mul_(2 * math.pi * 2.0**-32)
    return radius.mul_(angle.cos_()).float()
