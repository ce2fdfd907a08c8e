"""CycleGAN of token sequences: translation between two styles without pairs. Cycle consistency of Zhu et al. 2017,
arXiv:1703.10593, eq. 3, on words that are drawn by straight-through Gumbel-softmax (Jang et al. 2017, arXiv:1611.01144,
section 2), so that the discriminators see words only, and the translators get a gradient all the same.

The tokens are the grey levels of an image, in raster order. Departures from CycleGAN: cross-entropy of the words in
place of the L1 distance, the non-saturating loss, and no pool of past translations. `cycle=0` leaves the adversarial
losses, which do not relate an output to its input.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gumbel_softmax

from genlab.core.ranges import LearningRate, Positive, Range, Weight, Width
from genlab.methods.gan.losses import OBJECTIVES
from genlab.methods.gan.tokens import OfTokens
from genlab.nets.sequence import TokenDiscriminator, TokenTranslator
from genlab.training.method import BatchStream, Config, Metrics, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update

GAN = OBJECTIVES["nonsaturating"]
BETAS = (0.5, 0.9)  # of the Adams


@dataclass(frozen=True)
class SequenceCycleConfig(Config):
    """CycleGAN of token sequences: translation between two styles without pairs."""

    levels: Annotated[int, Range(2, 256)] = 16
    """size of the vocabulary: grey levels of a pixel"""
    cycle: Weight = 1.0
    """weight of cycle consistency, in nats per token; 0: adversarial losses alone"""
    identity: Weight = 0.0
    """weight of the identity loss, for sequences already in the target style, in nats per token"""
    temperature: Positive = 1.0
    """temperature of the Gumbel-softmax"""
    width: Width = 64
    """channels of the translators"""
    width_discriminator: Width = 64
    """channels of the discriminators"""
    lr: LearningRate = 1e-3
    """learning rate of both Adams"""

    training: ClassVar[TrainOptions] = TrainOptions(images=200_000, batch=64, schedule="linear", clip=5.0)
    takes: ClassVar[tuple[str, ...]] = ("two sets",)

    def build(self, shape: tuple[int, int, int], classes: int) -> SequenceCycle:
        G, F = (TokenTranslator(self.levels, self.width) for _ in range(2))
        D_X, D_Y = (TokenDiscriminator(self.levels, prod(shape), self.width_discriminator) for _ in range(2))
        return SequenceCycle(G, F, D_X, D_Y, shape, self)


class SequenceCycle(OfTokens):
    """G, F: tokens (N, T, V), one-hot -> logits (N, T, V), T = C H W;  D_X, D_Y: tokens (N, T, V) -> (N,), a logit.

    shape: (C, H, W) of the images."""

    config: SequenceCycleConfig

    def __init__(
        self,
        G: nn.Module,
        F: nn.Module,
        D_X: nn.Module,
        D_Y: nn.Module,
        shape: tuple[int, int, int],
        config: SequenceCycleConfig = SequenceCycleConfig(),
    ):
        super().__init__(shape, config)
        self.G, self.F, self.D_X, self.D_Y = G, F, D_X, D_Y

    def optimizers(self):
        lr = self.config.lr
        return {
            "translators": adam(self.G, self.F, lr=lr, betas=BETAS),
            "discriminators": adam(self.D_X, self.D_Y, lr=lr, betas=BETAS),
        }

    @torch.no_grad()
    def translate(self, x: Tensor, to: int = 1) -> Tensor:
        """Images (N, C, H, W) of one style -> the same in the other, by the likeliest words: the second (1), or back
        in the first (0)."""
        if to not in (0, 1):
            raise ValueError(f"there are two domains to translate to, 0 and 1, got {to}")
        return self.images((self.G if to else self.F)(self.one_hot(self.tokens(x))).argmax(2))

    def drawn(self, logits: Tensor) -> Tensor:
        """Logits (N, T, V) -> words drawn from them, one-hot, with the gradient of the Gumbel-softmax."""
        return gumbel_softmax(logits.float(), self.config.temperature, hard=True)

    def step(self, data: BatchStream, update: Update) -> Metrics:
        G, F, D_X, D_Y, config = self.G, self.F, self.D_X, self.D_Y, self.config
        words_x, words_y = (self.tokens(side) for side in next(data))
        x, y = self.one_hot(words_x), self.one_hot(words_y)
        fake_y, fake_x = self.drawn(G(x)), self.drawn(F(y))
        judged = GAN.discriminator(D_Y(y), D_Y(fake_y.detach())) + GAN.discriminator(D_X(x), D_X(fake_x.detach()))
        update("discriminators", judged)
        found = {"adversarial": GAN.generator(D_Y(fake_y)) + GAN.generator(D_X(fake_x))}
        loss = found["adversarial"]
        if config.cycle:
            found["cycle"] = nats(F(fake_y), words_x) + nats(G(fake_x), words_y)
            loss = loss + config.cycle * found["cycle"]
        if config.identity:
            found["identity"] = nats(F(x), words_x) + nats(G(y), words_y)
            loss = loss + config.identity * found["identity"]
        update("translators", loss)
        return {"discriminators": judged, **found}


def nats(logits: Tensor, tokens: Tensor) -> Tensor:
    """Mean of -log P(token) for logits (N, T, V) and tokens (N, T)."""
    return cross_entropy(logits.float().flatten(0, 1), tokens.flatten())
