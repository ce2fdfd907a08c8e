"""PixelCNN (van den Oord et al. 2016a, arXiv:1601.06759) and Gated PixelCNN (2016b, arXiv:1606.05328).

PixelCNN stacks masked convolutions, whose receptive field has a blind spot to the upper right. Gated PixelCNN avoids it
by two stacks: a vertical one over the rows above, and a horizontal one over the pixels to the left.

`position_bias`, (height, width) of the images, adds a learned bias per position in the first layer: the
location-dependent bias of 2016b, eq. 5, without a condition. It helps for aligned images such as centred digits.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.nets.causal import CausalConv, CausalNet, Output, Pointwise, Walk


class CausalBlock(nn.Module):
    """The residual branch of a block: x (N, width, H, W) -> the same shape."""

    def walk(self, n: int, width: int) -> Walk:
        raise NotImplementedError


class Stack(CausalNet):
    """A 7x7 convolution with mask A, residual blocks, output; labels and positions add biases to the first features."""

    def __init__(
        self,
        inputs: int,
        groups: int,
        width: int,
        blocks: Iterable[CausalBlock],
        parameters: int,
        classes: int = 0,
        position_bias: tuple[int, int] | None = None,
    ):
        super().__init__()
        self.groups = groups
        self.first = CausalConv(inputs, width, 7, groups, "A")
        self.labels = nn.Embedding(classes, width) if classes else None
        self.position_bias = nn.Parameter(torch.zeros(1, width, *position_bias)) if position_bias else None
        self.blocks = nn.ModuleList(blocks)
        self.output = Output(width, parameters, groups)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        h = self.first(x)
        if self.labels is not None:
            h = h + self.labels(labels)[:, :, None, None]
        if self.position_bias is not None:
            h = h + self.position_bias
        for block in self.blocks:
            h = h + block(h)
        return self.output(h).unflatten(1, (self.groups, -1))

    def walk(self, n: int, width: int, labels: Tensor | None = None) -> Walk:
        return StackWalk(self, n, width, labels)


class StackWalk(Walk):
    def __init__(self, stack: Stack, n: int, width: int, labels: Tensor | None):
        self.first, self.output = stack.first.walk(n, width), stack.output
        self.blocks = [block.walk(n, width) for block in stack.blocks]  # type: ignore[operator]
        self.shift = 0.0 if stack.labels is None else stack.labels(labels)
        self.rows = (
            iter(()) if stack.position_bias is None else iter(stack.position_bias[0].unbind(1))
        )  # (width, columns) each

    def row(self) -> None:
        self.position_bias = next(self.rows, None)
        for layer in (self.first, *self.blocks):
            layer.row()

    def put(self, j: int, x: Tensor) -> None:
        self.first.put(j, x)

    def at(self, j: int) -> Tensor:
        h = self.first.at(j) + self.shift
        if self.position_bias is not None:
            h = h + self.position_bias[:, j]
        for block in self.blocks:
            block.put(j, h)
            h = h + block.at(j)
        return self.output.pixel(h)


class Bottleneck(CausalBlock):
    """The residual block of PixelCNN (2016a, figure 5): 1x1 to half the width, a masked convolution, 1x1 back."""

    def __init__(self, width: int, kernel: int, groups: int):
        super().__init__()
        half = max(width // 2, groups)
        self.narrow, self.wide = Pointwise(width, half, groups), Pointwise(half, width, groups)
        self.conv = CausalConv(half, half, kernel, groups, "B")

    def forward(self, x: Tensor) -> Tensor:
        return self.wide(self.conv(self.narrow(x.relu()).relu()).relu())

    def walk(self, n: int, width: int) -> Walk:
        return BottleneckWalk(self, n, width)


class BottleneckWalk(Walk):
    def __init__(self, block: Bottleneck, n: int, width: int):
        self.block, self.conv = block, block.conv.walk(n, width)
        self.row = self.conv.row  # type: ignore[method-assign]

    def put(self, j: int, x: Tensor) -> None:
        self.conv.put(j, self.block.narrow.pixel(x.relu()).relu())

    def at(self, j: int) -> Tensor:
        return self.block.wide.pixel(self.conv.at(j).relu())


def gate(g: Tensor) -> Tensor:
    """tanh of the first half of the channels times sigmoid of the second (2016b, eq. 2)."""
    a, b = g.chunk(2, dim=1)
    return a.tanh() * b.sigmoid()


class GatedLayer(nn.Module):
    """One layer of both stacks (2016b, figure 2), with labels as in eq. 4; the first has mask A and no residual.

    position_bias: (height, width) of the images, for a learned bias per position in the gates.
    v, h (N, inputs, H, W) -> (N, width, H, W) each. At pixel (i, j), v depends on rows up to i, h on previous pixels.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        kernel: int,
        groups: int,
        *,
        first: bool,
        classes: int,
        position_bias: tuple[int, int] | None = None,
    ):
        super().__init__()
        self.first, self.side = first, kernel // 2
        self.vertical = nn.Conv2d(inputs, 2 * width, (kernel // 2 + 1, kernel))
        self.horizontal = CausalConv(inputs, 2 * width, kernel, groups, "A" if first else "B", parts=2, above=False)
        self.down = nn.Conv2d(2 * width, 2 * width, 1, bias=False)
        self.out = Pointwise(width, width, groups, bias=False)
        self.labels = nn.Embedding(classes, 4 * width) if classes else None
        self.position_bias = nn.Parameter(torch.zeros(1, 4 * width, *position_bias)) if position_bias else None

    def shifts(self, labels: Tensor | None) -> tuple[Tensor, Tensor] | tuple[float, float]:
        """The biases of labels (N,) and positions in the gates of both stacks, (N or 1, 2 width, H or 1, W or 1)."""
        shift = self.position_bias
        if self.labels is not None:
            label_bias = self.labels(labels)[:, :, None, None]
            shift = label_bias if shift is None else shift + label_bias
        if shift is None:
            return 0.0, 0.0
        v, h = shift.chunk(2, dim=1)
        return v, h

    def forward(self, v: Tensor, h: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        at_v, at_h = self.shifts(labels)
        seen = self.vertical(F.pad(v, (self.side, self.side, self.side, 0)))
        above = F.pad(seen, (0, 0, 1, 0))[:, :, :-1]  # one row down: only rows above the pixel
        out = self.out(gate(self.horizontal(h) + self.down(above) + at_h))
        return gate(seen + at_v), out if self.first else h + out


class GatedPixelCNN(CausalNet):
    """`layers` gated layers of `width` features: the first 7x7, the others `kernel` x `kernel`."""

    def __init__(
        self,
        inputs: int,
        groups: int,
        width: int,
        layers: int,
        parameters: int,
        classes: int = 0,
        kernel: int = 3,
        position_bias: tuple[int, int] | None = None,
    ):
        super().__init__()
        self.groups, self.inputs = groups, inputs
        first = GatedLayer(inputs, width, 7, groups, first=True, classes=classes, position_bias=position_bias)
        rest = [GatedLayer(width, width, kernel, groups, first=False, classes=classes) for _ in range(layers - 1)]
        self.layers = nn.ModuleList([first, *rest])
        self.output = Output(width, parameters, groups)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        v = h = x
        for layer in self.layers:
            v, h = layer(v, h, labels)
        return self.output(h).unflatten(1, (self.groups, -1))

    def walk(self, n: int, width: int, labels: Tensor | None = None) -> Walk:
        return GatedWalk(self, n, width, labels)


class GatedWalk(Walk):
    """The vertical stack is computed once per row, the horizontal stack once per pixel."""

    def __init__(self, net: GatedPixelCNN, n: int, width: int, labels: Tensor | None):
        self.output = net.output
        self.layers = [GatedLayerWalk(layer, n, width, labels) for layer in net.layers]  # type: ignore[arg-type]
        self.begun = False

    def row(self) -> None:
        v = self.layers[0].line().permute(0, 2, 1).unsqueeze(2) if self.begun else None
        for layer in self.layers:
            v = layer.row(v)
        self.begun = True

    def put(self, j: int, x: Tensor) -> None:
        self.layers[0].slots[j].copy_(x)

    def at(self, j: int) -> Tensor:
        *_, last = (layer.at(j, following) for layer, following in zip(self.layers, [*self.layers[1:], None]))
        return self.output.pixel(last)


class GatedLayerWalk:
    def __init__(self, layer: GatedLayer, n: int, width: int, labels: Tensor | None):
        conv = layer.horizontal
        self.layer, self.left, self.inputs = layer, conv.left, conv.in_channels
        self.i, self.shifts = -1, layer.shifts(labels)
        beside = (conv.weight * conv.mask)[:, :, 0]  # (2 width, inputs, taps)
        self.beside = beside.permute(2, 1, 0).reshape(-1, conv.out_channels).contiguous()
        self.out = layer.out.matrix()
        self.rows = beside.new_zeros(n, self.inputs, layer.side + 1, width)  # of the vertical stack's input
        pixels = beside.new_zeros(n, conv.left + width, self.inputs)
        self.pixels, taps = pixels, len(self.beside)
        flat = pixels.view(n, -1)
        self.slots = [pixels[:, conv.left + j] for j in range(width)]
        self.windows = [flat[:, j * self.inputs : j * self.inputs + taps] for j in range(width)]

    def line(self) -> Tensor:
        """The inputs of the current row, (n, width, inputs)."""
        return self.pixels[:, self.left :]

    def row(self, v: Tensor | None) -> Tensor | None:
        """v: the vertical stack's input on the row just finished (n, inputs, 1, width), None before the first."""
        bias, width, self.i = self.layer.horizontal.bias, self.rows.shape[3], self.i + 1
        assert bias is not None
        bias = bias + of_row(self.shifts[1], self.i)
        if v is None:
            self.base = list(bias.expand(width, len(self.rows), -1))
            return None
        self.rows = torch.cat([self.rows[:, :, 1:], v], dim=2)
        seen = F.conv2d(self.rows, self.layer.vertical.weight, self.layer.vertical.bias, padding=(0, self.layer.side))
        below = self.layer.down(seen).squeeze(2).permute(2, 0, 1)
        self.base = list((below + bias).contiguous())
        self.pixels[:, self.left :] = 0
        above = of_row(self.shifts[0], self.i - 1)
        return gate(seen + (above.permute(1, 2, 0)[:, :, None] if isinstance(above, Tensor) else above))

    def at(self, j: int, following: GatedLayerWalk | None) -> Tensor:
        g = torch.addmm(self.base[j], self.windows[j], self.beside)
        half = g.shape[1] // 2
        g[:, :half].tanh_()
        h = F.glu(g, dim=1) @ self.out if self.layer.first else torch.addmm(self.slots[j], F.glu(g, dim=1), self.out)
        if following is not None:
            following.slots[j].copy_(h)
        return h


def of_row(shift: Tensor | float, i: int) -> Tensor | float:
    """The bias of the gates in row i, (columns or 1, n or 1, 2 width)."""
    return shift[:, :, i % shift.shape[2]].permute(2, 0, 1) if isinstance(shift, Tensor) else shift
