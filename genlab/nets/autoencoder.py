"""Auto-encoder networks, fully connected or convolutional.

Dense: Hinton & Salakhutdinov 2006, Science 313:504, figure 1; with a linear code and no hidden layers it is equivalent
to PCA. Convolutional: max-pooling with unpooling by switches (Zeiler & Fergus 2014, arXiv:1311.2901, section 2.1) or by
copying.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise
from math import prod
from typing import Literal, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, linear, max_pool2d, max_unpool2d, one_hot

from genlab.nets.dcgan import levels


def binary(h: Tensor) -> Tensor:
    """1 where h is positive, else 0; with the gradient of the sigmoid (straight-through, arXiv:1308.3432)."""
    soft = h.sigmoid()
    return (h > 0).to(h) + (soft - soft.detach())


def one_hot_of_largest(h: Tensor) -> Tensor:
    """1 for the largest of each row of h (N, k), else 0; with the gradient of the softmax (straight-through)."""
    soft = h.softmax(1)
    return one_hot(h.argmax(1), h.shape[1]).to(h) + (soft - soft.detach())


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda h: h,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "binary": binary,
    "one-hot": one_hot_of_largest,
}
ActivationName = Literal["linear", "relu", "sigmoid", "binary", "one-hot"]
Unpooling = Literal["switches", "copy"]


class Net(Protocol):
    """x (N, C, H, W) -> code (N, k) and outputs of x's shape, unbounded."""

    def __call__(self, x: Tensor, /) -> tuple[Tensor, Tensor]: ...
    def encode(self, x: Tensor, /) -> Tensor: ...
    def decode(self, code: Tensor, /) -> Tensor: ...


class Dense(nn.Module):
    """x (N, *shape) -> code (N, sizes[-1]) through layers of `sizes` -> outputs (N, *shape), unbounded, through the
    same sizes in reverse.

    tied: the decoder uses the transposed weights of the encoder, with separate biases.
    hidden, code: activations of the hidden layers and of the code.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        sizes: tuple[int, ...] = (1000, 500, 250, 30),
        *,
        tied: bool = False,
        hidden: ActivationName = "relu",
        code: ActivationName = "linear",
    ):
        super().__init__()
        if not sizes or min(sizes) < 1:
            raise ValueError(f"an auto-encoder needs the positive sizes of its layers, the code's last, got {sizes}")
        self.shape, self.tied, self.hidden, self.code = shape, tied, hidden, code
        pairs = list(pairwise((prod(shape), *sizes)))
        self.up = nn.ModuleList(nn.Linear(i, o) for i, o in pairs)
        self.down = nn.ParameterList([] if tied else [torch.empty(i, o) for i, o in pairs])
        self.bias = nn.ParameterList(torch.zeros(i) for i, _ in pairs)
        for layer in self.up:
            nn.init.zeros_(cast(Tensor, layer.bias))
        for weight in self.weights:
            nn.init.xavier_uniform_(weight)

    @property
    def weights(self) -> list[Tensor]:
        """All weight matrices: those of the encoder (o, i), then, if not tied, those of the decoder (i, o)."""
        return [*(cast(Tensor, layer.weight) for layer in self.up), *self.down]

    def encode_layer(self, h: Tensor, i: int) -> Tensor:
        """Applies the encoder's i-th layer to h."""
        return ACTIVATIONS[self.code if i == len(self.up) - 1 else self.hidden](self.up[i](h))

    def decode_layer(self, h: Tensor, i: int) -> Tensor:
        """Applies the decoder layer opposite to the encoder's i-th layer; that of layer 0 (pixels) is unbounded."""
        h = linear(h, cast(Tensor, self.up[i].weight).T if self.tied else self.down[i], self.bias[i])
        return ACTIVATIONS[self.hidden](h) if i else h

    def layer_input(self, x: Tensor, i: int) -> Tensor:
        """The input (N, inputs) of the encoder's i-th layer; with i the number of layers, the code."""
        h = x.flatten(1)
        for j in range(i):
            h = self.encode_layer(h, j)
        return h

    def encode(self, x: Tensor) -> Tensor:
        return self.layer_input(x, len(self.up))

    def decode(self, code: Tensor) -> Tensor:
        k = len(self.weights[len(self.up) - 1])
        if code.shape[1:] != (k,):
            raise ValueError(f"this decoder takes codes (N, {k}), got {tuple(code.shape)}")
        for i in reversed(range(len(self.up))):
            code = self.decode_layer(code, i)
        return code.unflatten(1, self.shape)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        code = self.encode(x)
        return code, self.decode(code)

    def classifier(self, classes: int) -> nn.Sequential:
        """x (N, *shape) -> logits (N, classes): a copy of the encoder with a new linear layer."""
        if classes < 2 or "linear" in (self.hidden, self.code):
            raise ValueError(
                f"a classifier needs 2 classes and layers that are not linear, got {classes}, {self.code!r}"
            )
        follow = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}
        kinds = [*[self.hidden] * (len(self.up) - 1), self.code]
        layers = [part for layer, kind in zip(self.up, kinds) for part in (copy.deepcopy(layer), follow[kind]())]
        return nn.Sequential(nn.Flatten(), *layers, nn.Linear(len(self.weights[len(self.up) - 1]), classes))


class Convolutional(nn.Module):
    """x (N, *shape) -> code (N, k) -> outputs (N, *shape), unbounded; `width` channels at the finest level, doubled at
    every coarser one, each a 3x3 convolution and a max-pooling.

    unpool: "switches" restores values at the positions of the maxima, which the decoder then needs besides the code;
    "copy" repeats them at all four positions.
    """

    def __init__(self, shape: tuple[int, int, int], code: int = 30, width: int = 16, unpool: Unpooling = "copy"):
        super().__init__()
        if code < 1 or width < 1:
            raise ValueError(f"code and width are at least 1, got {code} and {width}")
        n = levels(shape)
        channels = [shape[0], *(width * 2**i for i in range(n))]
        base = (channels[-1], shape[1] // 2**n, shape[2] // 2**n)
        self.unpool = unpool
        self.up = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in pairwise(channels))
        self.down = nn.ModuleList(nn.Conv2d(o, i, 3, padding=1) for i, o in pairwise(channels))
        self.enter = nn.Sequential(nn.Flatten(), nn.Linear(prod(base), code))
        self.leave = nn.Sequential(nn.Linear(code, prod(base)), nn.ReLU(), nn.Unflatten(1, base))

    def pooled(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The coarsest features, and the positions of the maxima (switches) at every level."""
        switches = []
        for layer in self.up:
            x, where = max_pool2d(layer(x).relu(), 2, return_indices=True)
            switches.append(where)
        return x, switches

    def encode(self, x: Tensor) -> Tensor:
        return self.enter(self.pooled(x)[0])

    def decode(self, code: Tensor, switches: list[Tensor] | None = None) -> Tensor:
        if self.unpool == "switches" and switches is None:
            raise ValueError("unpooling by 'switches' needs the switches of an image; use 'copy' to decode codes alone")
        h = self.leave(code)
        for i in reversed(range(len(self.down))):
            h = unpooled(h, switches[i] if switches and self.unpool == "switches" else None)
            h = self.down[i](h)
            h = h.relu() if i else h
        return h

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h, switches = self.pooled(x)
        code = self.enter(h)
        return code, self.decode(code, switches)


def unpooled(h: Tensor, switches: Tensor | None = None) -> Tensor:
    """(N, C, H, W) -> (N, C, 2H, 2W): values at the positions `switches`, zeros elsewhere; none: values repeated."""
    return interpolate(h, scale_factor=2) if switches is None else max_unpool2d(h, switches, (2, 2))
