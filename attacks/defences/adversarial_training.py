"""Adversarial training: the network is trained on adversarial examples of itself.

AdversarialTraining: Madry et al. 2018, arXiv:1706.06083, eq. 2.1; with FGSM, Goodfellow et al. 2015, arXiv:1412.6572;
with FGSM from a random point ("fast"), Wong, Rice, Kolter 2020, arXiv:2001.03994, Algorithm 3; with attacks on other,
pre-trained networks ("ensemble"), Tramer et al. 2018, arXiv:1705.07204. Free: Shafahi et al. 2019, arXiv:1904.12843,
Algorithm 1. Trades: Zhang et al. 2019, arXiv:1901.08573, Algorithm 1.

Departures. The network is in eval mode during the attack. Free starts every batch from a random point, not from the
perturbation of the last batch, which belongs to other images. `eps_warmup` raises eps from 0; without it small networks
may keep predicting one class if eps is large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from attacks.core.ball import L2, Ball, Linf
from attacks.core.model import Attack, Model, victim
from attacks.pgd import FGSM, PGD
from genlab.core.modes import evaluating
from genlab.core.ranges import Range, Share, Steps, Weight, Width
from genlab.data import Images, batches
from genlab.metrics.accuracy import accuracy
from genlab.nets.build import NetName, NetOptions
from genlab.training.method import BatchStream, Config, Method, Metrics, TrainOptions
from genlab.training.optim import RATES, OptimizerOptions
from genlab.training.update import Update

MEASURED = 500  # number of held-out images for `robust_accuracy`


def warmed_up(progress: float, warmup: float) -> float:
    """Linear warm-up factor in [0, 1] at `progress` in [0, 1]: from 0 to 1 over the first `warmup` of training."""
    return min(1.0, progress / warmup) if warmup else 1.0


@dataclass(frozen=True, kw_only=True)
class RobustTrainingConfig(NetOptions, OptimizerOptions, Config):
    """The network of a classifier, and its optimizer."""

    net: NetName = "cnn"
    """architecture: cnn, resnet, mlp, shallow, vgg, lenet-300-100, lenet-5, or your own as file.py:function"""
    width: Width | None = None
    """channels of the first level, or hidden units; None: the default of the architecture"""

    rates = RATES | {"adam": 2e-3, "adamw": 2e-3}


class RobustTraining(Method):
    """net: x (N, C, H, W) in [0, 1] -> logits (N, classes); calling the method calls the net."""

    config: RobustTrainingConfig

    def __init__(self, net: nn.Module, config: RobustTrainingConfig = RobustTrainingConfig()):
        super().__init__(config)
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def optimizers(self):
        return {"net": self.config.make_optimizer(self.net)}

    def evaluate(self, data: Images) -> dict[str, float]:
        """accuracy: the fraction of `data` classified correctly, in eval mode."""
        with evaluating(self):
            return {"accuracy": accuracy(self, data)}


@dataclass(frozen=True)
class FastFGSM(FGSM):
    """One step of 1.25 eps from a random point of the ball."""

    random_start: bool = True
    reach: ClassVar[float] = 1.25


@dataclass(frozen=True)
class AdversarialTrainingConfig(RobustTrainingConfig):
    """Classifier trained on adversarial examples."""

    scheme: Literal["pgd", "fgsm", "fast", "free", "trades"] = "pgd"
    """training scheme: PGD (Madry et al.), FGSM, FGSM from a random point (fast), free, TRADES"""
    eps: Annotated[float, Range(0, 1e6)] = 0.1
    """radius of the ball, in pixels of [0, 1]"""
    norm: Literal["linf", "l2"] = "linf"
    """norm of the ball"""
    steps: Steps = 7
    """attack steps; pgd and trades"""
    replays: Steps = 4
    """free: number of updates per batch (m in the paper)"""
    beta: Weight = 6.0
    """trades: weight of the KL divergence (1 / lambda in the paper)"""
    eps_warmup: Share = 0.0
    """share of training over which eps rises from 0"""
    others: tuple[Path, ...] = ()
    """pre-trained classifiers that are attacked as well (ensemble training), run directories or file.py:function; for
    pgd, fgsm and fast"""

    code_fields: ClassVar[tuple[str, ...]] = ("net", "others")
    training: ClassVar[TrainOptions] = TrainOptions(images=300_000, batch=64, schedule="cosine", warmup=0.05)

    def check_relations(self) -> None:
        self.ball()  # raises for a radius out of range
        if self.others and self.scheme in ("free", "trades"):
            raise ValueError(f"others needs scheme pgd, fgsm or fast, got {self.scheme!r}.")

    def ball(self) -> Ball:
        return {"linf": Linf, "l2": L2}[self.norm](self.eps)

    def attack(self) -> PGD:
        ball = self.ball()
        return {"fgsm": FGSM(ball), "fast": FastFGSM(ball)}.get(self.scheme, PGD(ball, self.steps, keep_best=False))

    def build(self, shape: tuple[int, int, int], classes: int) -> AdversarialTraining:
        net = self.make_net(shape, classes)
        if self.scheme == "free":
            return Free(net, self)
        if self.scheme == "trades":
            return Trades(net, self)
        from genlab.loading import load_classifier

        others = [load_classifier("others", run, shape, classes) for run in self.others]
        return AdversarialTraining(net, self, others=others)


class AdversarialTraining(RobustTraining):
    """min over weights of E max over d of loss(x + d, y): the network is trained on adversarial examples of each batch.

    attack: crafts the adversarial examples; None: the attack of the config's scheme. others: pre-trained models; each
    batch is crafted on the network or one of them, chosen at random.
    """

    config: AdversarialTrainingConfig

    def __init__(
        self,
        net: nn.Module,
        config: AdversarialTrainingConfig = AdversarialTrainingConfig(),
        attack: Attack | None = None,
        others: Sequence[Model] = (),
    ):
        super().__init__(net, config)
        self.attack = config.attack() if attack is None else attack
        self.others = tuple(others)  # a tuple, so that they are no submodules and not in the checkpoint

    @property
    def ball(self) -> Ball:
        return self.attack.ball  # type: ignore[attr-defined]

    def eps(self, update: Update) -> float:
        """The radius at this point of the warm-up."""
        return self.ball.eps * warmed_up(update.progress, self.config.eps_warmup)

    def craft(self, x: Tensor, y: Tensor, eps: float) -> Tensor:
        attack = replace(self.attack.at(eps), seed=int(torch.randint(2**62, ())))  # type: ignore[call-arg]
        models: list[Model] = [self.net, *self.others]
        return attack(models[int(torch.randint(len(models), ()))], x, y)

    def step(self, data: BatchStream, update: Update) -> Metrics:
        x, y = next(data)
        logits = self.net(self.craft(x, y, self.eps(update)))
        loss = cross_entropy(logits, y)
        update("net", loss)
        return {"loss": loss, "robust_accuracy": (logits.argmax(1) == y).float().mean()}

    def evaluate(self, data: Images) -> dict[str, float]:
        """accuracy; robust_accuracy: of the first 500 images under PGD with 20 steps at the full eps."""
        few = data.subset(slice(0, MEASURED))
        attack, right = PGD(self.ball, steps=20, early_stop=True), 0
        with evaluating(self):
            for x, y in batches(few, 250):
                right += int((self(attack(self, x, y)).argmax(1) == y).sum())
        return {**super().evaluate(data), "robust_accuracy": right / len(few)}


class Free(AdversarialTraining):
    """Free: each batch is used `replays` times, and each backward pass updates both weights and perturbation."""

    def step(self, data: BatchStream, update: Update) -> Metrics:
        x, y = next(data)
        ball = self.ball.at(self.eps(update))
        d = ball.random(x, seed=int(torch.randint(2**62, ())))
        for _ in range(self.config.replays):
            d = ((x + d).clamp(0, 1) - x).requires_grad_()
            logits = self.net(x + d)
            loss = cross_entropy(logits, y)
            update("net", loss, leaves=[d])
            assert d.grad is not None
            d = ball.project(d.detach() + ball.eps * ball.steepest(d.grad))
        return {"loss": loss, "robust_accuracy": (logits.argmax(1) == y).float().mean()}


@dataclass(frozen=True, eq=False)
class TradesPGD(PGD):
    """PGD that maximises the KL divergence from `clean` (N, K), the model's log-probabilities at the clean images."""

    keep_best: bool = False
    clean: Tensor = field(kw_only=True, repr=False)

    def objective(self, logits: Tensor, y: Tensor) -> Tensor:
        return kl_div(log_softmax(logits, 1), self.clean, reduction="none", log_target=True).sum(1)


class Trades(AdversarialTraining):
    """TRADES: loss(x, y) + beta KL(p(x) || p(x')), with x' the maximiser of the KL divergence found by PGD."""

    def craft(self, x: Tensor, y: Tensor, eps: float) -> Tensor:
        with victim(self.net, x, y) as f:
            clean = log_softmax(f.query(x), 1)
        seed = int(torch.randint(2**62, ()))
        return TradesPGD(self.ball.at(eps), self.config.steps, seed=seed, clean=clean)(self.net, x, y)

    def step(self, data: BatchStream, update: Update) -> Metrics:
        x, y = next(data)
        worst = self.craft(x, y, self.eps(update))
        logits, logits_worst = self.net(torch.cat([x, worst])).chunk(2)
        loss = cross_entropy(logits, y)
        kl = kl_div(log_softmax(logits_worst, 1), log_softmax(logits, 1), reduction="batchmean", log_target=True)
        update("net", loss + self.config.beta * kl)
        return {"loss": loss, "kl": kl, "robust_accuracy": (logits_worst.argmax(1) == y).float().mean()}
