"""PatchGAN discriminator, which scores overlapping patches; Isola et al. 2017, arXiv:1611.07004, appendix 6.1.2.

The paper's 70x70 discriminator has three downsamplings; with two or one the patches are 34x34 and 16x16, and with none
it is the paper's "pixel" discriminator of 1x1 convolutions. Images are in [0, 1], and in [-1, 1] inside the network.
Departure: instance normalisation, as in CycleGAN (arXiv:1703.10593), instead of batch normalisation.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from genlab.nets.dcgan import initialise

LAYERS = 3  # downsamplings of the paper's discriminator
WIDEST = 8  # maximal number of channels, in multiples of `width`


def receptive_field(layers: int) -> int:
    """The receptive field of a score in pixels, for this number of downsamplings: 1, 16, 34, 70, ..."""
    if layers < 0:
        raise ValueError(f"a patch discriminator needs 0 or more downsamplings, got {layers}")
    return 9 * 2**layers - 2 if layers else 1


def deepest(shape: tuple[int, int, int]) -> int:
    """The maximal number of downsamplings (at most three) for images of `shape` (C, H, W)."""
    return max(n for n in range(LAYERS + 1) if n == 0 or min(shape[1:]) >> n >= 3)


class PatchDiscriminator(nn.Sequential):
    """x (N, *shape) in [0, 1] -> scores (N, 1, h, w), unbounded, with a receptive field of `patch` x `patch` pixels.

    width: channels of the first layer, doubled in every further one up to 8 `width`.
    layers: downsamplings; 0: every pixel is scored separately.
    norm: instance normalisation in all layers but the first and the last.
    """

    def __init__(self, shape: tuple[int, int, int], width: int = 64, layers: int = LAYERS, norm: bool = True):
        patch = receptive_field(layers)
        if layers and min(shape[1:]) >> layers < 3:
            least = 3 << layers
            raise ValueError(
                f"{layers} downsamplings need images of at least {least}x{least}, got {shape[1]}x{shape[2]}"
            )
        strides = [*[2] * layers, 1] if layers else [1, 1]
        kernel, padding = (4, 1) if layers else (1, 0)
        channels = [shape[0], *(width * min(2**n, WIDEST) for n in range(len(strides)))]
        body: list[nn.Module] = []
        for (i, o), stride in zip(pairwise(channels), strides):
            normed = norm and bool(body)
            body += [nn.Conv2d(i, o, kernel, stride, padding, bias=not normed)]
            body += [*([nn.InstanceNorm2d(o)] if normed else []), nn.LeakyReLU(0.2, inplace=True)]
        super().__init__(*body, nn.Conv2d(channels[-1], 1, kernel, 1, padding))
        self.patch = patch
        self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(2 * x - 1).float()
