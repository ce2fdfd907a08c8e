"""Networks for sequences of tokens x (N, T, V): one-hot vectors, or distributions in their place."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Choose = Callable[[Tensor, int], Tensor]  # logits (N, V) and the position -> the token there, (N, V)


class TokenGenerator(nn.Module):
    """A GRU that predicts every token from those before it; V: size of the vocabulary, width: of the state."""

    def __init__(self, vocabulary: int, width: int):
        super().__init__()
        self.start = nn.Parameter(torch.zeros(width))
        self.embed = nn.Linear(vocabulary, width, bias=False)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        """Tokens x (N, T, V) -> logits (N, T, V) of each given those before it; h: initial state (N, width), or 0."""
        return self.head(self.gru(self.inputs(x)[:, :-1], None if h is None else h[None])[0])

    def inputs(self, x: Tensor) -> Tensor:
        """Tokens (N, T, V) -> the inputs of the GRU (N, 1 + T, width), the first of which is the start."""
        return torch.cat([self.start.expand(len(x), 1, -1), self.embed(x)], 1)

    def complete(self, prefix: Tensor, length: int, choose: Choose, h: Tensor | None = None) -> Tensor:
        """prefix (N, t, V), t from 0 -> (N, length, V): the prefix, and then what `choose` makes of the logits."""
        x, inputs = [prefix], self.inputs(prefix)
        state = None if h is None else h[None]
        for t in range(prefix.shape[1], length):
            out, state = self.gru(inputs, state)
            x.append(choose(self.head(out[:, -1]), t)[:, None])
            inputs = self.embed(x[-1])
        return torch.cat(x, 1)


class TokenDiscriminator(nn.Module):
    """Tokens (N, T, V) -> scores (N,), unbounded: two convolutions over time, without normalisation."""

    def __init__(self, vocabulary: int, length: int, width: int):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(vocabulary, width, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv1d(width, width, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(width * length, 1),
            nn.Flatten(0),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.transpose(1, 2))


class TokenTranslator(nn.Sequential):
    """Tokens (N, T, V) -> logits (N, T, V) of the translation, word by word: three convolutions over time, so that a
    word is translated by itself and its two neighbours on either side."""

    def __init__(self, vocabulary: int, width: int):
        super().__init__(
            nn.Conv1d(vocabulary, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(width, vocabulary, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)
