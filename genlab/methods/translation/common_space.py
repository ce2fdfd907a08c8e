"""Two domains without pairs, an auto-encoder each, and the losses and shared layers that may align their latent spaces.

Independent: a VAE-GAN per domain (Larsen et al. 2016, arXiv:1512.09300). Tied: the last layers of the encoders and the
first of the decoders are shared, as in UNIT (Liu et al. 2017, arXiv:1703.00848), with its adversarial losses and its
cycle consistency (eq. 3-5; the cycle is also what ComboGAN is trained by: Anoosheh et al. 2018, arXiv:1712.06909). The
domain-adversarial loss of the codes and their semantic consistency are those of XGAN (Royer et al. 2017,
arXiv:1711.05139, section 3). Each term has its weight.

Departures: the deviation of z given x is fixed, as in UNIT, but at 0.3 in place of 1, which hides the code early in
training; tied domains start from equal weights, else the correspondence that emerges is arbitrary, and a thick digit
may become a thin one; cycle consistency compares images alone, without a second KL term; critic and encoders have two
losses in place of one reversed gradient.
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

from genlab.core.picture import MOST, Pictures, in_rows
from genlab.core.ranges import Halvings, LearningRate, Weight, Width
from genlab.data import Pair, batches
from genlab.data.pairs import sides
from genlab.methods.gan.gan import BETAS
from genlab.methods.gan.losses import OBJECTIVES
from genlab.metrics.translation import cycle_errors
from genlab.nets.patch import PatchDiscriminator, deepest
from genlab.nets.shared_latent import CodeDecoder, CodeDiscriminator, CodeEncoder, DomainDecoder, DomainEncoder
from genlab.training.method import BatchStream, Config, Method, Metrics, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update

ADVERSARIAL = OBJECTIVES["lsgan"]
NOISE = 0.3  # standard deviation of z given x


@dataclass(frozen=True)
class CommonSpaceConfig(Config):
    """Unpaired translation through a shared latent space: two auto-encoders, and losses that align their codes; terms
    of weight 0 are left out."""

    reconstruction: Weight = 10.0
    """weight of the reconstruction error |x - x'| within each domain"""
    kl: Weight = 0.01
    """weight of the KL divergence of z from N(0, 1), the rate: half the squared code, since its deviation is fixed"""
    adversarial: Weight = 1.0
    """weight of the adversarial loss of reconstructions"""
    adversarial_translation: Weight = 0.0
    """weight of the adversarial loss of translations"""
    cycle: Weight = 0.0
    """weight of cycle consistency, |x - x translated to the other domain and back|"""
    semantic: Weight = 0.0
    """weight of semantic consistency, |code of x - code of its translation|"""
    domain_adversarial: Weight = 0.0
    """weight of the encoders' adversarial loss against a critic that predicts the domain of a code"""
    tied: bool = False
    """share the last layers of the encoders and the first of the decoders"""
    alike: bool = False
    """both domains start from equal weights, as tied ones always do"""
    latent: Width = 16
    """channels of a code"""
    width: Width = 32
    """channels at the finest level, doubled at every coarser one"""
    levels: Halvings = 2
    """downsamplings by 2 from an image to its code"""
    lr: LearningRate = 2e-4
    """learning rate of all Adams"""

    training: ClassVar[TrainOptions] = TrainOptions(images=400_000, batch=16, half_life=5_000)
    takes: ClassVar[tuple[str, ...]] = ("two sets",)

    def build(self, shape: tuple[int, int, int], classes: int) -> CommonSpace:
        width, levels, channels = self.width, self.levels, self.width * 2**self.levels
        encoders = [
            nn.Sequential(DomainEncoder(shape, width, levels), CodeEncoder(channels, self.latent)) for _ in range(2)
        ]
        decoders = [
            nn.Sequential(CodeDecoder(channels, self.latent), DomainDecoder(shape, width, levels)) for _ in range(2)
        ]
        if self.tied or self.alike:
            encoders[1], decoders[1] = copy.deepcopy(encoders[0]), copy.deepcopy(decoders[0])
        if self.tied:
            encoders[1][1], decoders[1][0] = encoders[0][1], decoders[0][0]
        discriminators = [PatchDiscriminator(shape, width, deepest(shape)) for _ in range(2)]
        return CommonSpace(
            nn.ModuleList(encoders),
            nn.ModuleList(decoders),
            nn.ModuleList(discriminators) if self.adversarial or self.adversarial_translation else None,
            CodeDiscriminator(self.latent, channels) if self.domain_adversarial else None,
            self,
        )


class CommonSpace(Method):
    """Two domains, 0 and 1. encoders: x (N, C, H, W) in [0, 1] -> code (N, latent, h, w), the mean of z;
    decoders: z -> x in [0, 1];  discriminators: x -> (N, 1, h, w), unbounded, if an adversarial loss has a weight;
    critic: z -> (N,), unbounded, higher in domain 1, if `domain_adversarial` has one."""

    config: CommonSpaceConfig

    def __init__(
        self,
        encoders: nn.ModuleList,
        decoders: nn.ModuleList,
        discriminators: nn.ModuleList | None,
        critic: nn.Module | None,
        config: CommonSpaceConfig = CommonSpaceConfig(),
    ):
        super().__init__(config)
        self.encoders, self.decoders, self.discriminators, self.critic = encoders, decoders, discriminators, critic

    def optimizers(self):
        coders = nn.ModuleList([self.encoders, self.decoders])
        nets = {"coders": coders, "discriminators": self.discriminators, "critic": self.critic}
        return {name: adam(net, lr=self.config.lr, betas=BETAS) for name, net in nets.items() if net}

    def recode(self, x: Tensor, source: int, to: int) -> Tensor:
        """x of domain `source` -> its code decoded in domain `to`; same shape, in [0, 1]."""
        return self.decoders[to](self.encoders[source](x))

    def translate(self, x: Tensor, to: int = 1) -> Tensor:
        """x of the other domain -> its translation to domain `to`, 0 or 1."""
        if to not in (0, 1):
            raise ValueError(f"there are two domains to translate to, 0 and 1, got {to}")
        return self.recode(x, 1 - to, to)

    def step(self, data: BatchStream, update: Update) -> Metrics:
        x, w = sides(data), self.config
        codes = [encode(image) for encode, image in zip(self.encoders, x)]
        z = [noisy(code) for code in codes]
        reconstructed = [decode(code) for decode, code in zip(self.decoders, z)]
        terms = {
            "reconstruction": total(map(l1_loss, reconstructed, x)),
            "kl": total(code.square().mean() / 2 for code in codes),
        }
        translated: list[Tensor] = []  # translated[i] shows x[i] in the other domain
        if w.adversarial_translation or w.cycle or w.semantic:
            translated = [decode(code) for decode, code in zip(self.decoders[::-1], z)]
        if w.cycle or w.semantic:
            again = [encode(image) for encode, image in zip(self.encoders[::-1], translated)]
        if w.cycle:
            back = [decode(noisy(code)) for decode, code in zip(self.decoders, again)]
            terms["cycle"] = total(map(l1_loss, back, x))
        if w.semantic:
            terms["semantic"] = total(map(l1_loss, again, codes))

        found = {}
        if self.critic:
            found["critic"] = ADVERSARIAL.discriminator(*(self.critic(code.detach()) for code in reversed(z)))
            update("critic", found["critic"])
            terms["domain_adversarial"] = ADVERSARIAL.discriminator(*(self.critic(code) for code in z))
        loss = total(getattr(w, name) * value for name, value in terms.items())
        if self.discriminators:
            fakes = ((w.adversarial, reconstructed), (w.adversarial_translation, translated[::-1]))
            shown = [(k, *each) for k, fake in fakes if k for each in zip(self.discriminators, x, fake, strict=True)]
            found["discriminators"] = total(
                k * ADVERSARIAL.discriminator(D(real), D(fake.detach())) for k, D, real, fake in shown
            )
            update("discriminators", found["discriminators"])
            found["adversarial"] = total(k * ADVERSARIAL.generator(D(fake)) for k, D, _, fake in shown)
            loss = loss + found["adversarial"]
        update("coders", loss)
        return {**terms, **found}

    @torch.no_grad()
    def evaluate(self, data: Pair) -> dict[str, float]:
        """Of both directions: reconstruction error (mean |x - its reconstruction|), cycle error and, of aligned data,
        errors against the true partner."""
        self.eval()
        found: dict[str, float] = {}
        for to, way, pair in ((1, "to_second", data), (0, "to_first", data.swapped())):
            there, back = partial(self.translate, to=to), partial(self.translate, to=1 - to)
            errors = [(self.recode(x, 1 - to, 1 - to) - x).abs().flatten(1).mean(1) for x, _ in batches(pair.a, 250)]
            figures = {"reconstruction error": float(torch.cat(errors).mean()), **cycle_errors(there, back, pair)}
            found |= {f"{way} {name}": value for name, value in figures.items()}
        return found

    @torch.no_grad()
    def pictures(self, data: Pair) -> Pictures:
        """Rows: originals, reconstructions, translations and, of aligned data, the partners."""
        self.eval()
        found: Pictures = {}
        for to, way, pair in ((1, "to_second", data), (0, "to_first", data.swapped())):
            x, y = (next(batches(side, MOST))[0] for side in (pair.a, pair.b))
            rows = {"original": x, "reconstructed": self.recode(x, 1 - to, 1 - to), "translated": self.translate(x, to)}
            found[way] = in_rows(rows | ({"true partner": y} if pair.aligned else {}))
        return found


def total(losses: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(losses)).sum()


def noisy(code: Tensor) -> Tensor:
    """z, drawn from N(code, NOISE^2)."""
    return code + NOISE * torch.randn_like(code)
