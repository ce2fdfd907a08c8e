"""GANs of token sequences, and the maximum-likelihood baseline. The tokens are the grey levels of an image, in raster
order; a sampled token has no gradient, for which there are three remedies here:

reinforce  SeqGAN: Yu et al. 2017, arXiv:1609.05473, eq. 4, 6-8 and Algorithm 1: the discriminator's probability is the
           reward, Monte Carlo rollouts estimate that of a prefix, and the policy gradient has a baseline
gumbel     Gumbel-softmax: Jang et al. 2017, arXiv:1611.01144, section 2, straight-through, with annealed temperature
soft       distributions in place of tokens, for the critic and as the next input, from a random initial state;
           WGAN-GP: Gulrajani et al. 2017, arXiv:1704.00028, section 5.4

Departures: the generator is a GRU; the discriminator has two convolutions, without a highway, and trains beside the
generator also while that is pre-trained; the baseline is the mean reward of the others in the batch, at every position
(SeqGAN names none). Scheduled sampling: Bengio et al. 2015, arXiv:1506.03099, with a linear schedule.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gumbel_softmax

from genlab.core.batch import with_min_batch
from genlab.core.ranges import Count, LearningRate, Positive, Range, Share, Steps, Weight, Width, checked
from genlab.data import Images
from genlab.likelihood.units import likelihood
from genlab.methods.gan.losses import OBJECTIVES, gradient_norms, gradient_penalty
from genlab.methods.gan.tokens import OfTokens
from genlab.nets.sequence import TokenDiscriminator, TokenGenerator
from genlab.training.method import BatchStream, Config, Metrics, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update

GAN = OBJECTIVES["nonsaturating"]
BETAS = (0.5, 0.9)  # of the Adams


@dataclass(frozen=True)
class SequenceGANConfig(Config):
    """GAN of token sequences (SeqGAN, Gumbel-softmax, soft tokens), or maximum likelihood alone."""

    objective: Literal["likelihood", "reinforce", "gumbel", "soft"] = "reinforce"
    """how the generator learns after pre-training; likelihood: without a discriminator"""
    levels: Annotated[int, Range(2, 256)] = 16
    """size of the vocabulary: grey levels of a pixel"""
    pretraining: Share = 0.5
    """share of training in which the generator learns by maximum likelihood"""
    self_sampling: Share = 0.0
    """scheduled sampling: share of the input tokens that the generator draws itself, at the end of training"""
    rollouts: Annotated[int, Range(0, 1000)] = 4
    """reinforce: completions of every prefix, whose mean reward is its value; 0: the reward of the whole sequence"""
    baseline: bool = True
    """reinforce: subtract the mean reward of the others in the batch"""
    temperature: Positive = 1.0
    """gumbel: temperature at the start of training"""
    temperature_end: Positive = 0.3
    """gumbel: temperature at the end; geometric in between"""
    n_discriminator: Steps = 2
    """discriminator steps per generator step"""
    penalty: Weight = 10.0
    """soft: weight of the critic's gradient penalty"""
    width: Width = 32
    """units of the generator's state"""
    width_discriminator: Width = 64
    """channels of the discriminator"""
    lr: LearningRate = 1e-3
    """learning rate of the generator's Adam"""
    lr_discriminator: LearningRate = 1e-3
    """learning rate of the discriminator's Adam"""

    training: ClassVar[TrainOptions] = TrainOptions(images=200_000, batch=64, clip=5.0)

    def build(self, shape: tuple[int, int, int], classes: int) -> SequenceGAN:
        discriminator = TokenDiscriminator(self.levels, prod(shape), self.width_discriminator)
        return SequenceGAN(
            TokenGenerator(self.levels, self.width),
            None if self.objective == "likelihood" else discriminator,
            shape,
            self,
        )


class SequenceGAN(OfTokens):
    """generator: tokens (N, T, V) -> logits (N, T, V), T = C H W;  discriminator: tokens, or distributions, (N, T, V)
    -> (N,), unbounded. shape: (C, H, W) of the images."""

    config: SequenceGANConfig

    def __init__(
        self,
        generator: TokenGenerator,
        discriminator: nn.Module | None,
        shape: tuple[int, int, int],
        config: SequenceGANConfig = SequenceGANConfig(),
    ):
        super().__init__(shape, config)
        self.generator, self.discriminator = generator, discriminator
        self.soft = config.objective == "soft"
        if config.objective == "reinforce" and config.baseline:
            with_min_batch(self, 2)  # the baseline is of the others

    def optimizers(self):
        rates = {"generator": self.config.lr, "discriminator": self.config.lr_discriminator}
        nets = {name: net for name, net in self.named_children() if name in rates}
        return {name: adam(net, lr=rates[name], betas=BETAS) for name, net in nets.items()}

    # --- draws

    def start(self, n: int) -> Tensor | None:
        """The initial state (n, width): random, if all else is deterministic."""
        return torch.randn(n, self.config.width, device=self.device) if self.soft else None

    def choose(self, logits: Tensor, t: int = 0) -> Tensor:
        """Logits (N, V) -> a sampled token, one-hot; without gradient."""
        return self.one_hot(torch.multinomial(logits.detach().float().softmax(1), 1)[:, 0])

    def draw(self, n: int, progress: float = 1.0) -> Tensor:
        """n sequences (n, T, V) as the discriminator gets them, with a gradient if the objective has one of its own."""
        first, last = self.config.temperature, self.config.temperature_end
        choices = {
            "gumbel": lambda logits, t: gumbel_softmax(logits, first * (last / first) ** progress, hard=True),
            "soft": lambda logits, t: logits.softmax(1),
        }
        choose = choices.get(self.config.objective, self.choose)
        return self.generator.complete(self.nothing(n), self.length, choose, self.start(n))

    def nothing(self, n: int) -> Tensor:
        """The empty prefix (n, 0, V)."""
        return torch.zeros(n, 0, self.config.levels, device=self.device)

    @checked
    @torch.no_grad()
    def sample(self, n: Count) -> Tensor:
        """n images (n, C, H, W) in [0, 1]."""
        return self.images(self.draw(n).argmax(2))

    # --- losses of the generator

    def log_prob(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) -> log P(tokens) (N,) in nats; with soft tokens, given a random initial state."""
        tokens = self.tokens(x)
        logits = self.generator(self.one_hot(tokens), self.start(len(x)))
        return -cross_entropy(logits.float().transpose(1, 2), tokens, reduction="none").sum(1)

    def likelihood_loss(self, tokens: Tensor, replaced: float = 0.0) -> Tensor:
        """-log P of each token, the mean; `replaced`: the share of the inputs that the generator draws itself."""
        inputs, h = self.one_hot(tokens), self.start(len(tokens))
        if replaced:
            own = torch.rand(tokens.shape, device=self.device) < replaced
            mixed = lambda logits, t: torch.where(own[:, t, None], self.choose(logits), inputs[:, t])
            with torch.no_grad():
                inputs = self.generator.complete(self.nothing(len(tokens)), self.length, mixed, h)
        return cross_entropy(self.generator(inputs, h).float().flatten(0, 1), tokens.flatten())

    def adversarial_loss(self, n: int, progress: float = 1.0) -> Tensor:
        """Of n draws."""
        assert self.discriminator is not None
        x = self.draw(n, progress)
        if self.config.objective == "reinforce":
            return self.policy_loss(x, self.values(x))
        scores = self.discriminator(x)
        return -scores.mean() if self.soft else GAN.generator(scores)

    @torch.no_grad()
    def values(self, x: Tensor) -> Tensor:
        """Sequences (N, T, V) -> (N, T): the expected reward of the sequence up to each token, eq. 4."""
        assert self.discriminator is not None
        reward, k = self.discriminator(x).float().sigmoid()[:, None], self.config.rollouts
        if not k:
            return reward.expand(-1, self.length)
        found = []
        for t in range(1, self.length):
            completed = self.generator.complete(x[:, :t].repeat(k, 1, 1), self.length, self.choose)
            found.append(self.discriminator(completed).float().sigmoid().view(k, -1).mean(0)[:, None])
        return torch.cat([*found, reward], 1)

    def policy_loss(self, x: Tensor, values: Tensor) -> Tensor:
        """Its gradient is the policy gradient of eq. 6, with opposite sign; values (N, T) less the baseline."""
        if self.config.baseline:
            values = values - (values.sum(0) - values) / (len(values) - 1)
        log_prob = (self.generator(x).float().log_softmax(2) * x).sum(2)
        return -(log_prob * values).sum(1).mean()

    # --- training

    def step(self, data: BatchStream, update: Update) -> Metrics:
        config, progress = self.config, update.progress
        pretraining = self.discriminator is None or progress < config.pretraining
        found: Metrics = {}
        for _ in range(1 if pretraining else config.n_discriminator):
            tokens = self.tokens(next(data)[0])
            if self.discriminator is not None:
                found["discriminator"] = self.discriminator_loss(self.one_hot(tokens), progress)
                update("discriminator", found["discriminator"])
        if pretraining:
            loss = self.likelihood_loss(tokens, config.self_sampling * progress)
        else:
            loss = self.adversarial_loss(len(tokens), progress)
        update("generator", loss)
        return {**found, "generator": loss}

    def discriminator_loss(self, real: Tensor, progress: float) -> Tensor:
        D = self.discriminator
        assert D is not None
        with torch.no_grad():
            fake = self.draw(len(real), progress)
        if not self.soft:
            return GAN.discriminator(D(real), D(fake))
        penalty = gradient_penalty(gradient_norms(D, real, fake))
        return D(fake).mean() - D(real).mean() + self.config.penalty * penalty

    def evaluate(self, data: Images) -> dict[str, float]:
        """nats: -log P(image) of `data`; with soft tokens there is none."""
        self.eval()
        return {} if self.soft else {"nats": likelihood(self.log_prob, data)["nats"]}
