"""Energy-based GAN; Zhao et al. 2017, arXiv:1609.03126, eq. 1 and 2, with the pulling-away term of eq. 4 as an option.

`pretraining` trains the discriminator on real images beforehand, as any auto-encoder: it needs no fakes for that.
Departure: the energy is the mean, not the sum, of squared errors, so that a margin fits images of any size.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, relu

from genlab.core.batch import at_least
from genlab.core.ranges import Fraction, LearningRate, Weight, Width
from genlab.methods.gan.adversarial import Adversarial, GeneratorConfig
from genlab.methods.gan.gan import BETAS
from genlab.nets.dcgan import Encoder, Generator, Norm
from genlab.training.method import BatchStream, Metrics, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update


@dataclass(frozen=True)
class AutoEncoderGANConfig(GeneratorConfig):
    """The networks of a GAN whose discriminator is an auto-encoder."""

    width: Width = 64
    """channels at the finest level; doubled at every coarser one"""
    code: Width = 32
    """dimensions of the auto-encoder's code"""
    lr: LearningRate = 2e-4
    """learning rate of both Adams"""

    training = TrainOptions(images=1_000_000, batch=64, half_life=10_000)

    def networks(
        self, shape: tuple[int, int, int], norm: Norm = nn.BatchNorm2d
    ) -> tuple[nn.Module, nn.Module, nn.Module]:
        """Generator, encoder and decoder."""
        encoder = Encoder(shape, self.code, self.width, norm)
        generator, decoder = (Generator(shape, size, self.width, norm) for size in (self.latent, self.code))
        return generator, encoder, decoder


class AutoEncoderGAN(Adversarial):
    """generator: z (N, latent) -> x (N, C, H, W) in [0, 1];  encoder: x -> code (N, k);  decoder: code -> x.

    Encoder and decoder are the discriminator.
    """

    config: AutoEncoderGANConfig

    def __init__(self, generator: nn.Module, encoder: nn.Module, decoder: nn.Module, config: AutoEncoderGANConfig):
        super().__init__(generator, config)
        self.encoder, self.decoder = encoder, decoder

    def optimizers(self):
        nets = {"generator": [self.generator], "discriminator": [self.encoder, self.decoder]}
        return {name: adam(*parts, lr=self.config.lr, betas=BETAS) for name, parts in nets.items()}


@dataclass(frozen=True)
class EBGANConfig(AutoEncoderGANConfig):
    """Energy-based GAN: the discriminator is an auto-encoder."""

    margin: Weight | None = 0.05
    """energy (mean squared error) up to which that of fakes is raised; none: without limit"""
    pull_away: Weight = 0.0
    """weight of the pulling-away term (in the paper 0.1)"""
    pretraining: Fraction = 0.0
    """first part of training, in which only the discriminator learns, on real images alone"""

    def build(self, shape: tuple[int, int, int], classes: int) -> EBGAN:
        return EBGAN(*self.networks(shape), self)


class EBGAN(AutoEncoderGAN):
    """The energy of an image is its reconstruction error; networks as in AutoEncoderGAN."""

    config: EBGANConfig
    batch_sizes = at_least(2)  # the codes of a batch are compared

    def energy(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x -> the energy (N,) and the code (N, k)."""
        code = self.encoder(x)
        return (self.decoder(code).float() - x.float()).square().flatten(1).mean(1), code

    def step(self, data: BatchStream, update: Update) -> Metrics:
        margin = self.config.margin
        real, _ = next(data)
        fake = self.sample(len(real))
        energy_real, energy_fake = (self.energy(x)[0] for x in (real, fake.detach()))
        hinge = -energy_fake if margin is None else relu(margin - energy_fake)
        if update.progress < self.config.pretraining:
            update("discriminator", energy_real.mean())
        else:
            update("discriminator", (energy_real + hinge).mean())
            energy, code = self.energy(fake)
            update("generator", energy.mean() + self.config.pull_away * pulling_away(code.float()))
        return {"energy_real": energy_real.mean(), "energy_fake": energy_fake.mean()}


def pulling_away(codes: Tensor) -> Tensor:
    """The mean squared cosine between two different rows of (N, k)."""
    n = len(codes)
    cosines = cosine_similarity(codes.unsqueeze(0), codes.unsqueeze(1), dim=2)
    return (cosines.square().sum() - n) / (n * (n - 1))
