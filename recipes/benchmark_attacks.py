"""How much time do the attacks add to the forward and backward passes that they need, and how much does dropping save?

Floor: `steps` bare passes (frozen parameters, gradient to the input only), interleaved with the attack; medians of
`repeats`. An attack's judging pass after the last step counts against it.
"""

from __future__ import annotations

import json
import timeit
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from attacks import FGSM, IFGSM, L2, MIFGSM, PGD, Linf

ATTACKS = [FGSM(Linf(0.3)), IFGSM(Linf(0.3)), PGD(Linf(0.3)), MIFGSM(Linf(0.3)), PGD(L2(2.0))]


@dataclass
class Config:
    n: int = 256  # images attacked at once
    repeats: int = 3
    threads: int = 1
    out: Path | None = None  # write the figures here as JSON


def images(n: int) -> tuple[Tensor, Tensor]:
    """Ten random templates under noise: easy to learn, so that training takes seconds."""
    y = torch.randint(10, (n,))
    return 0.2 * torch.rand(10, 1, 28, 28)[y] + 0.8 * torch.rand(n, 1, 28, 28), y


def classifier(x: Tensor, y: Tensor) -> nn.Module:
    """Random convolutions under a last layer solved by least squares: the usual shape, no training loop."""
    body = [nn.Conv2d(1, 32, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 5), nn.ReLU(), nn.MaxPool2d(2)]
    net = nn.Sequential(*body, nn.Flatten(), nn.Linear(1024, 256), nn.ReLU(), nn.Linear(256, 10))
    net.eval().requires_grad_(False)
    net[-1].weight.copy_(10 * torch.linalg.lstsq(net[:-1](x), nn.functional.one_hot(y, 10).float()).solution.T)
    return net


def floor(net: nn.Module, x: Tensor, y: Tensor, steps: int) -> None:
    for _ in range(steps):
        inputs = x.detach().requires_grad_()
        torch.autograd.grad(cross_entropy(net(inputs), y, reduction="sum"), inputs)


def main(config: Config) -> None:
    torch.set_num_threads(config.threads)
    torch.manual_seed(0)
    x, y = images(2048)
    net = classifier(x, y)
    x, y = x[: config.n], y[: config.n]
    table, figures = Table("attack", "s", "x floor", "success", "x faster with early_stop"), []
    for attack in ATTACKS:
        early = replace(attack, early_stop=True)
        jobs = [partial(floor, net, x, y, attack.steps), partial(attack, net, x, y), partial(early, net, x, y)]
        times = [[timeit.timeit(job, number=1) for job in jobs] for _ in range(config.repeats + 1)][1:]  # after warm-up
        ratio, full, gain = (median(v) for v in zip(*((a / bare, a, a / drop) for bare, a, drop in times)))
        success = (net(attack(net, x, y)).argmax(1) != y).float().mean().item()
        name = f"{type(attack).__name__}-{attack.steps} {attack.ball}"
        table.add_row(name, *(f"{v:.3f}" for v in (full, ratio, success)), f"{gain:.1f}")
        figures.append({"attack": repr(attack), "seconds": full, "ratio": ratio, "success": success, "gain": gain})
    Console().print(table)
    if config.out is not None:
        config.out.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main(tyro.cli(Config))
