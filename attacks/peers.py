"""The same attacks as other libraries make them, for comparison on the same model, images and budget.

A rival is built as rival(model, data) -> (x, y) -> x_adv, for images like `data`; it raises ImportError where its
library is not installed. Settings are each library's own but for what is written here: the budgets of the lab's attack.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from time import process_time
from typing import Any

import torch
from torch import Tensor, nn

from attacks.carlini import CarliniL2
from attacks.core.ball import L2, Linf
from attacks.core.minimal import size
from attacks.core.model import Attack
from attacks.deepfool import DeepFool, DeepFoolLinf
from attacks.elastic_net import EAD
from attacks.jsma import JSMA
from attacks.pgd import FGSM, IFGSM, MIFGSM, PGD
from attacks.universal import UniversalCount
from genlab.data import Images

Run = Callable[[Tensor, Tensor], Tensor]
Rival = Callable[[nn.Module, Images], Run]


@dataclass(frozen=True)
class Duel:
    """An attack of the lab and its rivals: at most n images; `norm` (l0, l1, l2 or linf) is what is kept small.

    What learns beforehand learns on the images that it is judged on, in the measured time, as ART has it.
    """

    ours: Attack
    norm: str
    n: int
    rivals: Mapping[str, Rival] = field(repr=False)


@dataclass(frozen=True)
class Result:
    """success: share of the correctly classified images that were turned; size: median `norm` of those changes."""

    who: str
    success: float
    size: float
    seconds: float  # of processor time per 1000 images


def contest(duel: Duel, model: nn.Module, data: Images) -> Iterator[Result]:
    """The lab, then its rivals, on the first n images of `data`; libraries that are not installed are left out.

    The model is in eval mode, its parameters need no gradient, and it classifies at least one image correctly.
    """
    data = data.subset(slice(0, duel.n))
    x, y = data.x, data.labels
    correct = model(x).argmax(1) == y
    ours: Rival = lambda model, data: lambda x, y: duel.ours.prepare(model, data)(model, x, y)
    for who, rival in {"genlab": ours, **duel.rivals}.items():
        try:
            run = rival(model, data)
        except ImportError:
            continue
        start = process_time()
        adv = run(x.clone(), y.clone()).detach()
        spent = process_time() - start
        with torch.no_grad():
            hit = correct & (model.eval()(adv).argmax(1) != y)
        change = size(adv - x, duel.norm) if duel.norm != "l0" else ((adv - x).abs() > 1e-4).flatten(1).sum(1).float()
        median = change[hit].median().item() if hit.any() else math.nan
        yield Result(who, hit.sum().item() / correct.sum().item(), median, 1000 * spent / len(x))


def foolbox(name: str, eps: float | None = None, **options: Any) -> Rival:
    """An attack of foolbox (Rauber et al. 2020)."""

    def build(model: nn.Module, data: Images) -> Run:
        attack = getattr(import_module("foolbox.attacks"), name)(**options)
        wrapped = import_module("foolbox").PyTorchModel(model, bounds=(0, 1), device=data.device)
        return lambda x, y: attack(wrapped, x, y, epsilons=eps)[1]

    return build


def torchattacks(name: str, **options: Any) -> Rival:
    """An attack of torchattacks (Kim 2020)."""

    def build(model: nn.Module, data: Images) -> Run:
        return getattr(import_module("torchattacks"), name)(model, **options)

    return build


def art(name: str, **options: Any) -> Rival:
    """An attack of the Adversarial Robustness Toolbox (Nicolae et al. 2018); labels are left to it: its own answers."""

    def build(model: nn.Module, data: Images) -> Run:
        wrap = import_module("art.estimators.classification").PyTorchClassifier
        wrapped = wrap(model, nn.CrossEntropyLoss(), data.shape, len(data.classes), clip_values=(0, 1),
                       device_type="gpu" if data.device.type == "cuda" else "cpu")  # fmt: skip
        attack = getattr(import_module("art.attacks.evasion"), name)(wrapped, **options)
        return lambda x, y: torch.as_tensor(attack.generate(x.cpu().numpy())).to(x)

    return build


EPS = 0.3
QUIET = {"verbose": False}
LINF = {"eps": EPS, "alpha": 2.5 * EPS / 40, "steps": 40}
ART40 = {"eps": EPS, "eps_step": 2.5 * EPS / 40, "max_iter": 40, "batch_size": 256, **QUIET}

DUELS: dict[str, Duel] = {
    "FGSM": Duel(FGSM(Linf(EPS)), "linf", 256, {
        "torchattacks": torchattacks("FGSM", eps=EPS),
        "foolbox": foolbox("LinfFastGradientAttack", EPS),
        "ART": art("FastGradientMethod", eps=EPS, batch_size=256),
    }),
    "I-FGSM-40": Duel(IFGSM(Linf(EPS)), "linf", 256, {
        "torchattacks": torchattacks("BIM", **LINF),
        "foolbox": foolbox("LinfBasicIterativeAttack", EPS, rel_stepsize=2.5 / 40, steps=40),
        "ART": art("BasicIterativeMethod", **ART40),
    }),
    "PGD-40": Duel(PGD(Linf(EPS)), "linf", 256, {
        "torchattacks": torchattacks("PGD", **LINF),
        "foolbox": foolbox("LinfPGD", EPS, rel_stepsize=2.5 / 40, steps=40),
        "ART": art("ProjectedGradientDescent", num_random_init=1, **ART40),
    }),
    "PGD-40 L2": Duel(PGD(L2(2.0)), "l2", 256, {
        "torchattacks": torchattacks("PGDL2", eps=2.0, alpha=2.5 * 2.0 / 40, steps=40),
        "foolbox": foolbox("L2PGD", 2.0, rel_stepsize=2.5 / 40, steps=40),
        "ART": art("ProjectedGradientDescent", norm=2, num_random_init=1,
                   **{**ART40, "eps": 2.0, "eps_step": 2.5 * 2.0 / 40}),
    }),
    "MI-FGSM-40": Duel(MIFGSM(Linf(EPS)), "linf", 256, {
        "torchattacks": torchattacks("MIFGSM", **{**LINF, "alpha": EPS / 40}),
    }),
    "DeepFool": Duel(DeepFool(), "l2", 256, {
        "torchattacks": torchattacks("DeepFool", steps=50, overshoot=0.02),
        "foolbox": foolbox("L2DeepFoolAttack"),
        "ART": art("DeepFool", max_iter=50, epsilon=0.02, nb_grads=10, batch_size=256, **QUIET),
    }),
    "DeepFool L∞": Duel(DeepFoolLinf(), "linf", 256, {"foolbox": foolbox("LinfDeepFoolAttack")}),
    "C&W L2": Duel(CarliniL2(), "l2", 64, {
        "torchattacks": torchattacks("CW", c=10, steps=1000, lr=0.01),
        "foolbox": foolbox("L2CarliniWagnerAttack", steps=1000),
    }),
    "EAD": Duel(EAD(), "l1", 16, {"foolbox": foolbox("EADAttack", steps=1000, decision_rule="L1")}),
    "universal": Duel(UniversalCount(Linf(EPS), images=20_000), "linf", 64, {
        "ART": art("UniversalPerturbation", eps=EPS, max_iter=5, **QUIET),
    }),
    "JSMA": Duel(JSMA(), "l0", 32, {
        "torchattacks": torchattacks("JSMA", theta=1.0, gamma=0.145),
        "ART": art("SaliencyMapMethod", theta=1.0, gamma=0.145, batch_size=32, **QUIET),
    }),
}  # fmt: skip
