"""What methods share that teach an encoder to tell images from each other: its codes are judged beside those of the
same encoder before training."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from genlab.core.batch import at_least
from genlab.data import Images
from genlab.latent.codes import probe_and_search
from genlab.training.method import BatchStream, Config, Method


class EncoderMethod(Method):
    """encoder: x (N, C, H, W) in [0, 1] -> code (N, k);  untrained: a copy of it as it was at the start."""

    batch_sizes = at_least(2)  # an image and another one

    def __init__(self, encoder: nn.Module, config: Config):
        super().__init__(config)
        self.encoder, self.untrained = encoder, copy.deepcopy(encoder).requires_grad_(False)

    def code(self, x: Tensor) -> Tensor:
        """x -> (N, k)."""
        return self.encoder(x)

    def images(self, data: BatchStream) -> Tensor:
        """The next batch of images.

        Raises:
            ValueError: it has fewer than two, so that there is no other one to be told from.
        """
        x, _ = next(data)
        if len(x) < 2:
            raise ValueError(f"images are told from others in a batch of at least 2 images, got {len(x)}")
        return x

    def evaluate(self, data: Images) -> dict[str, float]:
        """As `probe_and_search` of the encoder, and of that before training."""
        return probe_and_search(self.eval().encoder, self.untrained, data)
