"""An ensemble of generators."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from genlab.core.batch import at_least, batch_sizes


class GeneratorEnsemble(nn.Module):
    """z (N, latent) -> x: each generator makes an equal part of the batch, with the generators in random order.

    Every image comes from each generator with the same probability; if N is not a multiple of their number, some make
    one more. The order is drawn on the CPU, without synchronisation. A batch needs the minimal number of images of each
    generator, times their number.
    """

    def __init__(self, generators: Iterable[nn.Module]):
        super().__init__()
        self.generators = nn.ModuleList(generators)
        self.batch_sizes = at_least(len(self.generators) * batch_sizes(self.generators).start)

    def forward(self, z: Tensor) -> Tensor:
        order = torch.randperm(len(self.generators)).tolist()
        shares = zip(order, z.tensor_split(len(order)))
        return torch.cat([self.generators[i](share) for i, share in shares if len(share)])
