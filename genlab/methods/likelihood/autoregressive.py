"""PixelCNN and PixelRNN: every pixel from all before it, by exact likelihood; van den Oord et al. 2016,
arXiv:1601.06759 (eq. 1-2) and, conditional and gated, arXiv:1606.05328."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from genlab.core.labels import asked
from genlab.core.ranges import Layers, LearningRate, Range, Share
from genlab.data import Images
from genlab.likelihood import sampling
from genlab.likelihood.heads import Bernoulli, Head, Logistic, Palette, Regression, Softmax, colours
from genlab.likelihood.units import bits_per_dim, likelihood
from genlab.nets.causal import CausalNet
from genlab.nets.pixelcnn import Bottleneck, GatedPixelCNN, Stack
from genlab.nets.pixelrnn import DiagonalBiLSTM, RowLSTM
from genlab.training.method import Config, Method, Metrics, Stream, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update

KNOWN_BEFORE = 64  # images from which a palette is made


class Autoregressive(Method):
    """net: encoded pixels -> the outputs that `head` reads as probabilities of each channel of each pixel.

    classes: images are drawn given a label, if not 0.
    own: training progress -> the share of input pixels that are the net's own draws instead of the image's (scheduled
        sampling; Bengio et al. 2015, arXiv:1506.03099; drawn in one pass, all at once, as the image was before them).
    """

    def __init__(
        self,
        net: CausalNet,
        head: Head,
        shape: tuple[int, int, int],
        classes: int = 0,
        lr: float = 1e-3,
        self_sampling: Callable[[float], float] = lambda progress: 0.0,
    ):
        super().__init__()
        self.net, self.head, self.shape, self.classes, self.lr, self.self_sampling = (
            net,
            head,
            shape,
            classes,
            lr,
            self_sampling,
        )

    def optimizers(self):
        return {"pixels": adam(self.net, lr=self.lr)}

    def log_prob(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """log P(x), or log P(x given label), in nats: (N, C, H, W) in [0, 1] -> (N,).

        Without labels, a conditional model says log of the mean over its classes, all equally probable.
        """
        k = self.head.indices(x)
        if self.classes and labels is None:
            each = [self.log_prob_of(k, k.new_full((len(k),), c)) for c in range(self.classes)]
            return torch.stack(each).logsumexp(0) - torch.tensor(float(self.classes)).log()
        return self.log_prob_of(k, self.condition(len(k), labels))

    def log_prob_of(self, k: Tensor, labels: Tensor | None, fed: Tensor | None = None) -> Tensor:
        """The same of integers k (N, groups, H, W), each pixel after those of `fed`; none: after those of k."""
        return self.head.log_prob(self.outputs(k if fed is None else fed, labels), k).flatten(1).sum(1)

    def outputs(self, k: Tensor, labels: Tensor | None) -> Tensor:
        """Integers -> what the head reads, at least float32."""
        outputs = self.net(self.head.encode(k), labels)
        return outputs.to(torch.promote_types(outputs.dtype, torch.float32))

    @torch.no_grad()
    def fed(self, k: Tensor, labels: Tensor | None, share: float) -> Tensor:
        """k with a `share` of its pixels replaced by what the net draws there."""
        drawn = self.head.draw(self.outputs(k, labels), torch.rand(k.shape, device=k.device))
        return torch.where(torch.rand(k[:, :1].shape, device=k.device) < share, drawn, k)

    def step(self, data: Stream, update: Update) -> Metrics:
        x, labels = next(data)
        if not self.head.ready:
            self.head.fit(with_more(x, data))
        k, given = self.head.indices(x), labels if self.classes else None
        share = self.self_sampling(update.progress)
        nats = -self.log_prob_of(k, given, self.fed(k, given, share) if share else k).mean()
        update("pixels", nats)
        return {"nats": nats, "bits_per_dim": nats * bits_per_dim(1.0, self.shape)}

    def sample(self, n: int, labels: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """n images (n, C, H, W), of the classes `labels` (n,); none: every class in turn."""
        u = torch.rand(n, self.head.groups, *self.shape[1:], device=self.device)
        return self.head.images(sampling.draw(self.net, self.head, u, self.condition(n, labels), positive(temperature)))

    def complete(self, x: Tensor, known: Tensor, labels: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """x with the pixels drawn anew where `known` (1, H, W) or (N, 1, H, W), bool, is False.

        Exact where the unknown pixels come last; a pixel never sees known ones further down.
        """
        side = tuple(self.shape[1:])
        if known.dtype != torch.bool or tuple(known.shape) not in ((1, *side), (1, 1, *side), (len(x), 1, *side)):
            raise ValueError(
                f"known must be bool (1, {self.shape[1]}, {self.shape[2]}), got {known.dtype} {tuple(known.shape)}"
            )
        mask, k = known.expand(len(x), 1, *side), self.head.indices(x)
        u = torch.rand(k.shape, device=k.device)
        labels = self.condition(len(x), labels)
        drawn = sampling.draw(self.net, self.head, u, labels, positive(temperature), k, mask)
        return torch.where(mask, x, self.head.images(drawn))

    def condition(self, n: int, labels: Tensor | None) -> Tensor | None:
        """The labels (n,) of n images: those asked for, or every class in turn."""
        if labels is None:
            return torch.arange(n, device=self.device) % self.classes if self.classes else None
        if not self.classes:
            raise ValueError("this model was trained without labels, so none can be asked for")
        return asked(labels, n, self.classes)

    def evaluate(self, data: Images) -> dict[str, float]:
        """nats per image and bits per dimension on `data`; of a conditional model, without its being told the class."""
        self.eval()
        return likelihood(self.log_prob, data, 100)

    @torch.no_grad()
    def pictures(self, data: Images) -> dict[str, Tensor]:
        """Samples, and held-out images whose lower half was hidden, each after its original."""
        self.eval()
        x = data.subset(slice(0, 32)).x
        known = torch.arange(self.shape[1], device=x.device)[None, :, None] < self.shape[1] // 2
        labels = data.subset(slice(0, 32)).labels if self.classes else None
        done = self.complete(x, known.expand(1, *self.shape[1:]), labels)
        return {"samples": self.sample(64), "completed": torch.stack([x, done], dim=1).flatten(0, 1)}


def with_more(x: Tensor, data: Stream) -> Tensor:
    """x, and so many batches after it that there are KNOWN_BEFORE images."""
    return torch.cat([x, *(next(data)[0] for _ in range(ceil(KNOWN_BEFORE / len(x)) - 1))])


def positive(temperature: float) -> float:
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    return temperature


NetName = Literal["pixelcnn", "gated", "row-lstm", "diagonal-bilstm"]
HeadName = Literal["bernoulli", "softmax", "logistic", "palette", "regression"]


@dataclass(frozen=True)
class AutoregressiveConfig(Config):
    """PixelCNN or PixelRNN: every pixel drawn given all before it, with an exact likelihood."""

    net: NetName = "gated"
    """gated PixelCNN; PixelCNN with its blind spot; PixelRNN by rows or by diagonals"""
    head: HeadName = "softmax"
    """what a pixel may be: black or white; one of `levels`; a mixture of logistics; one of `colours`; a mere guess"""
    levels: Annotated[int, Range(2, 256)] = 256
    """levels of brightness of the softmax"""
    colours: Annotated[int, Range(2, 256)] = 15
    """colours of the palette"""
    mixtures: Annotated[int, Range(1, 1000)] = 10
    """parts of the logistic mixture"""
    width: Annotated[int, Range(3, 2**16)] = 32
    """features per pixel"""
    layers: Layers = 6
    """layers after the first"""
    kernel: Annotated[int, Range(1, 99)] = 3
    """side of the masked convolutions, odd"""
    position_bias: bool = False
    """every place has a bias of its own in the first layer; for what is centred, like digits"""
    conditional: bool = False
    """learn p(image given class)"""
    self_sampling: Share = 0.0
    """share of the pixels that the net is fed with from its own draws, at the end of training"""
    self_sampling_from: Share = 0.0
    """the same at the start; the share grows evenly in between"""
    lr: LearningRate = 1e-3
    """learning rate of Adam"""

    training: ClassVar[TrainOptions] = TrainOptions(
        images=300_000, batch=32, schedule="cosine", warmup=0.02, clip=100.0
    )

    def check_data(self, data: Stream) -> None:
        if self.head == "palette":
            found = len(colours(first := with_more(next(data)[0], data))[0])
            if self.colours > found:
                raise ValueError(
                    f"--colours must be at most {found}, the colours of the first {len(first)} images, "
                    f"got {self.colours}"
                )

    def build(self, shape: tuple[int, int, int], classes: int) -> Autoregressive:
        head = self.pixels(shape[0])
        classes = classes if self.conditional else 0
        self_sampling = lambda progress: (
            self.self_sampling_from + (self.self_sampling - self.self_sampling_from) * progress
        )
        return Autoregressive(self.network(head, shape, classes), head, shape, classes, self.lr, self_sampling)

    def pixels(self, channels: int) -> Head:
        if self.head == "palette":
            return Palette(channels, self.colours)
        if self.head == "softmax":
            return Softmax(channels, self.levels)
        if self.head == "logistic":
            return Logistic(channels, self.mixtures, self.levels)
        return Bernoulli(channels) if self.head == "bernoulli" else Regression(channels)

    def network(self, head: Head, shape: tuple[int, int, int], classes: int) -> CausalNet:
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
    """PixelRNN: the same with LSTMs, along diagonals unless `net` says otherwise."""

    net: NetName = "diagonal-bilstm"
    """PixelRNN by diagonals or by rows; gated PixelCNN; PixelCNN with its blind spot"""
    layers: Layers = 3
    """layers after the first"""
