"""Masked layers for pixels in raster order, each able to work in two ways; van den Oord et al. 2016, arXiv:1601.06759.

`forward` sees whole images and is what trains. A `Walk` visits pixel after pixel and computes only what is new: what
lies in rows above once per row, the rest once per pixel. Both give the same numbers.

Channels of one pixel are ordered too (section 3.4): features are split into as many groups as the image has channels,
and group g sees the pixel's channels before g (mask A, the first layer) or up to g (mask B, all others).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Kind = Literal["A", "B"]


def channel_mask(outputs: int, inputs: int, groups: int, kind: Kind, parts: int = 1) -> Tensor:
    """(outputs, inputs), 1 where an output may see an input of the same pixel; outputs come as `parts` equal blocks."""
    each = outputs // parts
    out = (torch.arange(outputs) % each * groups // each)[:, None]
    into = (torch.arange(inputs) * groups // inputs)[None]
    return (into < out if kind == "A" else into <= out).float()


class Walk:
    """A layer at work on one row after another of images (n, ., ., width): `row`, then for every column `put`, `at`."""

    def row(self) -> None:
        """A new row begins: what `put` has got so far now lies above. Also called before the first row."""

    def put(self, j: int, x: Tensor) -> None:
        """The input (n, inputs) at column j of this row; may be put again when more of its channels are known."""
        raise NotImplementedError

    def at(self, j: int) -> Tensor:
        """The output (n, outputs) at column j of this row."""
        raise NotImplementedError


class CausalConv(nn.Conv2d):
    """x (N, inputs, H, W) -> (N, outputs, H, W): convolution over the pixels before a pixel, and partly itself.

    Of a `kernel` x `kernel` window it keeps the rows above (none, if not `above`), the pixels to the left, and of the
    pixel itself what mask `kind` allows. `kernel` is odd. Outputs are masked as `parts` equal blocks.
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
    """Rows above enter by one convolution per row; per pixel remains a product with the pixels to the left."""

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
    """1x1 convolution under mask B; x (N, inputs, H, W) -> (N, outputs, H, W), masked as `parts` equal blocks."""

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, groups: int, *, parts: int = 1, bias: bool = True):
        super().__init__(inputs, outputs, 1, bias=bias)
        mask = channel_mask(outputs, inputs, groups, "B", parts)
        self.register_buffer("mask", mask[..., None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.mask, self.bias)

    def matrix(self) -> Tensor:
        """(inputs, outputs): what it does to one pixel, but for the bias."""
        return (self.weight * self.mask).flatten(1).t().contiguous()

    def pixel(self, x: Tensor) -> Tensor:
        """x (n, inputs) -> (n, outputs)."""
        return F.linear(x, (self.weight * self.mask).flatten(1), self.bias)


class Output(nn.Sequential):
    """Features -> parameters of the pixels' distribution: twice ReLU and a 1x1 convolution (Table 1 of the paper).

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
    """Images of encoded pixels -> parameters of the distribution of every channel of every pixel, given those before.

    forward: x (N, inputs, H, W), labels (N,) or None -> (N, groups, parameters, H, W); `groups` channels are predicted.
    """

    groups: int

    def walk(self, n: int, width: int, labels: Tensor | None = None) -> Walk:
        """The same a pixel at a time, for n images; its `at` gives (n, groups * parameters)."""
        raise NotImplementedError
