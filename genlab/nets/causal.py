"""Masked (causal) layers in raster order; van den Oord et al. 2016, arXiv:1601.06759.

`forward` processes whole images, for training. A `Walk` generates pixel by pixel with cached activations: the
contribution of the rows above is computed once per row, the rest once per pixel. Both give the same results.

Channels of a pixel are ordered, too (section 3.4): features are split into one group per image channel, and group g
depends on the pixel's channels before g (mask A, first layer) or up to g (mask B, all other layers).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Kind = Literal["A", "B"]


def channel_mask(outputs: int, inputs: int, groups: int, kind: Kind, parts: int = 1) -> Tensor:
    """The mask (outputs, inputs) within a pixel: 1 where an output may depend on an input; for `parts` equal blocks of
    outputs."""
    each = outputs // parts
    out = torch.tensor([i % each * groups // each for i in range(outputs)])[:, None]
    into = torch.tensor([i * groups // inputs for i in range(inputs)])[None]
    return (into < out if kind == "A" else into <= out).float()


class Walk:
    """Incremental evaluation of a layer for n images: call `row` for each row, then `put` and `at` for each column."""

    def row(self) -> None:
        """Starts a new row; also called before the first row."""

    def put(self, j: int, x: Tensor) -> None:
        """Sets the input (n, inputs) at column j of this row; called again when further channels are known."""
        raise NotImplementedError

    def at(self, j: int) -> Tensor:
        """The output (n, outputs) at column j of this row."""
        raise NotImplementedError


class CausalConv(nn.Conv2d):
    """Masked convolution, x (N, inputs, H, W) -> (N, outputs, H, W).

    The `kernel` x `kernel` window (odd) covers the rows above (unless `above` is False), the pixels to the left, and
    the pixel itself under mask `kind`. The mask repeats for `parts` equal blocks of outputs.
    """

    mask: Tensor

    def __init__(
        self, inputs: int, outputs: int, kernel: int, groups: int, kind: Kind, *, parts: int = 1, above: bool = True
    ):
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"the kernel of a masked convolution must be odd, got {kernel}")
        left = kernel // 2
        height, width = (left + 1, kernel) if above else (1, left + 1)
        super().__init__(inputs, outputs, (height, width))
        self.left, self.height = left, height
        mask = torch.ones(outputs, inputs, height, width)
        mask[:, :, -1, left + 1 :] = 0
        mask[:, :, -1, left] = channel_mask(outputs, inputs, groups, kind, parts)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        right = self.kernel_size[1] - 1 - self.left
        x = F.pad(x, (self.left, right, self.height - 1, 0))
        return F.conv2d(x, self.weight * self.mask, self.bias)

    def walk(self, n: int, width: int) -> ConvWalk:
        return ConvWalk(self, n, width)


class ConvWalk(Walk):
    """The rows above are convolved once per row; per pixel one matrix product with the pixels to the left remains."""

    def __init__(self, conv: CausalConv, n: int, width: int):
        weight = conv.weight * conv.mask
        self.conv, self.n, self.width, self.inputs = conv, n, width, conv.in_channels
        self.above = weight[:, :, :-1]
        beside = weight[:, :, -1, : conv.left + 1]  # (outputs, inputs, taps)
        self.beside = beside.permute(2, 1, 0).reshape(-1, conv.out_channels).contiguous()
        self.rows = weight.new_zeros(conv.height, n, conv.left + width, conv.in_channels)  # the last: this row

    def row(self) -> None:
        if len(self.rows) > 1:
            self.rows = self.rows.roll(-1, 0)
            above = self.rows[:-1, :, self.conv.left :].permute(1, 3, 0, 2)
            base = F.conv2d(above, self.above, self.conv.bias, padding=(0, self.conv.left)).squeeze(2)
            self.base = base.permute(2, 0, 1).contiguous()  # (width, n, outputs)
        else:
            assert self.conv.bias is not None
            self.base = self.conv.bias.expand(self.width, self.n, -1)
        self.rows[-1] = 0
        self.line = self.rows[-1].view(self.n, -1)

    def put(self, j: int, x: Tensor) -> None:
        self.rows[-1, :, self.conv.left + j] = x

    def at(self, j: int) -> Tensor:
        window = self.line[:, j * self.inputs : j * self.inputs + len(self.beside)]
        return torch.addmm(self.base[j], window, self.beside)


class Pointwise(nn.Conv2d):
    """1x1 convolution with mask B, x (N, inputs, H, W) -> (N, outputs, H, W), for `parts` equal blocks of outputs."""

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, groups: int, *, parts: int = 1, bias: bool = True):
        super().__init__(inputs, outputs, 1, bias=bias)
        mask = channel_mask(outputs, inputs, groups, "B", parts)
        self.register_buffer("mask", mask[..., None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.mask, self.bias)

    def matrix(self) -> Tensor:
        """The masked weight (inputs, outputs), without bias."""
        return (self.weight * self.mask).flatten(1).t().contiguous()

    def pixel(self, x: Tensor) -> Tensor:
        """x (n, inputs) -> (n, outputs)."""
        return F.linear(x, (self.weight * self.mask).flatten(1), self.bias)


class Output(nn.Sequential):
    """Features -> parameters of the pixel distribution: ReLU and 1x1 convolution, twice (Table 1 of the paper).

    (N, width, H, W) -> (N, groups * parameters, H, W); at one pixel (n, width) -> (n, groups * parameters).
    """

    def __init__(self, width: int, parameters: int, groups: int):
        last = Pointwise(width, groups * parameters, groups)
        super().__init__(nn.ReLU(), Pointwise(width, width, groups), nn.ReLU(), last)

    def pixel(self, h: Tensor) -> Tensor:
        for layer in self:
            h = layer.pixel(h) if isinstance(layer, Pointwise) else h.relu()
        return h


class CausalNet(nn.Module):
    """An autoregressive network: encoded images -> parameters of the distribution of each pixel given previous ones.

    forward: x (N, inputs, H, W), labels (N,) or None -> (N, groups, parameters, H, W); groups: predicted channels.
    """

    groups: int

    def walk(self, n: int, width: int, labels: Tensor | None = None) -> Walk:
        """Incremental evaluation for n images of this width; its `at` returns (n, groups * parameters)."""
        raise NotImplementedError
