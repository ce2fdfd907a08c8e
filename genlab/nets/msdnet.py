"""MSDNet: multi-scale dense connections with classifiers along the coarse scale; Huang et al. 2018, arXiv:1703.09844,
figure 2.

    layer        1        2        3                  ->  convolution, at the same scale
    fine        x ------> o -----> o ----->           \\  strided convolution, to the next coarser scale
                 \\        \\        \\
    middle        x -----> o -----> o ----->          Every arrow takes the features of all layers before it (dense
                   \\        \\        \\                connections), and adds a few channels to them.
    coarse          x ----> o -----> o ----->
                            |        |
                            classifiers

The classifiers read coarse features from the first layer on, and the dense connections let later layers pass by what
early classifiers have made of theirs. As the paper's lazy evaluation, finer scales stay one layer behind the next
coarser: nothing is computed that the next classifier does not need.

Departures, for small images: no 1x1 bottlenecks; no scales are dropped on the way and no channels by transition layers;
classifiers are linear in maps pooled to 4x4.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, cat, nn

from genlab.core.batch import with_min_batch
from genlab.nets.classifiers import Normalise

SCALES = 3
EXITS = 3
LAYERS = 2  # between two classifiers


def convolution(i: int, o: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True))


class FirstLayer(nn.Module):
    """x (N, C, H, W) -> features of every scale s, from fine to coarse: (N, channels[s], H / 2^s, W / 2^s)."""

    def __init__(self, i: int, channels: list[int]):
        super().__init__()
        strides = [1, *[2] * (len(channels) - 1)]
        self.down = nn.ModuleList(convolution(a, b, s) for (a, b), s in zip(pairwise([i, *channels]), strides))

    def forward(self, x: Tensor) -> list[Tensor]:
        scales = []
        for convolve in self.down:
            x = convolve(x)
            scales.append(x)
        return scales


class DenseLayer(nn.Module):
    """Features of every scale (N, channels[s], ...) -> the same and those of one more layer, (N, channels[s] +
    growth[s], ...), for all scales from `finest` on; half of the new channels come from the next finer scale."""

    def __init__(self, channels: list[int], growth: list[int], finest: int):
        super().__init__()
        self.finest = finest
        self.same, self.down = nn.ModuleList(), nn.ModuleList()
        finer = channels[finest - 1] if finest else 0
        for i, new in zip(channels[finest:], growth[finest:]):
            from_finer = new // 2 if finer else 0
            self.same.append(convolution(i, new - from_finer))
            if from_finer:
                self.down.append(convolution(finer, from_finer, stride=2))
            finer = i + new

    def forward(self, scales: list[Tensor]) -> list[Tensor]:
        found, down = scales[: self.finest], iter(self.down)
        for x, same in zip(scales[self.finest :], self.same):
            new = [same(x)] if not found else [same(x), next(down)(found[-1])]
            found.append(cat([x, *new], 1))
        return found


class CoarseClassifier(nn.Module):
    """Features of every scale -> logits (N, classes), linear in those of the coarsest."""

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * channels, classes))

    def forward(self, scales: list[Tensor]) -> Tensor:
        return self.head(scales[-1])


def msdnet(shape: tuple[int, int, int], classes: int, width: int = 4) -> tuple[list[nn.Module], list[nn.Module]]:
    """Stages, from x in [0, 1] to features of every scale and on, and the classifier after each.

    width: new channels of a layer at the finest scale, doubled at each coarser one.
    """
    growth = [width << s for s in range(SCALES)]
    channels = list(growth)
    stages: list[nn.Module] = []
    heads: list[nn.Module] = []
    for exit in range(EXITS):
        layers: list[nn.Module] = [] if exit else [Normalise(), FirstLayer(shape[0], channels)]
        for layer in range(exit * LAYERS, (exit + 1) * LAYERS):
            finest = max(0, SCALES - 1 - layer)
            layers.append(DenseLayer(channels, growth, finest))
            channels = channels[:finest] + [c + g for c, g in zip(channels[finest:], growth[finest:])]
        stages.append(nn.Sequential(*layers))
        heads.append(CoarseClassifier(channels[-1], classes))
    if max(shape[1:]) <= 1 << SCALES - 1:
        with_min_batch(heads[0], 2)  # batch normalisation of maps of 1x1
    return stages, heads
