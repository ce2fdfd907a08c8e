"""A classifier that is unsure on generated outliers; Lee et al. 2018, arXiv:1711.09325, eq. 1-4 and Algorithm 1.

A GAN is trained beside the classifier, whose output on the GAN's samples is pulled to the uniform distribution (KL
divergence). The generator is rewarded for samples on which that output is uniform already, so that they come to lie at
the border of the data, where the classifier is unsure. Departures: the generator has the non-saturating loss, and the
networks are DCGAN's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from genlab.core.ranges import Count, LearningRate, Weight, Width, checked
from genlab.methods.classification.classifier import Classifier, ClassifierConfig
from genlab.methods.gan.gan import BETAS
from genlab.methods.gan.losses import OBJECTIVES
from genlab.nets.dcgan import Discriminator, Generator
from genlab.training.method import BatchStream, Metrics
from genlab.training.optim import adam
from genlab.training.update import Update

GAN = OBJECTIVES["nonsaturating"]


@dataclass(frozen=True)
class GeneratedOutliersConfig(ClassifierConfig):
    """Supervised classification, unsure on the samples of a GAN that is trained beside it."""

    loss: Literal["cross-entropy"] = "cross-entropy"
    """loss of the labels"""
    uniform: Weight = 1.0
    """weight of the classifier's KL divergence from uniform on generated images (beta)"""
    border: Weight = 1.0
    """weight of the same divergence in the generator's loss; 0: a GAN that imitates the data"""
    latent: Width = 64
    """dimensions of z"""
    width_gan: Width = 32
    """channels of the GAN's finest level; doubled at every coarser one"""
    lr_gan: LearningRate = 2e-4
    """learning rate of both Adams of the GAN"""

    def build(self, shape: tuple[int, int, int], classes: int) -> GeneratedOutliers:
        net = super().build(shape, classes).net
        generator = Generator(shape, self.latent, self.width_gan)
        return GeneratedOutliers(net, generator, Discriminator(shape, self.width_gan), self)


class GeneratedOutliers(Classifier):
    """net: x (N, C, H, W) in [0, 1] -> logits (N, classes), which is the method's own map.
    generator: z (N, latent) -> x, with z standard normal;  discriminator: x -> (N,), a logit."""

    config: GeneratedOutliersConfig

    def __init__(
        self,
        net: nn.Module,
        generator: nn.Module,
        discriminator: nn.Module,
        config: GeneratedOutliersConfig = GeneratedOutliersConfig(),
    ):
        super().__init__(net, config)
        self.generator, self.discriminator = generator, discriminator

    def optimizers(self):
        config = self.config
        return {
            "net": config.make_optimizer(self.net),
            "generator": adam(self.generator, lr=config.lr_gan, betas=BETAS),
            "discriminator": adam(self.discriminator, lr=config.lr_gan, betas=BETAS),
        }

    @checked
    def sample(self, n: Count) -> Tensor:
        """n generated outliers (n, C, H, W) in [0, 1]."""
        return self.generator(torch.randn(n, self.config.latent, device=self.device))

    def step(self, data: BatchStream, update: Update) -> Metrics:
        x, y = next(data)
        fake = self.sample(len(x))
        discriminator = GAN.discriminator(self.discriminator(x), self.discriminator(fake.detach()))
        update("discriminator", discriminator)
        divergence = from_uniform(self.net(fake))
        update("generator", GAN.generator(self.discriminator(fake)) + self.config.border * divergence)
        logits, unsure = self.net(x), from_uniform(self.net(fake.detach()))
        loss = cross_entropy(logits, y, label_smoothing=self.config.smoothing)
        update("net", loss + self.config.uniform * unsure)
        self.classes = logits.shape[1]
        accuracy = (logits.argmax(1) == y).float().mean()
        return {"loss": loss, "accuracy": accuracy, "divergence": unsure, "discriminator": discriminator}


def from_uniform(logits: Tensor) -> Tensor:
    """Mean of KL(U || softmax(logits)) over logits (N, classes), in nats."""
    return -(logits.float().log_softmax(1).mean(1) + math.log(logits.shape[1])).mean()
