"""How much time do attacks add to the passes that they need, and how much does stopping at fooled images save?

Floor: as many bare forward and backward passes (frozen parameters, gradient with respect to the input alone) on the
same real images and trained CNN, in turn with the attack; the pass that judges an attack's result counts too. With
--peers, the same attacks of foolbox, torchattacks and ART, as far as installed, run on the same images.

python recipes/benchmark_attacks.py
python recipes/benchmark_attacks.py --data mnist --data-root DIR --peers
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import genlab
from attacks import FGSM, IFGSM, L2, MIFGSM, PGD, Linf
from attacks.libraries import BENCHMARKS, run_benchmark
from genlab.cli.main import start
from genlab.core.ranges import Count, Length, Repeats, Threads
from genlab.core.timing import seconds
from genlab.data import Images
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.reporting.finish import finish, records

ATTACKS = [FGSM(Linf(0.3)), IFGSM(Linf(0.3)), PGD(Linf(0.3)), MIFGSM(Linf(0.3)), PGD(L2(2.0))]
COSTS = ["attack", "seconds", "time / floor", "success", "times faster with early_stop"]
PEERS = ["attack", "library", "success", "norm", "median size", "s per 1000"]


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
    """length of the classifier's training"""
    peers: bool = False
    """compare with other libraries"""
    out: Path = Path("runs/benchmark-attacks")
    """folder of the classifier's run and the report"""


def main(config: Config) -> None:
    torch.set_num_threads(config.threads)
    experiment = genlab.Experiment(ClassifierConfig(), config.data, images=config.images)
    net = experiment.run(config.out / "classifier").requires_grad_(False)
    test = config.data.load("test")

    page = genlab.Report("Speed of attacks")
    costs = [cost(attack, net, test.subset(slice(0, config.n)), config.repeats) for attack in ATTACKS]
    page.section("Beside the bare passes (floor)").table(COSTS, costs)
    peers = comparisons(net, test) if config.peers else []
    if peers:
        page.section("Beside other libraries").table(PEERS, peers)
    finish(config.out, page, {"attacks": records(COSTS, costs), "peers": records(PEERS, peers)})


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
