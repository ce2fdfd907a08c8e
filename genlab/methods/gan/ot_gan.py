"""OT-GAN; Salimans, Zhang, Radford, Metaxas 2018, arXiv:1803.05573, Algorithm 1: the critic compares batches by optimal
transport between their embeddings, so a generator that repeats itself is seen to.

Departures: layer normalisation in place of weight normalisation, strided convolutions, and batches of hundreds, not
thousands.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from genlab.core.batch import at_least
from genlab.core.ranges import LearningRate, Positive, Steps, Width
from genlab.methods.gan.adversarial import NORMS, Adversarial
from genlab.metrics.transport import sinkhorn
from genlab.nets.dcgan import Encoder, Generator
from genlab.training.method import Config, Metrics, Stream, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update


class OTGAN(Adversarial):
    """generator: z (N, latent) -> x (N, C, H, W) in [0, 1];  critic: x -> embedding (N, d).

    Images are as far apart as one minus the cosine of their embeddings. `blur` and `iterations` are sinkhorn's.
    """

    batch_sizes = at_least(2, multiple=2)  # each is taken as two

    def __init__(
        self,
        generator: nn.Module,
        critic: nn.Module,
        latent: int,
        n_generator: int = 3,
        blur: float = 0.02,
        iterations: int = 50,
        lr: float = 1e-3,
    ):
        super().__init__(generator, latent)
        self.critic, self.n_generator, self.lr = critic, n_generator, lr
        self.blur, self.iterations = blur, iterations

    def optimizers(self):
        nets = {"generator": self.generator, "critic": self.critic}
        return {name: adam(net, lr=self.lr, betas=(0.5, 0.999)) for name, net in nets.items()}

    def transport(self, x: Tensor, y: Tensor) -> Tensor:
        """W (B,) between sets of embeddings of length 1, (B, N, d) and (B, M, d), the plan taken as given (eq. 4)."""
        cost = 1 - x @ y.mT
        return (sinkhorn(cost.detach(), self.blur, self.iterations) * cost).sum((1, 2))

    def distance(self, real: Tensor, fake: Tensor) -> Tensor:
        """The minibatch energy distance (eq. 7) of two batches (2 N, C, H, W), each taken as two."""
        embedded = normalize(self.critic(torch.cat([real, fake])).float(), dim=1)
        (x, x_), (y, y_) = (half.chunk(2) for half in embedded.split([len(real), len(fake)]))
        distances = self.transport(torch.stack([x, x, x_, x_, x, y]), torch.stack([y, y_, y, y_, x_, y_]))
        return distances[:4].sum() - 2 * distances[4:].sum()

    def step(self, data: Stream, update: Update) -> Metrics:
        for _ in range(self.n_generator):
            real, _ = next(data)
            generator = self.distance(real, self.sample(len(real)))
            update("generator", generator)
        real, _ = next(data)
        with torch.no_grad():
            fake = self.sample(len(real))
        critic = self.distance(real, fake)
        update("critic", -critic)
        return {"distance": critic, "generator": generator}


@dataclass(frozen=True)
class OTGANConfig(Config):
    """GAN whose critic compares batches by optimal transport."""

    latent: Width = 64
    """dimensions of z"""
    width: Width = 64
    """channels at the finest level; doubled at every coarser one"""
    embedding: Width = 256
    """numbers by which the critic describes an image"""
    n_generator: Steps = 3
    """generator steps per critic step"""
    blur: Positive = 0.02
    """entropy's weight in the transport; the smaller, the nearer to the exact plan"""
    iterations: Steps = 50
    """of Sinkhorn's algorithm"""
    lr: LearningRate = 1e-3
    """learning rate of both Adams"""

    training = TrainOptions(images=1_000_000, batch=128, half_life=50_000)

    def build(self, shape: tuple[int, int, int], classes: int) -> OTGAN:
        generator = Generator(shape, self.latent, self.width)
        critic = Encoder(shape, self.embedding, self.width, NORMS["layer"])
        return OTGAN(generator, critic, self.latent, self.n_generator, self.blur, self.iterations, self.lr)
