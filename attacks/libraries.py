"""Attacks of foolbox, torchattacks, ART and the authors of AutoAttack, for comparison with those of this package on the
same model and images.

A `LibraryAttack` is a function (model, data) -> attack, attack(x, y) -> x_adv, for images like `data`; it raises
ImportError if the library is not installed. Settings that are not given here are the library's defaults.
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
from attacks.core.ball import L2, Ball, Linf
from attacks.core.minimal import size
from attacks.core.model import Attack
from attacks.deepfool import DeepFool, DeepFoolLinf
from attacks.elastic_net import EAD
from attacks.jsma import JSMA
from attacks.pgd import FGSM, IFGSM, MIFGSM, PGD
from attacks.universal import UniversalCount
from genlab.data import Images

Run = Callable[[Tensor, Tensor], Tensor]
LibraryAttack = Callable[[nn.Module, Images], Run]


@dataclass(frozen=True)
class LibraryBenchmark:
    """An attack of this package and the same attack of other libraries, by name of the library.

    norm: "l0", "l1", "l2" or "linf", in which perturbations are measured. n: number of images at most. Attacks that are
    trained are trained on the evaluated images, within the measured time, as ART does.
    """

    ours: Attack
    norm: str
    n: int
    libraries: Mapping[str, LibraryAttack] = field(repr=False)


@dataclass(frozen=True)
class Result:
    """success: share of correctly classified images that become misclassified; size: median norm of these changes."""

    library: str
    success: float
    size: float
    seconds: float  # processor time per 1000 images


def run_benchmark(benchmark: LibraryBenchmark, model: nn.Module, data: Images) -> Iterator[Result]:
    """Results of this package, then of the libraries, on the first n images of `data`; missing libraries are skipped.

    model: in eval mode, with parameters that do not require gradients, and at least one correct prediction.
    """
    data = data.subset(slice(0, benchmark.n))
    x, y = data.x, data.labels
    correct = model(x).argmax(1) == y
    ours: LibraryAttack = lambda model, data: lambda x, y: benchmark.ours.prepare(model, data)(model, x, y)
    for library, build in {"genlab": ours, **benchmark.libraries}.items():
        try:
            run = build(model, data)
        except ImportError:
            continue
        start = process_time()
        adv = run(x.clone(), y.clone()).detach()
        spent = process_time() - start
        with torch.no_grad():
            is_adv = correct & (model.eval()(adv).argmax(1) != y)
        d = adv - x
        change = (d.abs() > 1e-4).flatten(1).sum(1).float() if benchmark.norm == "l0" else size(d, benchmark.norm)
        median = change[is_adv].median().item() if is_adv.any() else math.nan
        yield Result(library, is_adv.sum().item() / correct.sum().item(), median, 1000 * spent / len(x))


def foolbox(name: str, eps: float | None = None, **options: Any) -> LibraryAttack:
    """An attack of foolbox (Rauber et al. 2020)."""

    def build(model: nn.Module, data: Images) -> Run:
        attack = getattr(import_module("foolbox.attacks"), name)(**options)
        wrapped = import_module("foolbox").PyTorchModel(model, bounds=(0, 1), device=data.device)
        return lambda x, y: attack(wrapped, x, y, epsilons=eps)[1]

    return build


def torchattacks(name: str, **options: Any) -> LibraryAttack:
    """An attack of torchattacks (Kim 2020)."""

    def build(model: nn.Module, data: Images) -> Run:
        return getattr(import_module("torchattacks"), name)(model, **options)

    return build


def art(name: str, **options: Any) -> LibraryAttack:
    """An attack of the Adversarial Robustness Toolbox (Nicolae et al. 2018); its labels are the model's predictions."""

    def build(model: nn.Module, data: Images) -> Run:
        wrap = import_module("art.estimators.classification").PyTorchClassifier
        wrapped = wrap(model, nn.CrossEntropyLoss(), data.shape, len(data.classes), clip_values=(0, 1),
                       device_type="gpu" if data.device.type == "cuda" else "cpu")  # fmt: skip
        attack = getattr(import_module("art.attacks.evasion"), name)(wrapped, **options)
        return lambda x, y: torch.as_tensor(attack.generate(x.cpu().numpy())).to(x)

    return build


def autoattack(ball: Ball, seed: int = 0) -> LibraryAttack:
    """The authors' AutoAttack, version "standard" (github.com/fra31/auto-attack), on all images as one batch."""

    def build(model: nn.Module, data: Images) -> Run:
        options = {"norm": ball.name.replace("l", "L", 1), "eps": ball.eps, "seed": seed, "device": data.device}
        attack = import_module("autoattack").AutoAttack(model, **options, verbose=False)
        return lambda x, y: attack.run_standard_evaluation(x, y, bs=len(x))

    return build


EPS = 0.3
QUIET = {"verbose": False}
LINF = {"eps": EPS, "alpha": 2.5 * EPS / 40, "steps": 40}
ART40 = {"eps": EPS, "eps_step": 2.5 * EPS / 40, "max_iter": 40, "batch_size": 256, **QUIET}

BENCHMARKS: dict[str, LibraryBenchmark] = {
    "FGSM": LibraryBenchmark(FGSM(Linf(EPS)), "linf", 256, {
        "torchattacks": torchattacks("FGSM", eps=EPS),
        "foolbox": foolbox("LinfFastGradientAttack", EPS),
        "ART": art("FastGradientMethod", eps=EPS, batch_size=256),
    }),
    "I-FGSM-40": LibraryBenchmark(IFGSM(Linf(EPS)), "linf", 256, {
        "torchattacks": torchattacks("BIM", **LINF),
        "foolbox": foolbox("LinfBasicIterativeAttack", EPS, rel_stepsize=2.5 / 40, steps=40),
        "ART": art("BasicIterativeMethod", **ART40),
    }),
    "PGD-40": LibraryBenchmark(PGD(Linf(EPS)), "linf", 256, {
        "torchattacks": torchattacks("PGD", **LINF),
        "foolbox": foolbox("LinfPGD", EPS, rel_stepsize=2.5 / 40, steps=40),
        "ART": art("ProjectedGradientDescent", num_random_init=1, **ART40),
    }),
    "PGD-40 L2": LibraryBenchmark(PGD(L2(2.0)), "l2", 256, {
        "torchattacks": torchattacks("PGDL2", eps=2.0, alpha=2.5 * 2.0 / 40, steps=40),
        "foolbox": foolbox("L2PGD", 2.0, rel_stepsize=2.5 / 40, steps=40),
        "ART": art("ProjectedGradientDescent", norm=2, num_random_init=1,
                   **{**ART40, "eps": 2.0, "eps_step": 2.5 * 2.0 / 40}),
    }),
    "MI-FGSM-40": LibraryBenchmark(MIFGSM(Linf(EPS)), "linf", 256, {
        "torchattacks": torchattacks("MIFGSM", **{**LINF, "alpha": EPS / 40}),
    }),
    "DeepFool": LibraryBenchmark(DeepFool(), "l2", 256, {
        "torchattacks": torchattacks("DeepFool", steps=50, overshoot=0.02),
        "foolbox": foolbox("L2DeepFoolAttack"),
        "ART": art("DeepFool", max_iter=50, epsilon=0.02, nb_grads=10, batch_size=256, **QUIET),
    }),
    "DeepFool L∞": LibraryBenchmark(DeepFoolLinf(), "linf", 256, {"foolbox": foolbox("LinfDeepFoolAttack")}),
    "C&W L2": LibraryBenchmark(CarliniL2(), "l2", 64, {
        "torchattacks": torchattacks("CW", c=10, steps=1000, lr=0.01),
        "foolbox": foolbox("L2CarliniWagnerAttack", steps=1000),
    }),
    "EAD": LibraryBenchmark(EAD(), "l1", 16, {"foolbox": foolbox("EADAttack", steps=1000, decision_rule="L1")}),
    "universal": LibraryBenchmark(UniversalCount(Linf(EPS), images=20_000), "linf", 64, {
        "ART": art("UniversalPerturbation", eps=EPS, max_iter=5, **QUIET),
    }),
    "JSMA": LibraryBenchmark(JSMA(), "l0", 32, {
        "torchattacks": torchattacks("JSMA", theta=1.0, gamma=0.145),
        "ART": art("SaliencyMapMethod", theta=1.0, gamma=0.145, batch_size=32, **QUIET),
    }),
}  # fmt: skip
