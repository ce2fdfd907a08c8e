"""Filters in front of a classifier: local smoothing, bit-depth reduction, JPEG, and their adaptive attack.

Feature squeezing: Xu, Evans, Qi 2018, arXiv:1704.01155. The adaptive attack is that of Athalye, Carlini, Wagner 2018,
arXiv:1802.00420: a filter without a useful gradient is differentiated as the identity, which it approximates (BPDA,
section 4.1), and gradients of random filters are averaged over samples (EOT, section 4.2). A filter that only masks the
gradient is not a defence: report the attack on `Filtered.adaptive()` as well.

Borders repeat the edge pixel (scipy.ndimage's mode="nearest"). Every filter maps (N, C, H, W) in [0, 1] to the same.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv1d, pad

from genlab.core.ranges import Range, Steps, checked
from genlab.data.jpeg import Quality, jpeg

Side = Annotated[int, Range(1, 99, odd=True)]  # of a square window, in pixels


class Filter(nn.Module):
    """x (N, C, H, W) in [0, 1] -> the same shape and range.

    differentiable: whether its gradient is useful to an attack. random: whether its output is random.
    """

    differentiable: bool = True
    random: bool = False

    @classmethod
    def defend(cls, model: nn.Module, **options: Any) -> Filtered:
        """The model behind this filter, made with `options`."""
        return Filtered(cls(**options), model)


class NeighbourhoodFilter(Filter):
    """A filter over k x k neighbourhoods, k odd. Raises ValueError if k exceeds the image size."""

    @checked
    def __init__(self, k: Side = 3) -> None:
        super().__init__()
        self.k = k

    def extra_repr(self) -> str:
        return f"k={self.k}"

    def padded(self, x: Tensor) -> Tensor:
        if self.k > min(x.shape[-2:]):
            raise ValueError(f"k must not exceed the image of {x.shape[-2]} x {x.shape[-1]}, got {self.k}.")
        return pad(x, [self.k // 2] * 4, mode="replicate")


class Mean(NeighbourhoodFilter):
    """Mean filter."""

    def forward(self, x: Tensor) -> Tensor:
        return avg_pool2d(self.padded(x), self.k, stride=1)


class Median(NeighbourhoodFilter):
    """Median filter; 3 x 3 by minima and maxima of shifted images, larger windows by selection.

    For 3 x 3: sort every column of three; the median of nine is the median of (largest low, middle middle, least high).
    """

    def forward(self, x: Tensor) -> Tensor:
        x = self.padded(x)
        if self.k != 3:
            return x.unfold(2, self.k, 1).unfold(3, self.k, 1).flatten(-2).median(-1).values
        a, b, c = x[..., :-2, :], x[..., 1:-1, :], x[..., 2:, :]
        small, large = torch.minimum(a, b), torch.maximum(a, b)
        low, high = torch.minimum(small, c), torch.maximum(large, c)
        middle = torch.maximum(small, torch.minimum(large, c))
        return _median3(
            torch.maximum(torch.maximum(low[..., :-2], low[..., 1:-1]), low[..., 2:]),
            _median3(middle[..., :-2], middle[..., 1:-1], middle[..., 2:]),
            torch.minimum(torch.minimum(high[..., :-2], high[..., 1:-1]), high[..., 2:]),
        )


def _median3(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return torch.maximum(torch.minimum(a, b), torch.minimum(torch.maximum(a, b), c))


class Gaussian(Filter):
    """Gaussian blur of standard deviation sigma pixels, truncated at 4 sigma as in scipy."""

    weight: Tensor

    @checked
    def __init__(self, sigma: Annotated[float, Range(0.001, 100)] = 1.0) -> None:
        super().__init__()
        self.sigma, self.radius = sigma, int(4 * sigma + 0.5)
        offsets = torch.arange(-self.radius, self.radius + 1, dtype=torch.float64)
        weight = torch.exp(-0.5 * (offsets / sigma) ** 2)
        self.register_buffer("weight", (weight / weight.sum()).float(), persistent=False)

    def extra_repr(self) -> str:
        return f"sigma={self.sigma}"

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        return (self.blur(h, x).T @ x @ self.blur(w, x)).clamp(0, 1)

    def blur(self, n: int, like: Tensor) -> Tensor:
        """(n, n): blur of n pixels as a matrix, which is faster than a convolution with a wide kernel."""
        lines = pad(torch.eye(n, dtype=like.dtype, device=like.device)[:, None], [self.radius] * 2, mode="replicate")
        return conv1d(lines, self.weight.to(like).view(1, 1, -1))[:, 0]


class BitDepth(Filter):
    """Rounds every pixel to 2**bits levels; the gradient is zero almost everywhere, so attack `Filtered.adaptive()`."""

    differentiable = False

    @checked
    def __init__(self, bits: Annotated[int, Range(1, 8)] = 3) -> None:
        super().__init__()
        self.bits = bits

    def extra_repr(self) -> str:
        return f"bits={self.bits}"

    def forward(self, x: Tensor) -> Tensor:
        top = 2**self.bits - 1
        return (x * top).round() / top


class JPEG(Filter):
    """JPEG compression of `quality` 1 to 95, for 1 or 3 channels; without gradient."""

    differentiable = False

    @checked
    def __init__(self, quality: Quality = 75) -> None:
        super().__init__()
        self.quality = quality

    def extra_repr(self) -> str:
        return f"quality={self.quality}"

    def forward(self, x: Tensor) -> Tensor:
        return jpeg(x, self.quality)


class Composed(Filter):
    """Filters applied in turn; differentiable if all are, random if any is. Raises ValueError without filters."""

    def __init__(self, *filters: Filter) -> None:
        super().__init__()
        if not filters:
            raise ValueError("a composed filter needs at least 1 filter, got none.")
        self.filters = nn.Sequential(*filters)
        self.differentiable = all(f.differentiable for f in filters)
        self.random = any(f.random for f in filters)

    def forward(self, x: Tensor) -> Tensor:
        return self.filters(x)


class Filtered(nn.Module):
    """model(filter(x)).

    straight_through: the gradient of the filter is replaced by the identity (BPDA); the outputs are the same. samples:
    if gradients are enabled, the logits are the mean over this number of passes (EOT); otherwise of one pass.
    """

    @checked
    def __init__(self, filter: nn.Module, model: nn.Module, straight_through: bool = False, samples: Steps = 1) -> None:
        super().__init__()
        self.filter, self.model, self.straight_through, self.samples = filter, model, straight_through, samples

    def extra_repr(self) -> str:
        return f"straight_through={self.straight_through}, samples={self.samples}"

    def forward(self, x: Tensor) -> Tensor:
        samples = self.samples if torch.is_grad_enabled() and x.requires_grad else 1
        return self.once(x) if samples == 1 else torch.stack([self.once(x) for _ in range(samples)]).mean(0)

    def once(self, x: Tensor) -> Tensor:
        if not self.straight_through:
            return self.model(self.filter(x))
        with torch.no_grad():
            filtered = self.filter(x)
        return self.model(filtered + (x - x.detach()))  # adds an exact zero that carries the gradient

    def adaptive(self, samples: int = 16) -> Self:
        """The defended model for an adaptive attack: same outputs and weights, with BPDA and EOT where needed."""
        through = not getattr(self.filter, "differentiable", False)
        return type(self)(self.filter, self.model, through, samples if getattr(self.filter, "random", False) else 1)
