"""Weight quantisation: weight sharing by k-means, uniform quantisation, binary weights.

Every class is a parametrisation of a weight (see `layers`). Gradients reach the shared values, or pass the rounding by
the straight-through estimator (Bengio et al. 2013, arXiv:1308.3432).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genlab.compress.layers import replace_weight, weighted


class SharedWeights(nn.Module):
    """Weight sharing: 2^bits - 1 shared values and zero; Deep Compression, Han et al. 2016, arXiv:1510.00149, sec. 3.

    k-means starts from evenly spaced centroids, as in the paper; then the centroids are trained: each gets the sum of
    the gradients of its weights. Zeros stay zero.
    """

    index: Tensor

    def __init__(self, bits: int):
        super().__init__()
        if not 1 <= bits <= 8:
            raise ValueError(f"shared weights take from 1 to 8 bits, got {bits}")
        self.bits = bits
        self.register_buffer("index", torch.empty(0, dtype=torch.int64))

    def right_inverse(self, weight: Tensor) -> Tensor:
        """weight -> centroids (K,); stores the index of each weight's centroid."""
        from sklearn.cluster import KMeans  # slow import, only needed here

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
    """Straight-through estimator: the value of `rounded` with the gradient of `exact`."""
    return rounded.detach() + (exact - exact.detach())  # the second term is exactly zero


class UniformWeights(nn.Module):
    """Symmetric uniform quantisation: 2^bits - 1 values from -max |w| to max |w|."""

    def __init__(self, bits: int):
        super().__init__()
        if not 2 <= bits <= 16:
            raise ValueError(f"uniform quantisation takes from 2 to 16 bits, got {bits}")
        self.levels = 2 ** (bits - 1) - 1

    def forward(self, weight: Tensor) -> Tensor:
        step = weight.detach().abs().amax().clamp(min=1e-12) / self.levels
        return straight_through(weight, (weight / step).round() * step)


class BinaryWeights(nn.Module):
    """Binary weights +h or -h; BinaryConnect, Courbariaux et al. 2015, arXiv:1511.00363, Algorithm 1, deterministic.

    Weights beyond ±h get no gradient (the clipping of the paper). Departure: h² = 2 / inputs, which preserves the
    variance in ReLU networks (He et al. 2015, arXiv:1502.01852, eq. 10); the paper's code uses the larger Glorot scale
    with batch normalisation, without which LeNet-5 does not train.
    """

    def __init__(self, weight: Tensor):
        super().__init__()
        self.h = (2 / weight[0].numel()) ** 0.5

    def forward(self, weight: Tensor) -> Tensor:
        inside = weight.clamp(-self.h, self.h)
        return straight_through(inside, torch.where(weight >= 0, self.h, -self.h))


@torch.no_grad()
def share(net: nn.Module, bits: int | dict[str, int]) -> None:
    """Applies weight sharing to `net`, in place; bits: for all layers or by layer name (others stay as they are)."""
    for name, layer in weighted(net):
        if isinstance(bits, int) or name in bits:
            replace_weight(layer, SharedWeights(bits if isinstance(bits, int) else bits[name]))


@torch.no_grad()
def quantise_uniformly(net: nn.Module, bits: int) -> None:
    """Applies uniform quantisation to every layer of `net`, in place."""
    for _, layer in weighted(net):
        replace_weight(layer, UniformWeights(bits))


@torch.no_grad()
def binarise(net: nn.Module) -> None:
    """Makes the weights of every layer of `net` binary, in place; to be called before training."""
    for _, layer in weighted(net):
        replace_weight(layer, BinaryWeights(layer.weight))
