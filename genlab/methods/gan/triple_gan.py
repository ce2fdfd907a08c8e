"""Triple GAN; Li et al. 2017, arXiv:1703.02291, Algorithm 1: a classifier and a conditional generator play against one
discriminator of pairs (x, y), where few images have labels.

The first `each` images of a class that the stream shows are its labelled ones; no other label is used. As in section
3.3, half of the unlabelled images with the classifier's labels count as real pairs, lest D learn the few by heart.
Departures: means over the classifier's labels are exact, which one pass allows because D has an output per class (a
projection, see conditional_gan.py); the game has its own, small weight in the classifier's loss, since with alpha the
few labels taught less than alone; the generator's game is the non-saturating one, and its labels are uniform.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot, softplus

from genlab.core.batch import at_least
from genlab.core.labels import Labels, asked, check_classes
from genlab.core.ranges import Count, LearningRate, Share, Weight, Width
from genlab.data import Images
from genlab.metrics.accuracy import accuracy
from genlab.nets.classifiers import cnn
from genlab.nets.dcgan import Encoder, Generator
from genlab.training.method import Config, Method, Metrics, Stream, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update


class TripleGAN(Method):
    """classifier: x (N, C, H, W) in [0, 1] -> logits (N, classes), and the method itself is that map;
    generator: (z, one-hot y) -> x;  discriminator: x -> (N, classes), the logits of the pairs (x, y)."""

    labelled_x: Tensor
    labelled_y: Tensor
    known: Tensor
    batch_sizes = at_least(2)  # one half counts as real, the other as guessed

    def __init__(
        self,
        classifier: nn.Module,
        generator: nn.Module,
        discriminator: nn.Module,
        shape: tuple[int, int, int],
        classes: int,
        latent: int,
        each: int = 10,
        alpha: float = 0.5,
        game: float = 0.01,
        pseudo: float = 1.0,
        pseudo_start: float = 0.2,
        lr: float = 2e-4,
    ):
        super().__init__()
        self.classifier, self.generator, self.discriminator = classifier, generator, discriminator
        self.classes, self.latent, self.each = classes, latent, each
        self.alpha, self.game, self.pseudo, self.pseudo_start, self.lr = alpha, game, pseudo, pseudo_start, lr
        self.register_buffer("labelled_x", torch.zeros(classes * each + 1, *shape))  # the last row is a spare
        self.register_buffer("labelled_y", torch.arange(classes).repeat_interleave(each))
        self.register_buffer("known", torch.zeros(classes, dtype=torch.int64))  # labelled images found, per class

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(x)

    def optimizers(self):
        return {name: adam(net, lr=self.lr, betas=(0.5, 0.999)) for name, net in self.named_children()}

    @torch.no_grad()
    def collect(self, x: Tensor, y: Tensor) -> None:
        """Keeps the images of classes that lack labelled ones; without a wait for the device."""
        chosen = one_hot(y, self.classes)
        place = self.known[y] + (chosen.cumsum(0) * chosen).sum(1) - 1  # among those of its class
        row = torch.where(place < self.each, y * self.each + place, len(self.labelled_y))
        self.labelled_x.index_copy_(0, row, x.to(self.labelled_x))
        self.labelled_x[-1] = 0
        self.known.copy_((self.known + chosen.sum(0)).clamp(max=self.each))

    def labelled(self, n: int) -> tuple[Tensor, Tensor]:
        """n labelled pairs, drawn with replacement."""
        there = torch.arange(self.each, device=self.device) < self.known[:, None]
        rows = torch.multinomial(there.flatten().float(), n, replacement=True)
        return self.labelled_x[rows], self.labelled_y[rows]

    def sample(self, n: int, labels: Labels | None = None) -> Tensor:
        """n images (n, C, H, W) in [0, 1] of the classes `labels` (n,), or of random ones."""
        if labels is None:
            return self.draw(torch.randint(self.classes, (n,), device=self.device))
        return self.draw(asked(labels, n, self.classes, self.device))

    def draw(self, y: Tensor) -> Tensor:
        """Classes (n,) -> an image of each."""
        z = torch.randn(len(y), self.latent, device=self.device)
        return self.generator(torch.cat([z, one_hot(y, self.classes)], 1))

    def step(self, data: Stream, update: Update) -> Metrics:
        x, hidden = next(data)
        self.collect(x, hidden)
        (x_l, y_l), y_g = self.labelled(len(x)), torch.randint(self.classes, (len(x),), device=self.device)
        x_g = self.draw(y_g)
        belief = self.classifier(x).float().softmax(1)
        mean = lambda costs: (belief.detach() * costs).sum(1)  # over the classes as the classifier sees them
        score = lambda images, y: self.discriminator(images).gather(1, y[:, None])

        every, half = self.discriminator(x), len(x) // 2
        right = (softplus(-score(x_l, y_l)).mean() + mean(softplus(-every))[:half].mean()) / 2
        guessed, made = mean(softplus(every))[half:].mean(), softplus(score(x_g.detach(), y_g)).mean()
        discriminator = right + self.alpha * guessed + (1 - self.alpha) * made
        update("discriminator", discriminator)

        supervised = cross_entropy(self.classifier(x_l), y_l)
        game = -(belief * softplus(self.discriminator(x).detach())).sum(1).mean()
        taught = cross_entropy(self.classifier(x_g.detach()), y_g)
        trust = self.pseudo if update.progress >= self.pseudo_start else 0.0
        update("classifier", supervised + self.game * game + trust * taught)

        generator = softplus(-score(x_g, y_g)).mean()
        update("generator", generator)
        return {"discriminator": discriminator, "generator": generator, "supervised": supervised, "game": game}

    def evaluate(self, data: Images) -> dict[str, float]:
        """accuracy: the fraction of `data` classified correctly."""
        return {"accuracy": accuracy(self.eval(), data)}

    @torch.no_grad()
    def pictures(self, data: Images) -> dict[str, Tensor]:
        """samples: a row per class."""
        y = torch.arange(self.classes, device=self.device).repeat_interleave(self.classes)
        return {"samples": self.eval().draw(y)}


@dataclass(frozen=True)
class TripleGANConfig(Config):
    """Triple GAN: a classifier from few labels, and a conditional generator beside it."""

    labels_per_class: Count = 10
    """images of a class whose label is used"""
    alpha: Share = 0.5
    """share of the classifier's pairs among the discriminator's fakes, the rest is the generator's"""
    game: Weight = 0.01
    """weight of the game in the classifier's loss"""
    pseudo: Weight = 1.0
    """weight of the generator's pictures among the classifier's examples"""
    pseudo_start: Share = 0.2
    """fraction of training before the classifier sees them"""
    latent: Width = 64
    """dimensions of z"""
    width: Width = 32
    """channels at the finest level of every network"""
    lr: LearningRate = 3e-4
    """learning rate of all Adams"""

    training: ClassVar[TrainOptions] = TrainOptions(images=500_000, batch=64, half_life=10_000)

    def check_data(self, data: Any) -> None:
        counts = data.source.labels.bincount()
        rarest = int(counts[counts > 0].min())
        if self.labels_per_class > rarest:
            raise ValueError(
                f"--labels-per-class must be at most {rarest:,}, the training images of the rarest class, "
                f"got {self.labels_per_class:,}"
            )

    def build(self, shape: tuple[int, int, int], classes: int) -> TripleGAN:
        check_classes(classes, "Triple GAN")
        return TripleGAN(
            cnn(shape, classes, self.width),
            Generator(shape, self.latent + classes, self.width),
            Encoder(shape, classes, self.width),
            shape,
            classes,
            self.latent,
            self.labels_per_class,
            self.alpha,
            self.game,
            self.pseudo,
            self.pseudo_start,
            self.lr,
        )
