"""Two domains without pairs, an auto-encoder each, and what may make their codes one space.

Independent: a VAE-GAN per domain (Larsen et al. 2016, arXiv:1512.09300). Tied: the last layers of the encoders and the
first of the decoders are common, as in UNIT (Liu et al. 2017, arXiv:1703.00848), with its games and its cycle through
the other domain (eq. 3-5; the cycle also holds ComboGAN together: Anoosheh et al. 2018, arXiv:1712.06909). A
discriminator of the codes that must not tell the domains apart, and codes that translation must keep, are those of XGAN
(Royer et al. 2017, arXiv:1711.05139, section 3). Each part has its weight.

Departures: the deviation of z is fixed, as in UNIT, but at 0.3 in place of 1, in which a young code drowns; tied
domains start from equal weights, else it is left to chance which correspondence emerges, and a thick digit may become a
thin one; the cycle compares pictures alone, without a second rate; the critic of codes and the encoders play two losses
in place of one reversed gradient.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from genlab.core.ranges import LearningRate, Weight, Width, check
from genlab.data import Pair, batches
from genlab.data.pairs import sides
from genlab.methods.gan.losses import OBJECTIVES
from genlab.metrics.translation import likeness
from genlab.nets.common import Closing, CodeDiscriminator, Lower, Opening, Upper
from genlab.nets.patch import PatchDiscriminator, deepest
from genlab.training.method import Config, Method, Metrics, Stream, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update

GAME = OBJECTIVES["lsgan"]
NOISE = 0.3  # standard deviation of z given x


@dataclass(frozen=True)
class Weights:
    """The parts of the loss; those of weight 0 are left out."""

    fidelity: Weight = 10.0
    """weight of |x - the picture of its code|"""
    rate: Weight = 0.01
    """weight of the squared code"""
    own: Weight = 1.0
    """weight of the game over pictures of a domain's own codes"""
    other: Weight = 0.0
    """weight of the game over pictures of the other domain's codes: translations"""
    cycle: Weight = 0.0
    """weight of |x - its translation, translated back|"""
    semantic: Weight = 0.0
    """weight of |code of x - code of its translation|"""
    confusion: Weight = 0.0
    """weight of the encoders' game against a critic that tells the domain of a code"""

    def __post_init__(self) -> None:
        check(self)


class CommonSpace(Method):
    """Two domains, 0 and 1. encoders: x (N, C, H, W) in [0, 1] -> code (N, latent, H/4, W/4), the mean of z;
    decoders: z -> x in [0, 1];  discriminators: x -> (N, 1, h, w), unbounded, if `own` or `other` has a weight;
    critic: z -> (N,), unbounded, higher in domain 1, if `confusion` has one."""

    def __init__(
        self,
        encoders: nn.ModuleList,
        decoders: nn.ModuleList,
        discriminators: nn.ModuleList | None = None,
        critic: nn.Module | None = None,
        weights: Weights = Weights(),
        lr: float = 2e-4,
    ):
        super().__init__()
        self.encoders, self.decoders, self.discriminators, self.critic = encoders, decoders, discriminators, critic
        self.weights, self.lr = weights, lr

    def optimizers(self):
        coders = nn.ModuleList([self.encoders, self.decoders])
        nets = {"coders": coders, "discriminators": self.discriminators, "critic": self.critic}
        return {name: adam(net, lr=self.lr, betas=(0.5, 0.999)) for name, net in nets.items() if net}

    def recode(self, x: Tensor, source: int, to: int) -> Tensor:
        """x of domain `source` -> the picture of its code in domain `to`; same shape, in [0, 1]."""
        return self.decoders[to](self.encoders[source](x))

    def translate(self, x: Tensor, to: int = 1) -> Tensor:
        """x of the other domain -> its picture in domain `to`, 0 or 1."""
        if to not in (0, 1):
            raise ValueError(f"there are two domains to translate to, 0 and 1, got {to}")
        return self.recode(x, 1 - to, to)

    def step(self, data: Stream, update: Update) -> Metrics:
        x, w = sides(data), self.weights
        codes = [encode(image) for encode, image in zip(self.encoders, x)]
        z = [noisy(code) for code in codes]
        own = [decode(code) for decode, code in zip(self.decoders, z)]
        part = {"fidelity": total(map(l1_loss, own, x)), "rate": total(code.square().mean() / 2 for code in codes)}

        other: list[Tensor] = []  # other[i] shows x[i] in the other domain
        if w.other or w.cycle or w.semantic:
            other = [decode(code) for decode, code in zip(self.decoders[::-1], z)]
        if w.cycle or w.semantic:
            again = [encode(image) for encode, image in zip(self.encoders[::-1], other)]
        if w.cycle:
            back = [decode(noisy(code)) for decode, code in zip(self.decoders, again)]
            part["cycle"] = total(map(l1_loss, back, x))
        if w.semantic:
            part["semantic"] = total(map(l1_loss, again, codes))

        found = {}
        if self.critic:
            found["critic"] = GAME.discriminator(*(self.critic(code.detach()) for code in reversed(z)))
            update("critic", found["critic"])
            part["confusion"] = GAME.discriminator(*(self.critic(code) for code in z))
        if self.discriminators:
            shown = [(k, drawn) for k, drawn in ((w.own, own), (w.other, other[::-1])) if k]
            judged = [(k, *one) for k, drawn in shown for one in zip(self.discriminators, x, drawn)]
            found["discriminators"] = total(k * GAME.discriminator(d(a), d(b.detach())) for k, d, a, b in judged)
            update("discriminators", found["discriminators"])
            found["game"] = total(k * GAME.generator(d(b)) for k, d, _, b in judged)
        loss = total(getattr(w, name) * value for name, value in part.items())
        update("coders", loss + found["game"] if self.discriminators else loss)
        return {**part, **found}

    @torch.no_grad()
    def evaluate(self, data: Pair) -> dict[str, float]:
        """Of both directions: own error (mean |x - picture of its code in its own domain|), cycle error and, of aligned
        data, likeness to the true partner."""
        self.eval()
        found: dict[str, float] = {}
        for to, way, pair in ((1, "to_second", data), (0, "to_first", data.swapped())):
            maps = [partial(self.recode, source=i, to=j) for i, j in ((1 - to, 1 - to), (1 - to, to), (to, 1 - to))]
            own = [(maps[0](x) - x).abs().flatten(1).mean(1) for x, _ in batches(pair.a, 250)]
            figures = {"own error": float(torch.cat(own).mean()), **likeness(maps[1], maps[2], pair)}
            found |= {f"{way} {name}": value for name, value in figures.items()}
        return found

    @torch.no_grad()
    def pictures(self, data: Pair) -> dict[str, Tensor]:
        """Each original, its code's picture in its own domain and in the other and, of aligned data, the partner."""
        self.eval()
        found = {}
        for to, way, pair in ((1, "to_second", data), (0, "to_first", data.swapped())):
            x, y = (next(batches(side, 16))[0] for side in (pair.a, pair.b))
            shown = [x, self.recode(x, 1 - to, 1 - to), self.translate(x, to), *([y] if pair.aligned else [])]
            found[way] = torch.stack(shown, 1).flatten(0, 1)
        return found


def total(losses: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(losses)).sum()


def noisy(code: Tensor) -> Tensor:
    """z, drawn from N(code, NOISE^2)."""
    return code + NOISE * torch.randn_like(code)


@dataclass(frozen=True)
class CommonSpaceConfig(Config, Weights):
    """Two auto-encoders for two domains without pairs, and what makes their codes correspond."""

    tied: bool = False
    """the last layers of the encoders and the first of the decoders are common"""
    alike: bool = False
    """both domains start from equal weights, as tied ones always do"""
    latent: Width = 16
    """channels of a code"""
    width: Width = 32
    """channels at the finest level, doubled at the two coarser ones"""
    lr: LearningRate = 2e-4
    """learning rate of all Adams"""

    training: ClassVar[TrainOptions] = TrainOptions(images=400_000, batch=16, half_life=5_000)

    def build(self, shape: tuple[int, int, int], classes: int) -> CommonSpace:
        encoders = [nn.Sequential(Lower(shape, self.width), Upper(self.width, self.latent)) for _ in range(2)]
        decoders = [nn.Sequential(Opening(self.width, self.latent), Closing(shape, self.width)) for _ in range(2)]
        if self.tied or self.alike:
            encoders[1], decoders[1] = copy.deepcopy(encoders[0]), copy.deepcopy(decoders[0])
        if self.tied:
            encoders[1][1], decoders[1][0] = encoders[0][1], decoders[0][0]
        judges = [PatchDiscriminator(shape, self.width, deepest(shape)) for _ in range(2)]
        return CommonSpace(
            nn.ModuleList(encoders),
            nn.ModuleList(decoders),
            nn.ModuleList(judges) if self.own or self.other else None,
            CodeDiscriminator(self.latent, self.width) if self.confusion else None,
            self,
            self.lr,
        )
