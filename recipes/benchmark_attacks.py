"""How much time do the attacks add to the passes that they need, and how much does dropping fooled examples save?

With `--peers`, the same attacks of foolbox, torchattacks and ART, those that are installed, run on the same images.
Floor: `steps` bare forward + backward passes (frozen parameters, gradient to the input alone) on the same real images
and trained CNN, in turn with the attack; processor time, medians of `repeats`. An attack's judging pass counts too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median

import torch
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import genlab
from attacks import FGSM, IFGSM, L2, MIFGSM, PGD, Linf
from attacks.libraries import BENCHMARKS, run_benchmark
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Count, Length, Repeats, Threads
from genlab.core.text import Console
from genlab.core.timing import seconds
from genlab.methods.classification.classifier import ClassifierConfig

ATTACKS = [FGSM(Linf(0.3)), IFGSM(Linf(0.3)), PGD(Linf(0.3)), MIFGSM(Linf(0.3)), PGD(L2(2.0))]


@dataclass(frozen=True)
class Config:
    data: genlab.DataOptions = field(default_factory=lambda: genlab.DataOptions("digits", size=28))
    n: Count = 100
    """images attacked at once"""
    repeats: Repeats = 5
    threads: Threads = 1
    images: Length = 50_000
    """length of the classifier's training"""
    peers: bool = False
    """compare with other libraries"""
    out: Path = Path("runs/benchmark-attacks")
    """run of the classifier; figures.json beside it"""


def floor(net: nn.Module, x: Tensor, y: Tensor, steps: int) -> None:
    for _ in range(steps):
        inputs = x.detach().requires_grad_()
        torch.autograd.grad(cross_entropy(net(inputs), y, reduction="sum"), inputs)


def main(config: Config) -> None:
    torch.set_num_threads(config.threads)
    training = genlab.TrainOptions(config.images, batch=64, schedule="cosine")
    net = genlab.Experiment(ClassifierConfig(), config.data, **vars(training)).run(config.out / "classifier")
    net.requires_grad_(False)
    test = config.data.load("test")
    x, y = test.subset(slice(0, config.n)).x, test.labels[: config.n]
    table, figures = Table("attack", "s", "x floor", "success", "x faster with early_stop"), []
    for attack in ATTACKS:
        early = replace(attack, early_stop=True)
        jobs = [partial(floor, net, x, y, attack.steps), partial(attack, net, x, y), partial(early, net, x, y)]
        times = seconds(jobs, config.repeats)
        ratio, full, gain = (median(v) for v in zip(*((a / bare, a, a / drop) for bare, a, drop in times)))
        success = (net(attack(net, x, y)).argmax(1) != y).float().mean().item()
        name = f"{type(attack).__name__}-{attack.steps} {attack.ball}"
        table.add_row(name, *(f"{v:.3f}" for v in (full, ratio, success)), f"{gain:.1f}")
        figures.append({"attack": repr(attack), "seconds": full, "ratio": ratio, "success": success, "gain": gain})
    Console().print(table)
    for name, benchmark in BENCHMARKS.items() if config.peers else ():
        for found in run_benchmark(benchmark, net, test):
            print(f"{name:12} {found.library:14} success {found.success:6.1%}  median {benchmark.norm} "
                  f"{found.size:7.3f}  {found.seconds:8.1f} s per 1000", flush=True)  # fmt: skip
            figures.append({"attack": name, **vars(found)})
    write_atomically(config.out / "figures.json", json.dumps(figures, indent=1).encode())


if __name__ == "__main__":
    start(main, Config)
