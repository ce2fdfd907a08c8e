"""Several generators as one."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from genlab.core.batch import at_least, batch_sizes


class GeneratorEnsemble(nn.Module):
    """z (N, latent) -> x: each generator makes an equal share of the batch, in a random order of the generators.

    So every image comes from each generator with the same probability, and only where N is no multiple of their
    number do some make one more. The order is drawn on the CPU: nothing waits for a GPU. A batch needs an image for
    each generator, or as many as each needs.
    """

    def __init__(self, generators: Iterable[nn.Module]):
        super().__init__()
        self.generators = nn.ModuleList(generators)
        self.batch_sizes = at_least(len(self.generators) * batch_sizes(self.generators).start)

    def forward(self, z: Tensor) -> Tensor:
        order = torch.randperm(len(self.generators)).tolist()
        shares = zip(order, z.tensor_split(len(order)))
        return torch.cat([self.generators[i](share) for i, share in shares if len(share)])
