"""The recurrent layers of PixelRNN: Row LSTM and Diagonal BiLSTM; van den Oord et al. 2016, arXiv:1601.06759, eq. 3.

The input-to-state part of the gates is computed for the whole image at once, the state-to-state part per row or
diagonal. The layers are residual blocks of `pixelcnn.Stack`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.nets.causal import CausalConv, Pointwise, Walk
from genlab.nets.pixelcnn import CausalBlock


def cell(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """One LSTM step: gates (..., 4 width) as output, forget, input, content; c (..., width) -> the new h and c."""
    activations, g = gates.split([gates.shape[-1] // 4 * 3, gates.shape[-1] // 4], dim=-1)
    o, f, i = activations.sigmoid().chunk(3, dim=-1)
    c = f * c + i * g.tanh()
    return o * c.tanh(), c


class RowLSTM(CausalBlock):
    """Row LSTM: the receptive field is the triangle above the pixel (section 3.1).

    The input-to-state map is a masked convolution along the row, the state-to-state map a convolution of 3 taps.
    """

    def __init__(self, width: int, groups: int, kernel: int = 3):
        super().__init__()
        self.width = width
        self.input = CausalConv(width, 4 * width, kernel, groups, "B", parts=4, above=False)
        self.state = nn.Conv1d(width, 4 * width, kernel, padding=kernel // 2, bias=False)
        self.out = Pointwise(width, width, groups)

    def forward(self, x: Tensor) -> Tensor:
        inputs = self.input(x).permute(2, 0, 3, 1)  # (H, N, W, 4 width)
        h = c = inputs.new_zeros(*inputs.shape[1:3], self.width)
        rows = []
        for gates in inputs:
            h, c = cell(gates + self.above(h), c)
            rows.append(h)
        return self.out(torch.stack(rows).permute(1, 3, 0, 2))

    def above(self, h: Tensor) -> Tensor:
        """The states of a row (N, W, width) -> their contribution to the gates of the next row (N, W, 4 width)."""
        return self.state(h.transpose(1, 2)).transpose(1, 2)

    def walk(self, n: int, width: int) -> Walk:
        return RowWalk(self, n, width)


class RowWalk(Walk):
    def __init__(self, layer: RowLSTM, n: int, width: int):
        self.layer, self.input = layer, layer.input.walk(n, width)
        self.put = self.input.put  # type: ignore[method-assign]
        self.h = self.c = layer.state.weight.new_zeros(n, width, layer.width)

    def row(self) -> None:
        self.input.row()
        self.above, self.c_above = self.layer.above(self.h), self.c
        self.h, self.c = torch.zeros_like(self.h), torch.zeros_like(self.c)

    def at(self, j: int) -> Tensor:
        self.h[:, j], self.c[:, j] = cell(self.input.at(j) + self.above[:, j], self.c_above[:, j])
        return self.layer.out.pixel(self.h[:, j])


class DiagonalBiLSTM(CausalBlock):
    """Diagonal BiLSTM: the receptive field covers all previous pixels (section 3.2).

    The states of the right-to-left direction are shifted down by one row, so that they do not depend on pixels to the
    right in the same row. Therefore, as in the paper, the last pixel of the row above is not covered where the first
    convolution does not reach it.
    """

    def __init__(self, width: int, groups: int):
        super().__init__()
        self.width = width
        self.left = Pointwise(width, 4 * width, groups, parts=4)
        self.right = nn.Conv2d(width, 4 * width, 1)
        bound = width**-0.5
        self.state = nn.Parameter(
            torch.empty(2, 2 * width, 4 * width).uniform_(-bound, bound)
        )  # direction; above, side
        self.out = Pointwise(width, width, groups)

    def forward(self, x: Tensor) -> Tensor:
        n, _, rows, columns = x.shape
        both = torch.stack([x, x.flip(3)]).permute(0, 1, 3, 4, 2)  # both run left to right
        both = F.pad(both, (0, 1), value=1.0)  # bias as input 1; 0 outside, where states stay 0
        diagonals = skewed(both).permute(3, 0, 2, 1, 4).flatten(2, 3)  # (diagonals, 2, H N, width + 1)
        weight = torch.cat([self.inputs(), self.state], dim=1)
        h = c = x.new_zeros(2, rows * n, self.width)
        states = []
        for inputs in diagonals.unbind():
            around = torch.cat([inputs, F.pad(h, (0, 0, n, 0))[:, :-n], h], dim=2)
            h, c = cell(around @ weight, c)
            states.append(h)
        found = straight(torch.stack(states).unflatten(2, (rows, n)).permute(1, 3, 2, 0, 4), columns)
        left, right = found.permute(0, 1, 4, 2, 3)
        return self.out(left + F.pad(right.flip(3), (0, 0, 1, 0))[:, :, :-1])

    def inputs(self) -> Tensor:
        """The input-to-state weights of both directions, (2, width + 1, 4 width); the last row is the bias."""
        left, right = (self.left.matrix(), self.left.bias), (self.right.weight.flatten(1).T, self.right.bias)
        return torch.stack([torch.cat([matrix, bias[None]]) for matrix, bias in (left, right)])  # type: ignore[index]

    def walk(self, n: int, width: int) -> Walk:
        return DiagonalWalk(self, n, width)


def skewed(x: Tensor) -> Tensor:
    """(B, N, H, W, C) -> (B, N, H, H + W - 1, C): row i is shifted by i columns to the right, zeros elsewhere."""
    b, n, rows, columns, c = x.shape
    flat = F.pad(x, (0, 0, 0, rows)).flatten(2, 3)[:, :, :-rows]
    return flat.unflatten(2, (rows, rows + columns - 1))


def straight(x: Tensor, columns: int) -> Tensor:
    """The inverse of `skewed`: (B, N, H, H + W - 1, C) -> (B, N, H, W, C)."""
    rows = x.shape[2]
    flat = F.pad(x.flatten(2, 3), (0, 0, 0, rows))
    return flat.unflatten(2, (rows, rows + columns))[:, :, :, :columns]


class DiagonalWalk(Walk):
    """The left-to-right direction advances per pixel, the right-to-left one when a row is complete."""

    def __init__(self, layer: DiagonalBiLSTM, n: int, width: int):
        self.layer, self.width = layer, width
        self.empty = layer.state.new_zeros(n, width + 1, layer.width)  # a column of zeros before the first
        self.x = self.empty[:, :-1].clone()
        self.left = self.right = (self.empty, self.empty)  # h and c of a row
        self.below = self.empty  # the contribution of the right-to-left direction to this row
        self.begun = False

    def row(self) -> None:
        if self.begun:
            self.right = self.finish(self.right)
            self.below = self.right[0][:, 1:].flip(1)
        self.above, self.begun = self.left, True
        self.left = (self.empty.clone(), self.empty.clone())

    def finish(self, above: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """The states of the right-to-left direction along the completed row, from right to left."""
        row = (self.empty.clone(), self.empty.clone())
        inputs = F.linear(self.x.flip(1), self.layer.right.weight.flatten(1), self.layer.right.bias)
        for k in range(self.width):
            self.step(row, above, k, inputs[:, k], self.layer.state[1])
        return row

    def step(self, row: tuple[Tensor, Tensor], above: tuple[Tensor, Tensor], j: int, gates: Tensor, w: Tensor) -> None:
        (h, c), (h_above, _) = row, above
        gates = torch.addmm(gates, torch.cat([h_above[:, j + 1], h[:, j]], dim=1), w)
        h[:, j + 1], c[:, j + 1] = cell(gates, c[:, j])

    def put(self, j: int, x: Tensor) -> None:
        self.x[:, j] = x

    def at(self, j: int) -> Tensor:
        self.step(self.left, self.above, j, self.layer.left.pixel(self.x[:, j]), self.layer.state[0])
        return self.layer.out.pixel(self.left[0][:, j + 1] + self.below[:, j])
