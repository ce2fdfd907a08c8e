"""Progressive networks; Rusu et al. 2016, arXiv:1606.04671, equation 1, with two columns."""

from __future__ import annotations

import copy

from torch import Tensor, nn


class Progressive(nn.Module):
    """A new network beside a trained one: every linear or convolutional layer but the first takes the outputs of the
    layers below in both, those of the trained one through a lateral layer of the same shape without bias.

    The trained column is never changed, so its task is not forgotten. The lateral weights begin at 0: the new column
    begins as a network of its own, and can stay one.

    old, net: nn.Sequential, x (N, C, H, W) in [0, 1] -> logits, with the same modules but for the number of classes.
    `old` is copied, `net` is used.

    Raises:
        ValueError: the modules of the two differ.
    """

    def __init__(self, old: nn.Sequential, net: nn.Sequential) -> None:
        super().__init__()
        if [type(part) for part in old] != [type(part) for part in net]:
            raise ValueError("the columns of a progressive network must have the same modules in the same order")
        self.old: nn.Sequential = copy.deepcopy(old).requires_grad_(False)
        self.net = net
        self.lateral = nn.ModuleDict()
        first = True
        for k, part in enumerate(net):
            if isinstance(part, nn.Conv2d | nn.Linear):
                if not first:
                    self.lateral[str(k)] = lateral(part)
                first = False

    def train(self, mode: bool = True) -> Progressive:
        super().train(mode)
        self.old.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        a = b = x
        for k, (old, new) in enumerate(zip(self.old, self.net)):
            side = self.lateral[str(k)](a) if str(k) in self.lateral else None
            b = new(b) if side is None else new(b) + side
            a = old(a) if k < len(self.old) - 1 else a  # the old answer itself is not used
        return b


def lateral(layer: nn.Conv2d | nn.Linear) -> nn.Module:
    """A copy of the layer with weights 0 and without bias."""
    made = copy.deepcopy(layer)
    nn.init.zeros_(made.weight)
    made.bias = None
    return made
