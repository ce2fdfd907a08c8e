"""How much time do attacks add to the passes that they need, and how much does stopping at fooled images save?

Floor: as many bare forward and backward passes (frozen parameters, gradient with respect to the input alone) on the
same real images and trained CNN, in turn with the attack; the pass that judges an attack's result counts too. With
--peers, the same attacks of foolbox, torchattacks and ART, as far as installed, run on the same images, and AutoAttack
of its authors (a checkout of github.com/fra31/auto-attack on PYTHONPATH) beside this lab's, on a robust CNN.

python recipes/benchmark_attacks.py
python recipes/benchmark_attacks.py --data mnist --data-root DIR --peers
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import genlab
from attacks import FGSM, IFGSM, L1, L2, MIFGSM, PGD, Ball, Linf
from attacks.auto import Auto
from attacks.defences.adversarial_training import AdversarialTrainingConfig
from attacks.evaluation.crafting import Counter
from attacks.libraries import BENCHMARKS, autoattack, run_benchmark
from genlab.cli.main import start
from genlab.core.ranges import Count, Length, Repeats, Seed, Threads
from genlab.core.timing import seconds
from genlab.data import Images
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.reporting.finish import finish, records

ATTACKS = [FGSM(Linf(0.3)), IFGSM(Linf(0.3)), PGD(Linf(0.3)), MIFGSM(Linf(0.3)), PGD(L2(2.0))]
COSTS = ["attack", "seconds", "time / floor", "success", "times faster with early_stop"]
PEERS = ["attack", "library", "success", "norm", "median size", "s per 1000"]
AUTO = ["norm", "AutoAttack", "robust accuracy, %", "forward passes", "backward passes", "s per image"]
BALLS: list[Ball] = [Linf(0.2), L2(2.0), L1(8.0)]
ROBUST = AdversarialTrainingConfig("pgd", eps=0.2, eps_warmup=0.4, steps=5, width=8)


@dataclass(frozen=True)
class Config:
    """What is timed, and how often."""

    data: genlab.DataOptions = field(default_factory=lambda: genlab.DataOptions("digits", size=28))
    """which images"""
    n: Count = 100
    """images attacked at once"""
    repeats: Repeats = 5
    """measurements, of which the median is reported"""
    threads: Threads = 1
    """threads of the processor"""
    images: Length = 50_000
    """length of the classifiers' trainings"""
    peers: bool = False
    """compare with other libraries"""
    only: Literal["passes", "libraries", "autoattack"] | None = None
    """measure this part alone; the last two: with peers"""
    seed: Seed = 0
    """seed of the trainings and of AutoAttack"""
    out: Path = Path("runs/benchmark-attacks")
    """folder of the classifier's run and the report"""


def main(config: Config) -> None:
    torch.set_num_threads(config.threads)
    test = config.data.load("validation" if config.data.hold_out else "test")
    page, results = genlab.Report("Speed of attacks"), {"attacks": list[Any](), "peers": list[Any]()}
    parts = [config.only] if config.only else ["passes", *(["libraries", "autoattack"] if config.peers else [])]
    if "passes" in parts:
        net = trained(config, "classifier", ClassifierConfig())
        costs = [cost(attack, net, test.subset(slice(config.n)), config.repeats) for attack in ATTACKS]
        page.section("Beside the bare passes (floor)").table(COSTS, costs)
        results["attacks"] = records(COSTS, costs)
    if "libraries" in parts:
        peers = comparisons(trained(config, "classifier", ClassifierConfig()), test)
        page.section("Beside other libraries").table(PEERS, peers)
        results["peers"] = records(PEERS, peers)
    if "autoattack" in parts:
        try:
            results |= verdicts(config, test.subset(slice(config.n)), page)
        except ImportError:
            page.warnings(["The package autoattack (github.com/fra31/auto-attack) is not installed: not compared."])
    finish(config.out, page, results)


def trained(config: Config, name: str, method: Any) -> nn.Module:
    experiment = genlab.Experiment(method, config.data, images=config.images, seed=config.seed)
    return experiment.run(config.out / name).requires_grad_(False)


def verdicts(config: Config, images: Images, page: genlab.Report) -> dict[str, Any]:
    """A row under AUTO for each version and norm, and by how many points the fast verdict is above the public one."""
    public = [autoattack(ball, config.seed) for ball in BALLS]
    for build in public:  # before the training: are they installed?
        build(nn.Identity(), images)
    net, rows, above = trained(config, "robust", ROBUST), list[list[Any]](), dict[str, float]()
    for ball, build in zip(BALLS, public, strict=True):
        standard, fast = (Auto(ball, version=version, seed=config.seed) for version in ("standard", "fast"))
        for name, attack in {"public": None, "standard": standard, "fast": fast}.items():
            counter = Counter(net)
            run = partial(attack, counter) if attack else build(counter, images)
            began = time.process_time()
            adv = run(images.x.clone(), images.labels.clone())
            spent = time.process_time() - began
            robust = 100 * (net(adv).argmax(1) == images.labels).float().mean().item()
            costs = [total / len(images) for total in (counter.forwards, counter.backwards, spent)]
            rows.append([f"{ball.name}, ε = {ball.eps:g}", name, robust, *costs])
        above[ball.name] = rows[-1][2] - rows[-3][2]
    page.section(f"AutoAttack on a robust CNN, {len(images)} images").table(AUTO, rows)
    return {"autoattack": records(AUTO, rows), "fast above public": above}


def cost(attack: Any, net: nn.Module, images: Images, repeats: int) -> list[Any]:
    """A row under COSTS."""
    x, y = images.x, images.labels
    early = replace(attack, early_stop=True)
    works = [partial(floor, net, x, y, attack.steps), partial(attack, net, x, y), partial(early, net, x, y)]
    rounds = seconds(works, repeats)
    time = median(full for _, full, _ in rounds)
    ratio = median(full / bare for bare, full, _ in rounds)
    gain = median(full / stopped for _, full, stopped in rounds)
    success = (net(attack(net, x, y)).argmax(1) != y).float().mean().item()
    return [f"{type(attack).__name__}-{attack.steps} {attack.ball}", time, ratio, success, gain]


def floor(net: nn.Module, x: Tensor, y: Tensor, steps: int) -> None:
    """So many gradients of the loss with respect to the images."""
    for _ in range(steps):
        inputs = x.detach().requires_grad_()
        torch.autograd.grad(cross_entropy(net(inputs), y, reduction="sum"), inputs)


def comparisons(net: nn.Module, test: Images) -> list[list[Any]]:
    """Rows under PEERS: every attack that other libraries have, too."""
    return [
        [name, found.library, found.success, benchmark.norm, found.size, found.seconds]
        for name, benchmark in BENCHMARKS.items()
        for found in run_benchmark(benchmark, net, test)
    ]


if __name__ == "__main__":
    start(main, Config)
