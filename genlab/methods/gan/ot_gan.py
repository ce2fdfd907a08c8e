"""OT-GAN; Salimans, Zhang, Radford, Metaxas 2018, arXiv:1803.05573, Algorithm 1: the loss is the optimal transport
distance between batches in the critic's embedding, so a batch of similar fakes is penalised.

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
from genlab.methods.gan.adversarial import NORMS, Adversarial, GeneratorConfig
from genlab.methods.gan.gan import BETAS
from genlab.metrics.transport import sinkhorn
from genlab.nets.dcgan import Encoder, Generator
from genlab.training.method import BatchStream, Metrics, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update


@dataclass(frozen=True)
class OTGANConfig(GeneratorConfig):
    """GAN whose critic compares batches by optimal transport."""

    width: Width = 64
    """channels at the finest level; doubled at every coarser one"""
    embedding: Width = 256
    """dimensions of the critic's embedding"""
    n_generator: Steps = 3
    """generator steps per critic step"""
    blur: Positive = 0.02
    """entropic regularisation of the transport plan; the smaller, the closer to the exact plan"""
    iterations: Steps = 50
    """iterations of Sinkhorn's algorithm"""
    lr: LearningRate = 1e-3
    """learning rate of both Adams"""

    training = TrainOptions(images=1_000_000, batch=128, half_life=50_000)

    def build(self, shape: tuple[int, int, int], classes: int) -> OTGAN:
        generator = Generator(shape, self.latent, self.width)
        return OTGAN(generator, Encoder(shape, self.embedding, self.width, NORMS["layer"]), self)


class OTGAN(Adversarial):
    """generator: z (N, latent) -> x (N, C, H, W) in [0, 1];  critic: x -> embedding (N, d).

    The cost of transport between two images is one minus the cosine of their embeddings.
    """

    config: OTGANConfig
    batch_sizes = at_least(2, multiple=2)  # two independent batches each

    def __init__(self, generator: nn.Module, critic: nn.Module, config: OTGANConfig = OTGANConfig()):
        super().__init__(generator, config)
        self.critic = critic

    def optimizers(self):
        nets = {"generator": self.generator, "critic": self.critic}
        return {name: adam(net, lr=self.config.lr, betas=BETAS) for name, net in nets.items()}

    def transport(self, x: Tensor, y: Tensor) -> Tensor:
        """W (B,) between sets of embeddings of length 1, (B, N, d) and (B, M, d); the plan is a constant (eq. 4)."""
        cost = 1 - x @ y.mT
        plan = sinkhorn(cost.detach(), self.config.blur, self.config.iterations)
        return (plan * cost).sum((1, 2))

    def distance(self, real: Tensor, fake: Tensor) -> Tensor:
        """The minibatch energy distance (eq. 7); real and fake (2 N, C, H, W) are two independent batches each."""
        embedded = normalize(self.critic(torch.cat([real, fake])).float(), dim=1)
        (x, x_), (y, y_) = (half.chunk(2) for half in embedded.split([len(real), len(fake)]))
        distances = self.transport(torch.stack([x, x, x_, x_, x, y]), torch.stack([y, y_, y, y_, x_, y_]))
        return distances[:4].sum() - 2 * distances[4:].sum()

    def step(self, data: BatchStream, update: Update) -> Metrics:
        for _ in range(self.config.n_generator):
            real, _ = next(data)
            generator = self.distance(real, self.sample(len(real)))
            update("generator", generator)
        real, _ = next(data)
        with torch.no_grad():
            fake = self.sample(len(real))
        critic = self.distance(real, fake)
        update("critic", -critic)
        return {"distance": critic, "generator": generator}
