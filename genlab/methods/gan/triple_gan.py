"""Triple GAN; Li et al. 2017, arXiv:1703.02291, Algorithm 1: semi-supervised classification. A classifier and a
conditional generator are trained against one discriminator of pairs (x, y).

As in section 3.3, half of the unlabelled images with the classifier's labels count as real pairs, lest D overfit the
few labelled ones. Departures: expectations over the classifier's labels are exact, at the cost of one pass, since D has
an output per class (a projection, see conditional_gan.py); the adversarial loss has a small weight of its own in the
classifier's loss, since with alpha the classifier was worse than without it; the generator's adversarial loss is the
non-saturating one, and its labels are uniform.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softplus

from genlab.core.batch import at_least
from genlab.core.labels import check_classes
from genlab.core.ranges import LearningRate, Share, Weight, Width
from genlab.data import Images
from genlab.methods.classification.few_labels import FewLabels, FewLabelsConfig
from genlab.methods.gan.adversarial import ConditionalAdversarial, GeneratorConfig
from genlab.methods.gan.gan import BETAS
from genlab.metrics.accuracy import accuracy
from genlab.nets.classifiers import cnn
from genlab.nets.dcgan import Encoder, Generator
from genlab.training.method import BatchStream, Metrics, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update


@dataclass(frozen=True)
class TripleGANConfig(FewLabelsConfig, GeneratorConfig):
    """Triple GAN: a classifier from few labels, trained together with a conditional generator."""

    alpha: Share = 0.5
    """share of the classifier's pairs among the discriminator's fakes; the others are the generator's"""
    adversarial: Weight = 0.01
    """weight of the adversarial loss in the classifier's loss"""
    pseudo: Weight = 1.0
    """weight of the classifier's loss on generated pairs, alpha_P of the paper"""
    pseudo_start: Share = 0.2
    """fraction of training before generated pairs enter the classifier's loss"""
    width: Width = 32
    """channels at the finest level of every network"""
    lr: LearningRate = 3e-4
    """learning rate of all Adams"""

    training: ClassVar[TrainOptions] = TrainOptions(images=500_000, batch=64, half_life=10_000)

    def build(self, shape: tuple[int, int, int], classes: int) -> TripleGAN:
        check_classes(classes, "Triple GAN")
        return TripleGAN(
            cnn(shape, classes, self.width),
            Generator(shape, self.latent + classes, self.width),
            Encoder(shape, classes, self.width),
            shape,
            classes,
            self,
        )


class TripleGAN(ConditionalAdversarial, FewLabels):
    """classifier: x (N, C, H, W) in [0, 1] -> logits (N, classes), and the method itself is that map;
    generator: (z, one-hot y) -> x;  discriminator: x -> (N, classes), the logits of the pairs (x, y)."""

    config: TripleGANConfig
    batch_sizes = at_least(2)  # half of the classifier's pairs count as real, half as fake

    def __init__(
        self,
        classifier: nn.Module,
        generator: nn.Module,
        discriminator: nn.Module,
        shape: tuple[int, int, int],
        classes: int,
        config: TripleGANConfig = TripleGANConfig(),
    ):
        super().__init__(generator, classes, config)
        self.classifier, self.discriminator = classifier, discriminator
        self.make_room(classes, config.labels_per_class, shape)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(x)

    def optimizers(self):
        return {name: adam(net, lr=self.config.lr, betas=BETAS) for name, net in self.named_children()}

    def step(self, data: BatchStream, update: Update) -> Metrics:
        alpha = self.config.alpha
        x, hidden = next(data)
        self.collect(x, hidden)
        (x_l, y_l), y_g = self.labelled(len(x)), torch.randint(self.classes, (len(x),), device=self.device)
        x_g = self.draw(y_g)
        p_c = self.classifier(x).float().softmax(1)  # p_c(y given x) of the paper
        expected = lambda losses: (p_c.detach() * losses).sum(1)  # over the classifier's labels
        pair = lambda x, y: self.discriminator(x).gather(1, y[:, None])

        pairs_c, half = self.discriminator(x), len(x) // 2
        real = (softplus(-pair(x_l, y_l)).mean() + expected(softplus(-pairs_c))[:half].mean()) / 2
        fake_c, fake_g = expected(softplus(pairs_c))[half:].mean(), softplus(pair(x_g.detach(), y_g)).mean()
        discriminator = real + alpha * fake_c + (1 - alpha) * fake_g
        update("discriminator", discriminator)

        supervised = cross_entropy(self.classifier(x_l), y_l)
        adversarial = -(p_c * softplus(self.discriminator(x).detach())).sum(1).mean()
        pseudo = cross_entropy(self.classifier(x_g.detach()), y_g)
        alpha_p = self.config.pseudo if update.progress >= self.config.pseudo_start else 0.0
        update("classifier", supervised + self.config.adversarial * adversarial + alpha_p * pseudo)

        generator = softplus(-pair(x_g, y_g)).mean()
        update("generator", generator)
        return {
            "discriminator": discriminator,
            "generator": generator,
            "supervised": supervised,
            "adversarial": adversarial,
        }

    def evaluate(self, data: Images) -> dict[str, float]:
        """accuracy: the fraction of `data` classified correctly."""
        return {"accuracy": accuracy(self.eval(), data)}
