"""StarGAN; Choi et al. 2018, arXiv:1711.09020, eq. 5, 6 and 8: one generator for all domains, conditioned on the label.

The stream's labels are the domains, as `domains:A,B,...` has them. Departures: the critic ends in one fully connected
layer, score and domain together, where the paper's ends in patches (of which small images leave few), and images are
compared in the paper's range [-1, 1], in which an absolute error is twice that in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, l1_loss, one_hot

from genlab.core.picture import Picture, Pictures
from genlab.core.ranges import Halvings, Layers, LearningRate, Steps, Weight, Width
from genlab.data import Images, batches
from genlab.methods.gan.gan import BETAS
from genlab.methods.gan.losses import gradient_norms, gradient_penalty
from genlab.nets.dcgan import Encoder
from genlab.nets.translator import Translator
from genlab.training.method import BatchStream, Config, Method, Metrics, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update


@dataclass(frozen=True)
class StarGANConfig(Config):
    """StarGAN: translation between any two of several domains by one generator."""

    classify: Weight = 1.0
    """weight of the classification of domains, lambda_cls of the paper"""
    reconstruct: Weight = 10.0
    """weight of cycle consistency, lambda_rec of the paper"""
    penalty: Weight = 10.0
    """weight of the gradient penalty"""
    n_critic: Steps = 5
    """critic steps per generator step"""
    width: Width = 64
    """channels of the generator at the finest level"""
    width_critic: Width = 64
    """channels of the critic at the finest level"""
    blocks: Layers = 6
    """residual blocks of the generator"""
    levels: Halvings = 2
    """downsamplings by 2 in the generator"""
    lr: LearningRate = 1e-4
    """learning rate of both Adams"""

    training: ClassVar[TrainOptions] = TrainOptions(images=1_000_000, batch=16, schedule="linear")

    def build(self, shape: tuple[int, int, int], classes: int) -> StarGAN:
        if classes < 2:
            raise ValueError(f"StarGAN needs at least 2 domains, as in --data domains:A,B, got {classes}")
        return StarGAN(
            Translator(shape, self.width, self.blocks, self.levels, conditions=classes),
            Encoder(shape, 1 + classes, self.width_critic, nn.Identity),
            classes,
            self,
        )


class StarGAN(Method):
    """generator: x (N, C, H, W) in [0, 1], one-hot domain (N, domains) -> the same shape and range;
    critic: x -> (N, 1 + domains): a score, unbounded, and the logits of its domain; each x by itself."""

    config: StarGANConfig

    def __init__(self, generator: nn.Module, critic: nn.Module, domains: int, config: StarGANConfig = StarGANConfig()):
        super().__init__(config)
        self.generator, self.critic, self.domains = generator, critic, domains

    def optimizers(self):
        nets = {"generator": self.generator, "critic": self.critic}
        return {name: adam(net, lr=self.config.lr, betas=BETAS) for name, net in nets.items()}

    def translate(self, x: Tensor, to: int | Tensor = 1) -> Tensor:
        """Images (N, C, H, W) of any domains -> the same in the domain number `to`, or each in its own of `to` (N,)."""
        to = torch.as_tensor(to, device=x.device).expand(len(x))
        if len(to) and not 0 <= int(to.min()) <= int(to.max()) < self.domains:
            raise ValueError(f"there are domains 0 to {self.domains - 1}, got {int(to.min())} to {int(to.max())}")
        return self.draw(x, to)

    def draw(self, x: Tensor, to: Tensor) -> Tensor:
        """Images and domains (N,) -> each image in its domain."""
        return self.generator(x, one_hot(to, self.domains))

    def judge(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images -> scores (N,) and logits (N, domains)."""
        found = self.critic(x).float()
        return found[:, 0], found[:, 1:]

    def step(self, data: BatchStream, update: Update) -> Metrics:
        classify, reconstruct, penalty = self.config.classify, self.config.reconstruct, self.config.penalty
        for _ in range(self.config.n_critic):
            x, domain = next(data)
            with torch.no_grad():
                fake = self.draw(x, torch.randint_like(domain, self.domains))
            (real_score, logits), (fake_score, _) = self.judge(x), self.judge(fake)
            distance = real_score.mean() - fake_score.mean()
            gradient = gradient_penalty(gradient_norms(lambda x: self.judge(x)[0], x, fake))
            classify_real = cross_entropy(logits, domain)
            update("critic", penalty * gradient - distance + classify * classify_real)
        target = torch.randint_like(domain, self.domains)
        fake = self.draw(x, target)
        score, logits = self.judge(fake)
        classify_fake = cross_entropy(logits, target)
        cycle = 2 * l1_loss(self.draw(fake, domain), x)
        update("generator", classify * classify_fake + reconstruct * cycle - score.mean())
        return {
            "distance": distance,
            "penalty": gradient,
            "classify_real": classify_real,
            "classify_fake": classify_fake,
            "cycle": cycle,
        }

    @torch.no_grad()
    def evaluate(self, data: Images) -> dict[str, float]:
        """accuracy_real: of the critic's classification of `data` by domain; accuracy_fake: of its classification of
        their translations, to every domain in turn."""
        self.eval()
        right = {"accuracy_real": 0, "accuracy_fake": 0}
        for start, (x, y) in enumerate(batches(data, 256)):
            to = (torch.arange(len(x), device=x.device) + start) % self.domains
            right["accuracy_real"] += int((self.judge(x)[1].argmax(1) == y).sum())
            right["accuracy_fake"] += int((self.judge(self.translate(x, to))[1].argmax(1) == to).sum())
        return {name: count / len(data) for name, count in right.items()}

    @torch.no_grad()
    def pictures(self, data: Images) -> Pictures:
        """A row per original, from all over `data`: itself, then its translation to every domain."""
        self.eval()
        x = data.subset(torch.linspace(0, len(data) - 1, self.domains + 1, dtype=torch.int64)).x
        to = torch.arange(self.domains, device=x.device)
        rows = [torch.cat([one[None], self.translate(one.expand(self.domains, -1, -1, -1), to)]) for one in x]
        return {"translations": Picture(torch.cat(rows), self.domains + 1, heads=["input", *data.classes])}
