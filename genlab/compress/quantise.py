"""Weights of few values: shared ones found by k-means, evenly spaced ones, and two.

Every class is a parametrisation of one weight (see `layers`): its `forward` is differentiable, by the gradient of the
shared value or straight through the rounding (Bengio et al. 2013, arXiv:1308.3432).
"""

from __future__ import annotations

import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn

from genlab.compress.layers import replace_weight, weighted


class Shared(nn.Module):
    """2^bits - 1 shared values and zero; Han et al. 2016 (Deep Compression), arXiv:1510.00149, section 3.

    Centroids start evenly spaced over the range of the weights, which the paper found best, and are learnt: each gets
    the sum of the gradients of its weights. Zeros stay zeros.
    """

    index: Tensor

    def __init__(self, bits: int):
        super().__init__()
        if not 1 <= bits <= 8:
            raise ValueError(f"shared weights take from 1 to 8 bits, got {bits}")
        self.bits = bits
        self.register_buffer("index", torch.empty(0, dtype=torch.int64))

    def right_inverse(self, weight: Tensor) -> Tensor:
        """weight -> centroids (K,); remembers which weight takes which."""
        values = weight.detach().flatten()[weight.flatten() != 0]
        k = min(2**self.bits - 1, len(values.unique()))
        self.index = torch.zeros(weight.shape, dtype=torch.int64, device=weight.device)
        if not k:
            return weight.new_zeros(1)
        start = torch.linspace(float(values.min()), float(values.max()), k)[:, None].numpy()
        found = KMeans(k, init=start, n_init=1).fit(values[:, None].cpu().numpy())
        self.index[weight != 0] = torch.from_numpy(found.labels_).long().to(weight.device) + 1
        return torch.from_numpy(found.cluster_centers_[:, 0]).to(weight)

    def forward(self, centroids: Tensor) -> Tensor:
        return torch.cat([centroids.new_zeros(1), centroids])[self.index]


def straight_through(exact: Tensor, rounded: Tensor) -> Tensor:
    """`rounded`, with the gradient of `exact`."""
    return rounded.detach() + (exact - exact.detach())  # the second is zero to the bit


class Uniform(nn.Module):
    """2^bits - 1 evenly spaced values around zero, as far as the layer's largest weight."""

    def __init__(self, bits: int):
        super().__init__()
        if not 2 <= bits <= 16:
            raise ValueError(f"evenly spaced weights take from 2 to 16 bits, got {bits}")
        self.levels = 2 ** (bits - 1) - 1

    def forward(self, weight: Tensor) -> Tensor:
        step = weight.detach().abs().amax().clamp(min=1e-12) / self.levels
        return straight_through(weight, (weight / step).round() * step)


class Binary(nn.Module):
    """+h or -h; BinaryConnect, Courbariaux et al. 2015, arXiv:1511.00363, Algorithm 1, deterministic.

    Beyond h a weight gets no more gradient, which is the paper's clipping. Departure: h² = 2 / inputs, by which layers
    of ReLUs keep their variance (He et al. 2015, arXiv:1502.01852, eq. 10); the paper's code takes Glorot's larger
    scale and relies on batch normalisation, without which LeNet-5 does not learn so.
    """

    def __init__(self, weight: Tensor):
        super().__init__()
        self.h = (2 / weight[0].numel()) ** 0.5

    def forward(self, weight: Tensor) -> Tensor:
        inside = weight.clamp(-self.h, self.h)
        return straight_through(inside, torch.where(weight >= 0, self.h, -self.h))


@torch.no_grad()
def share(net: nn.Module, bits: int | dict[str, int]) -> None:
    """Weight sharing in every layer of `net`, in place; bits for all, or by the name of the layer."""
    for name, layer in weighted(net):
        if isinstance(bits, int) or name in bits:
            replace_weight(layer, Shared(bits if isinstance(bits, int) else bits[name]))


@torch.no_grad()
def round_evenly(net: nn.Module, bits: int) -> None:
    """Evenly spaced weights in every layer of `net`, in place."""
    for _, layer in weighted(net):
        replace_weight(layer, Uniform(bits))


@torch.no_grad()
def binarise(net: nn.Module) -> None:
    """Weights of two values in every layer of `net`, in place; to be done before training."""
    for _, layer in weighted(net):
        replace_weight(layer, Binary(layer.weight))
