"""PixelCNN and PixelRNN: each pixel given all before it, trained by exact likelihood; van den Oord et al. 2016,
arXiv:1601.06759 (eq. 1-2) and, conditional and gated, arXiv:1606.05328."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from genlab.core.labels import Labels, check_labels
from genlab.core.picture import MOST, Pictures, in_rows
from genlab.core.ranges import Count, Layers, LearningRate, Positive, Range, Share, checked
from genlab.data import Images
from genlab.likelihood import sampling
from genlab.likelihood.pixels import (
    Bernoulli,
    LogisticMixture,
    Palette,
    PixelDistribution,
    Regression,
    Softmax,
    colours,
)
from genlab.likelihood.units import bits_per_dim, likelihood
from genlab.nets.causal import CausalNet
from genlab.nets.pixelcnn import Bottleneck, GatedPixelCNN, Stack
from genlab.nets.pixelrnn import DiagonalBiLSTM, RowLSTM
from genlab.training.method import BatchStream, Config, Method, Metrics, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update

PALETTE_IMAGES = 64  # images from which a palette is made


NetName = Literal["pixelcnn", "gated", "row-lstm", "diagonal-bilstm"]
HeadName = Literal["bernoulli", "softmax", "logistic", "palette", "regression"]


@dataclass(frozen=True)
class AutoregressiveConfig(Config):
    """PixelCNN or PixelRNN: an autoregressive model of pixels with exact likelihood."""

    net: NetName = "gated"
    """gated PixelCNN; PixelCNN with its blind spot; PixelRNN by rows or by diagonals"""
    head: HeadName = "softmax"
    """pixel distribution: Bernoulli; softmax over `levels`; palette of `colours`; logistic mixture; or regression"""
    levels: Annotated[int, Range(2, 256)] = 256
    """grey levels of softmax and logistic"""
    colours: Annotated[int, Range(2, 256)] = 15
    """colours of the palette"""
    mixtures: Annotated[int, Range(1, 1000)] = 10
    """components of the logistic mixture"""
    width: Annotated[int, Range(3, 2**16)] = 32
    """features per pixel"""
    layers: Layers = 6
    """layers after the first"""
    kernel: Annotated[int, Range(1, 99, odd=True)] = 3
    """side of the masked convolutions, odd"""
    position_bias: bool = False
    """a learned bias for every position in the first layer; for centred images, like digits"""
    conditional: bool = False
    """train p(image given class)"""
    self_sampling: Share = 0.0
    """scheduled sampling: share of the input pixels replaced by the network's own samples, at the end of training"""
    self_sampling_from: Share = 0.0
    """the same at the start of training; linear in between"""
    lr: LearningRate = 1e-3
    """learning rate of Adam"""

    training: ClassVar[TrainOptions] = TrainOptions(
        images=300_000, batch=32, schedule="cosine", warmup=0.02, clip=100.0
    )

    def check_data(self, data: BatchStream) -> None:
        if self.head == "palette":
            found = len(colours(first := with_more(next(data)[0], data))[0])
            if self.colours > found:
                raise ValueError(
                    f"--colours must be at most {found}, the colours of the first {len(first)} images, "
                    f"got {self.colours}"
                )

    def build(self, shape: tuple[int, int, int], classes: int) -> Autoregressive:
        head = self.make_head(shape[0])
        classes = classes if self.conditional else 0
        return Autoregressive(self.make_net(head, shape, classes), head, shape, self, classes)

    def make_head(self, channels: int) -> PixelDistribution:
        if self.head == "palette":
            return Palette(channels, self.colours)
        if self.head == "softmax":
            return Softmax(channels, self.levels)
        if self.head == "logistic":
            return LogisticMixture(channels, self.mixtures, self.levels)
        return Bernoulli(channels) if self.head == "bernoulli" else Regression(channels)

    def make_net(self, head: PixelDistribution, shape: tuple[int, int, int], classes: int) -> CausalNet:
        position_bias = shape[1:] if self.position_bias else None
        if self.net == "gated":
            layers = self.layers + 1
            return GatedPixelCNN(
                head.inputs, head.groups, self.width, layers, head.outputs, classes, self.kernel, position_bias
            )
        block = {
            "pixelcnn": lambda: Bottleneck(self.width, self.kernel, head.groups),
            "row-lstm": lambda: RowLSTM(self.width, head.groups, self.kernel),
            "diagonal-bilstm": lambda: DiagonalBiLSTM(self.width, head.groups),
        }[self.net]
        blocks = [block() for _ in range(self.layers)]
        return Stack(head.inputs, head.groups, self.width, blocks, head.outputs, classes, position_bias)


@dataclass(frozen=True)
class PixelRNNConfig(AutoregressiveConfig):
    """PixelRNN: LSTMs along diagonals or rows instead of convolutions."""

    net: NetName = "diagonal-bilstm"
    """PixelRNN by diagonals or by rows; gated PixelCNN; PixelCNN with its blind spot"""
    layers: Layers = 3
    """layers after the first"""


class Autoregressive(Method):
    """net: encoded pixels -> the outputs from which `head` computes the distribution of each channel of each pixel.

    classes: of a conditional model, whose images are drawn given a label; else 0.

    With `self_sampling` a share of the input pixels is replaced by the net's own draws (scheduled sampling; Bengio et
    al. 2015, arXiv:1506.03099; all drawn in one pass, given the true pixels before them).
    """

    config: AutoregressiveConfig

    def __init__(
        self,
        net: CausalNet,
        head: PixelDistribution,
        shape: tuple[int, int, int],
        config: AutoregressiveConfig = AutoregressiveConfig(),
        classes: int = 0,
    ):
        super().__init__(config)
        self.net, self.head, self.shape, self.classes = net, head, shape, classes

    def optimizers(self):
        return {"pixels": adam(self.net, lr=self.config.lr)}

    def log_prob(self, x: Tensor, labels: Labels | None = None) -> Tensor:
        """log P(x), or log P(x given label), in nats: (N, C, H, W) in [0, 1] -> (N,).

        Without labels, a conditional model averages P(x given label) over its classes, all equally probable.
        """
        k = self.head.indices(x)
        if self.classes and labels is None:
            each = [self.log_prob_of(k, k.new_full((len(k),), c)) for c in range(self.classes)]
            return torch.stack(each).logsumexp(0) - torch.tensor(float(self.classes)).log()
        return self.log_prob_of(k, self.condition(len(k), labels))

    def log_prob_of(self, k: Tensor, labels: Tensor | None, inputs: Tensor | None = None) -> Tensor:
        """The same of integers k (N, groups, H, W), each pixel given those before it in `inputs`; none: in k."""
        return self.head.log_prob(self.outputs(k if inputs is None else inputs, labels), k).flatten(1).sum(1)

    def outputs(self, k: Tensor, labels: Tensor | None) -> Tensor:
        """Integers -> the outputs of the net, at least float32."""
        outputs = self.net(self.head.encode(k), labels)
        return outputs.to(torch.promote_types(outputs.dtype, torch.float32))

    def self_sampling(self, progress: float) -> float:
        """Scheduled sampling: the share of input pixels replaced by own samples at `progress` in [0, 1] of training."""
        start, end = self.config.self_sampling_from, self.config.self_sampling
        return start + (end - start) * progress

    @torch.no_grad()
    def self_sampled(self, k: Tensor, labels: Tensor | None, share: float) -> Tensor:
        """k with a `share` of its pixels replaced by samples of the network."""
        drawn = self.head.draw(self.outputs(k, labels), torch.rand(k.shape, device=k.device))
        return torch.where(torch.rand(k[:, :1].shape, device=k.device) < share, drawn, k)

    def step(self, data: BatchStream, update: Update) -> Metrics:
        x, labels = next(data)
        if not self.head.ready:
            self.head.fit(with_more(x, data))
        k, condition = self.head.indices(x), labels if self.classes else None
        share = self.self_sampling(update.progress)
        inputs = self.self_sampled(k, condition, share) if share else k
        nats = -self.log_prob_of(k, condition, inputs).mean()
        update("pixels", nats)
        return {"nats": nats, "bits_per_dim": nats * bits_per_dim(1.0, self.shape)}

    @checked
    def sample(self, n: Count, labels: Labels | None = None, temperature: Positive = 1.0) -> Tensor:
        """n images (n, C, H, W) of the classes `labels` (n,); none: every class in turn."""
        u = torch.rand(n, self.head.groups, *self.shape[1:], device=self.device)
        return self.head.images(sampling.draw(self.net, self.head, u, self.condition(n, labels), temperature))

    @checked
    def complete(self, x: Tensor, known: Tensor, labels: Labels | None = None, temperature: Positive = 1.0) -> Tensor:
        """Inpainting: x with the pixels redrawn where `known` (1, H, W) or (N, 1, H, W), bool, is False.

        A sample of the exact conditional if the unknown pixels come last; else known pixels further down are ignored.
        """
        side = tuple(self.shape[1:])
        if known.dtype != torch.bool or tuple(known.shape) not in ((1, *side), (1, 1, *side), (len(x), 1, *side)):
            raise ValueError(
                f"known must be bool (1, {self.shape[1]}, {self.shape[2]}), got {known.dtype} {tuple(known.shape)}"
            )
        mask, k = known.expand(len(x), 1, *side), self.head.indices(x)
        u = torch.rand(k.shape, device=k.device)
        labels = self.condition(len(x), labels)
        drawn = sampling.draw(self.net, self.head, u, labels, temperature, k, mask)
        return torch.where(mask, x, self.head.images(drawn))

    def condition(self, n: int, labels: Labels | None) -> Tensor | None:
        """The labels (n,) of n images: `labels`, or every class in turn."""
        if labels is None:
            return torch.arange(n, device=self.device) % self.classes if self.classes else None
        if not self.classes:
            raise ValueError("this model was trained without labels, so none can be asked for")
        return check_labels(labels, n, self.classes, self.device)

    def evaluate(self, data: Images) -> dict[str, float]:
        """nats per image and bits per dimension on `data`; a conditional model is not given the labels."""
        self.eval()
        return likelihood(self.log_prob, data, 100)

    @torch.no_grad()
    def pictures(self, data: Images) -> Pictures:
        """samples; completed: held-out images, and below them the same with the lower half redrawn."""
        self.eval()
        x = data.subset(slice(0, MOST)).x
        known = torch.arange(self.shape[1], device=x.device)[None, :, None] < self.shape[1] // 2
        labels = data.subset(slice(0, MOST)).labels if self.classes else None
        completed = self.complete(x, known.expand(1, *self.shape[1:]), labels)
        return {"samples": self.sample(64), "completed": in_rows({"held out": x, "lower half redrawn": completed})}


def with_more(x: Tensor, data: BatchStream) -> Tensor:
    """x, and so many batches after it that there are PALETTE_IMAGES images."""
    return torch.cat([x, *(next(data)[0] for _ in range(ceil(PALETTE_IMAGES / len(x)) - 1))])
