"""Energy-based GAN; Zhao et al. 2017, arXiv:1609.03126, eq. 1 and 2, with the pulling-away term of eq. 4 as an option.

Departure: the energy is the mean, not the sum, of squared errors, so that a margin fits images of any size.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, relu

from genlab.core.batch import at_least
from genlab.core.ranges import LearningRate, Weight, Width
from genlab.methods.gan.adversarial import Adversarial
from genlab.nets.dcgan import Encoder, Generator
from genlab.training.method import Config, Metrics, Stream, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update


class EBGAN(Adversarial):
    """generator: z (N, latent) -> x (N, C, H, W) in [0, 1];  encoder: x -> code (N, k);  decoder: code -> x.

    The energy L of an image is its reconstruction error. `margin` None: the energy of fakes is raised without limit.
    """

    batch_sizes = at_least(2)  # the codes of a batch are compared

    def __init__(
        self,
        generator: nn.Module,
        encoder: nn.Module,
        decoder: nn.Module,
        latent: int,
        margin: float | None = 0.05,
        pull_away: float = 0.0,
        lr: float = 2e-4,
    ):
        super().__init__(generator, latent)
        self.encoder, self.decoder = encoder, decoder
        self.margin, self.pull_away, self.lr = margin, pull_away, lr

    def optimizers(self):
        adams = {"generator": [self.generator], "discriminator": [self.encoder, self.decoder]}
        return {name: adam(*nets, lr=self.lr, betas=(0.5, 0.999)) for name, nets in adams.items()}

    def energy(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x -> L(x) (N,) and the code (N, k)."""
        code = self.encoder(x)
        return (self.decoder(code).float() - x.float()).square().flatten(1).mean(1), code

    def step(self, data: Stream, update: Update) -> Metrics:
        real, _ = next(data)
        fake = self.sample(len(real))
        energy_real, energy_fake = (self.energy(x)[0] for x in (real, fake.detach()))
        above = -energy_fake if self.margin is None else relu(self.margin - energy_fake)
        update("discriminator", (energy_real + above).mean())
        energy, code = self.energy(fake)
        update("generator", energy.mean() + self.pull_away * likeness(code.float()))
        return {"energy_real": energy_real.mean(), "energy_fake": energy_fake.mean()}


def likeness(codes: Tensor) -> Tensor:
    """The pulling-away term: the mean squared cosine between two different rows of (N, k)."""
    n = len(codes)
    cosines = cosine_similarity(codes.unsqueeze(0), codes.unsqueeze(1), dim=2)
    return (cosines.square().sum() - n) / (n * (n - 1))


@dataclass(frozen=True)
class EBGANConfig(Config):
    """Energy-based GAN: the discriminator is an auto-encoder."""

    latent: Width = 64
    """dimensions of z"""
    width: Width = 64
    """channels at the finest level; doubled at every coarser one"""
    code: Width = 32
    """dimensions of the auto-encoder's code"""
    margin: Weight | None = 0.05
    """mean squared error up to which fakes are pushed; none: without limit"""
    pull_away: Weight = 0.0
    """weight of the pulling-away term (the paper's: 0.1)"""
    lr: LearningRate = 2e-4
    """learning rate of both Adams"""

    training = TrainOptions(images=1_000_000, batch=64, half_life=10_000)

    def build(self, shape: tuple[int, int, int], classes: int) -> EBGAN:
        encoder = Encoder(shape, self.code, self.width)
        generator, decoder = (Generator(shape, size, self.width) for size in (self.latent, self.code))
        return EBGAN(generator, encoder, decoder, self.latent, self.margin, self.pull_away, self.lr)
