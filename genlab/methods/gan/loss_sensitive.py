"""Loss-sensitive GAN; Qi 2017, arXiv:1701.06264, eq. 6 and 7, with the leaky cost of its generalisation (GLS-GAN).

Departure: the discriminator's term E L(x), which by itself only shifts L, is left out: the limit of a large lambda.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from genlab.core.ranges import LearningRate, Share, Weight
from genlab.methods.gan.adversarial import Adversarial, AdversarialConfig
from genlab.methods.gan.gan import BETAS
from genlab.training.method import BatchStream, Metrics, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update


@dataclass(frozen=True)
class LossSensitiveConfig(AdversarialConfig):
    """Loss-sensitive GAN: the margin between real images and fakes grows with their distance."""

    margin: Weight = 0.2
    """margin of the loss per unit of L1 distance in pixels"""
    slope: Share = 0.0
    """slope of the cost below 0, where the margin is kept: 0 is LS-GAN, 1 is WGAN without a constraint"""
    lr: LearningRate = 2e-4
    """learning rate of both Adams"""

    training = TrainOptions(images=1_000_000, batch=64, half_life=10_000)

    def check_relations(self) -> None:
        if self.pack > 1:
            raise ValueError(f"a loss-sensitive GAN has a margin of every image, so pack must be 1, got {self.pack}")

    def build(self, shape: tuple[int, int, int], classes: int) -> LossSensitiveGAN:
        loss = self.make_discriminator(shape)
        return LossSensitiveGAN(self.make_generator(shape), loss, self)


class LossSensitiveGAN(Adversarial):
    """generator: z (N, latent) -> x (N, C, H, W) in [0, 1];  loss: x -> (N,), L of the paper, unbounded, low for real
    images.

    The loss of a fake should exceed that of a real image by a margin proportional to their L1 distance.
    """

    config: LossSensitiveConfig

    def __init__(self, generator: nn.Module, loss: nn.Module, config: LossSensitiveConfig = LossSensitiveConfig()):
        super().__init__(generator, config)
        self.loss = loss

    def optimizers(self):
        nets = {"generator": self.generator, "loss": self.loss}
        return {name: adam(net, lr=self.config.lr, betas=BETAS) for name, net in nets.items()}

    def violation(self, real: Tensor, fake: Tensor) -> Tensor:
        """The cost of margin * |x - G(z)|_1 + L(x) - L(G(z)) for every pair: (N,)."""
        distance = (real - fake).float().abs().flatten(1).sum(1)
        return leaky_relu(self.config.margin * distance + self.loss(real) - self.loss(fake), self.config.slope)

    def step(self, data: BatchStream, update: Update) -> Metrics:
        real, _ = next(data)
        fake = self.sample(len(real))
        violation = self.violation(real, fake.detach()).mean()
        update("loss", violation)
        generator = self.loss(fake).mean()
        update("generator", generator)
        return {"violation": violation, "generator": generator}
