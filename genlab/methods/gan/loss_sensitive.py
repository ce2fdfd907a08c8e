"""Loss-sensitive GAN; Qi 2017, arXiv:1701.06264, eq. 6 and 7, with the leaky cost of its generalisation (GLS-GAN).

Departure: the discriminator's term E L(x), which by itself only shifts L, is left out: the limit of a large lambda.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from genlab.core.ranges import LearningRate, Share, Weight
from genlab.methods.gan.adversarial import Adversarial, AdversarialConfig
from genlab.training.method import Metrics, Stream, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update


class LossSensitiveGAN(Adversarial):
    """generator: z (N, latent) -> x (N, C, H, W) in [0, 1];  loss: x -> (N,), unbounded, low for real images.

    A fake should lose to a real image by `margin` times their L1 distance: the worse it is, the more. `slope` 0 ignores
    pairs that are that far apart (LS-GAN), slope 1 is WGAN without a constraint.
    """

    def __init__(
        self,
        generator: nn.Module,
        loss: nn.Module,
        latent: int,
        margin: float = 0.2,
        slope: float = 0.0,
        lr: float = 2e-4,
    ):
        super().__init__(generator, latent)
        self.loss, self.margin, self.slope, self.lr = loss, margin, slope, lr

    def optimizers(self):
        return {name: adam(getattr(self, name), lr=self.lr, betas=(0.5, 0.999)) for name in ("generator", "loss")}

    def violation(self, real: Tensor, fake: Tensor) -> Tensor:
        """(margin * |x - G(z)|_1 + L(x) - L(G(z))), cut below 0, of every pair: (N,)."""
        distance = (real - fake).float().abs().flatten(1).sum(1)
        return leaky_relu(self.margin * distance + self.loss(real) - self.loss(fake), self.slope)

    def step(self, data: Stream, update: Update) -> Metrics:
        real, _ = next(data)
        fake = self.sample(len(real))
        violation = self.violation(real, fake.detach()).mean()
        update("loss", violation)
        generator = self.loss(fake).mean()
        update("generator", generator)
        return {"violation": violation, "generator": generator}


@dataclass(frozen=True)
class LossSensitiveConfig(AdversarialConfig):
    """Loss-sensitive GAN: bad fakes must lose by a larger margin than good ones."""

    margin: Weight = 0.2
    """of the loss, per unit of L1 distance in pixels"""
    slope: Share = 0.0
    """weight of pairs that are far enough apart, from 0 (LS-GAN) to 1 (WGAN)"""
    lr: LearningRate = 2e-4
    """learning rate of both Adams"""

    training = TrainOptions(images=1_000_000, batch=64, half_life=10_000)

    def build(self, shape: tuple[int, int, int], classes: int) -> LossSensitiveGAN:
        loss = self.make_discriminator(shape)
        return LossSensitiveGAN(self.make_generator(shape), loss, self.latent, self.margin, self.slope, self.lr)
