"""PatchGAN: a discriminator that scores overlapping patches; Isola et al. 2017, arXiv:1611.07004, appendix 6.1.2.

The paper's 70x70 discriminator halves three times; halving less often makes the patches 34x34 and 16x16, and without
any the net is the paper's "pixel" discriminator of 1x1 convolutions. Images are in [0, 1] outside, in [-1, 1] inside.
Departure: instance normalisation, as in CycleGAN (arXiv:1703.10593), in place of batch normalisation.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from genlab.nets.dcgan import initialise

LAYERS = 3  # halvings of the paper's discriminator
WIDEST = 8  # no layer has more than so many times `width` channels


def receptive_field(layers: int) -> int:
    """The side in pixels of the patch that one score sees, after so many halvings: 1, 16, 34, 70, ..."""
    if layers < 0:
        raise ValueError(f"a patch discriminator halves its image 0 times or more often, not {layers}")
    return 9 * 2**layers - 2 if layers else 1


def deepest(shape: tuple[int, int, int]) -> int:
    """The most halvings, the paper's three at most, that images of `shape` (C, H, W) allow."""
    return max(n for n in range(LAYERS + 1) if n == 0 or min(shape[1:]) >> n >= 3)


class PatchDiscriminator(nn.Sequential):
    """x (N, *shape) in [0, 1] -> scores (N, 1, h, w), unbounded; each judges a patch of `patch` x `patch` pixels.

    width: channels of the first layer, doubled by every further one up to eight times as many.
    layers: halvings; 0: every pixel is judged by itself.
    norm: instance normalisation in all layers but the first and the last.
    """

    def __init__(self, shape: tuple[int, int, int], width: int = 64, layers: int = LAYERS, norm: bool = True):
        patch = receptive_field(layers)
        if layers and min(shape[1:]) >> layers < 3:
            least = 3 << layers
            raise ValueError(f"{layers} halvings take images of at least {least}x{least}, got {shape[1]}x{shape[2]}")
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
