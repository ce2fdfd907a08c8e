"""Which attack finds the smallest perturbations? Optimality of minimal-norm attacks on several classifiers.

Three classifiers are trained: plainly, on PGD's adversarial examples, and by interval bounds. Every attack has the same
budget of forward and backward passes per image, and d* is the smallest adversarial distance that the model was shown
within it. GO is the mean over the classifiers of the local optimality (AttackBench, Cina et al. 2024,
arXiv:2404.19460): 100 % if no other attack of the table found anything smaller. With --peers, attacks of
adversarial-library join, where it is installed.

python recipes/attack_bench.py                                   # scikit-learn's digits, minutes on one core
python recipes/attack_bench.py --data mnist --data-root DIR --images 60000 --eps 0.2 --passes 2000 --n 128
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

import genlab
from attacks.carlini import CarliniL0, CarliniL2, CarliniLinf
from attacks.core.minimal import Norm
from attacks.core.model import Attack
from attacks.ddn import DDN
from attacks.deepfool import DeepFool, DeepFoolLinf
from attacks.defences.adversarial_training import AdversarialTrainingConfig
from attacks.defences.interval import IntervalTrainingConfig
from attacks.elastic_net import EAD
from attacks.evaluation.distances import (
    Distances,
    best_of,
    optimality,
    robustness_curve,
    smallest_distances,
)
from attacks.fmn import FMN, FMNL0, FMNL1, FMNLinf
from attacks.jsma import JSMA
from attacks.minimal import Minimal
from attacks.pdgd import PDGD, PDPGD
from attacks.sigma_zero import SigmaZero
from genlab.cli.main import start
from genlab.core.ranges import Count, Eps, Length, NonEmpty, Range, Seed, Width
from genlab.core.text import listed
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.reporting.finish import finish
from genlab.reporting.plots import bars, curves

NORMS: tuple[Norm, ...] = ("l0", "l1", "l2", "linf")
HEADER = ["attack", "GO %", "worst model %", "median d*", "never fooled", "passes", "s per 1000"]
# Attacks by norm, as functions of the number of steps (a forward and a backward pass each) that they may take.
ATTACKS: dict[Norm, dict[str, Callable[[int], Attack]]] = {
    "l0": {
        "sigma-zero": lambda steps: SigmaZero(steps=steps),
        "fmn-l0": lambda steps: FMNL0(steps=steps),
        "pdpgd": lambda steps: PDPGD(steps=steps, norm="l0"),
        "cw-l0": lambda steps: CarliniL0(steps=max(1, steps // 10), searches=10),
        "jsma": lambda steps: JSMA(),
    },
    "l1": {
        "pdpgd": lambda steps: PDPGD(steps=steps),
        "fmn-l1": lambda steps: FMNL1(steps=steps),
        "ead": lambda steps: EAD(steps=max(1, steps // 9)),
    },
    "l2": {
        "ddn": lambda steps: DDN(steps=steps),
        "pdgd": lambda steps: PDGD(steps=steps),
        "fmn": lambda steps: FMN(steps=steps),
        "deepfool": lambda steps: DeepFool(polish=min(60, steps)),
        "cw-l2": lambda steps: CarliniL2(steps=max(1, steps // 9)),
    },
    "linf": {
        "pdpgd": lambda steps: PDPGD(steps=steps, norm="linf"),
        "fmn-linf": lambda steps: FMNLinf(steps=steps),
        "deepfool-linf": lambda steps: DeepFoolLinf(polish=min(60, steps)),
        "cw-linf": lambda steps: CarliniLinf(steps=max(1, steps // 15), searches=15),
    },
}


@dataclass(frozen=True)
class Config:
    """Optimality, robustness curves and costs of minimal-norm attacks."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    images: Length = 20_000
    """length of every training"""
    width: Width = 8
    """channels of the classifiers' finest level"""
    eps: Eps = 0.1
    """L-infinity radius of the robust trainings"""
    norms: NonEmpty[Norm] = NORMS
    """norms of the perturbations"""
    passes: Annotated[int, Range(100, 10**9)] = 400
    """budget: forward and backward passes per image; AttackBench allows 2000"""
    n: Count = 16
    """held-out images to attack"""
    peers: bool = False
    """with attacks of adversarial-library"""
    out: Path = Path("runs/attack-bench")
    """folder of the runs and the report"""
    seed: Seed = 0
    """seed of the trainings and of the order of the images"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    models = {name: train(config, data, name, method) for name, method in trainings(config).items()}
    test = data.load("test")
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(config.seed))
    x, y = (part[order.to(part.device)][: config.n] for part in (test.x, test.labels))
    page, results = genlab.Report(f"Minimal-norm attacks on {config.data}"), dict[str, Any]()
    for norm in config.norms:
        found = {model: measure(config, norm, net, x, y) for model, net in models.items()}
        scores = optimality({model: {a: d.distance for a, d in each.items()} for model, each in found.items()})
        rows = sorted(table(found, scores), key=lambda row: -float(row[1]))
        page.section(f"{norm}: {config.passes} passes, {config.n} images").table(HEADER, rows)
        for model, each in found.items():
            page.picture(pictured({name: d.distance for name, d in each.items()}, norm), f"{norm}, {model}")
        results[norm] = {
            "optimality": scores,
            "distances": {m: {a: d.distance.tolist() for a, d in each.items()} for m, each in found.items()},
        }
    best = {
        f"{name} ({norm})": 100 * scores["global"]
        for norm, result in results.items()
        for name, scores in sorted(result["optimality"].items(), key=lambda each: -each[1]["global"])[:3]
    }
    page.opening(
        "Global optimality, 100 % for the smallest perturbations that any attack found, the three best of each norm: "
        f"{listed(best, '.1f')}.",
        bars({name: [value] for name, value in best.items()}, x="global optimality, %"),
    )
    finish(config.out, page, results)


def trainings(config: Config) -> dict[str, Any]:
    return {
        "standard": ClassifierConfig(width=config.width),
        "pgd": AdversarialTrainingConfig("pgd", eps=config.eps, eps_warmup=0.4, steps=5, width=config.width),
        "interval": IntervalTrainingConfig(eps=config.eps / 2, width=config.width),
    }


def train(config: Config, data: genlab.DataOptions, name: str, method: Any) -> Any:
    experiment = genlab.Experiment(method, data, images=config.images, seed=config.seed)
    return experiment.run(config.out / name, pictures=1)


def measure(config: Config, norm: Norm, net: Any, x: Tensor, y: Tensor) -> dict[str, Distances]:
    """d* and cost of every attack on one classifier."""
    steps = config.passes // 2 - 15  # what is left is for the refinement at the end
    attacks: dict[str, Any] = {name: build(steps) for name, build in ATTACKS[norm].items()}
    attacks |= {f"minimal-{norm}": Minimal(norm=norm, passes=config.passes)}
    attacks |= peers(norm, config.passes // 2) if config.peers else {}
    return {name: smallest_distances(a, net, x, y, norm, config.passes) for name, a in attacks.items()}


def peers(norm: Norm, steps: int) -> dict[str, Any]:
    """Attacks of adversarial-library as functions of model, images and labels; none where it is not installed."""
    try:
        from adv_lib import attacks as library
    except ImportError:
        return {}
    order = {"l0": 0, "l1": 1, "l2": 2, "linf": float("inf")}[norm]
    calls: dict[str, Callable[..., Tensor]] = {
        "PDPGD": lambda *given: library.pdpgd(*given, norm=order, num_steps=steps, **sparse),
        "FMN": lambda *given: library.fmn(*given, norm=order, steps=steps),
    }
    sparse = {"proximal_operator": 23} if norm == "l0" else {}
    if norm == "l0":
        calls["sigma-zero"] = lambda *given: library.sigma_zero(*given, num_steps=steps)
    if norm == "l2":
        calls["DDN"] = lambda *given: library.ddn(*given, steps=steps, levels=None)
        calls["PDGD"] = lambda *given: library.pdgd(*given, num_steps=steps)
    return {f"adv-lib {name}": call for name, call in calls.items()}


def table(found: dict[str, dict[str, Distances]], scores: dict[str, dict[str, float]]) -> list[list[str]]:
    """Rows under HEADER."""
    rows = []
    for attack, score in scores.items():
        every = [each[attack] for each in found.values()]
        distance = torch.cat([d.distance for d in every])
        cost = sum(d.forwards + d.backwards for d in every) / len(every)
        seconds = 1000 * sum(d.seconds for d in every) / len(distance)
        lost = int(distance.isinf().sum())
        local = [value for model, value in score.items() if model != "global"]
        cells = [f"{100 * score['global']:.1f}", f"{100 * min(local, default=0.0):.1f}", f"{distance.median():.4g}"]
        rows.append([attack, *cells, str(lost), f"{cost:.0f}", f"{seconds:.0f}"])
    return rows


def pictured(distances: dict[str, Tensor], norm: Norm) -> bytes:
    """The robustness curves of one classifier."""
    best = best_of(list(distances.values()))
    eps = float(best[best.isfinite()].max())
    lines = {name: robustness_curve(distance, eps) for name, distance in distances.items()}
    return curves(lines, x=f"eps ({norm})", y="robust accuracy", limits=(-0.02, 1.02))


if __name__ == "__main__":
    start(main, Config)
