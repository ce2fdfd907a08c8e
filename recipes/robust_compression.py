"""Compression under attack: every stage from a dense network to a small file, its costs and its robustness.

A CNN is distilled into LeNet-300-100. That network is pruned and then shares its weights, or loses half of its
neurons, rank, or all but four bits of each weight. Each result is attacked itself, by images that were made for the
dense network (transfer), and by one universal perturbation learnt on the dense network. With --robust, teacher,
student and every fine-tuning learn from images that PGD makes for them.

python recipes/robust_compression.py                              # scikit-learn's digits, minutes on one core
python recipes/robust_compression.py --data mnist --data-root DIR
python recipes/robust_compression.py --data mnist --data-root DIR --robust --images 40000
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import genlab
from attacks import FGSM, PGD, Linf
from attacks.defences.adversarial_training import AdversarialTraining, AdversarialTrainingConfig
from attacks.evaluation.evaluate import evaluate
from attacks.evaluation.results import Evaluation
from attacks.universal import UniversalGradient
from genlab.cli.main import start
from genlab.compress.deep import LENET300, Train, pruned, shared
from genlab.compress.distil import Distillation, DistillationConfig
from genlab.compress.layers import plain_copy
from genlab.compress.low_rank import factorise
from genlab.compress.neurons import prune_neurons
from genlab.compress.quantise import quantise_uniformly
from genlab.compress.table import table
from genlab.core.ranges import Count, Eps, Length, Repeats, Seed
from genlab.data import Images, Stream
from genlab.methods.classification.classifier import Classifier, ClassifierConfig, FineTuning
from genlab.nets.classifiers import lenet300
from genlab.reporting.finish import finish


@dataclass(frozen=True)
class Config:
    """Costs and robustness of a network that was made small in five ways."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    images: Length = 60_000
    """length of every training"""
    rounds: Repeats = 4
    """rounds of pruning"""
    eps: Eps = 0.1
    """L-infinity size of the attacks, in pixels of [0, 1]"""
    attacked: Count = 300
    """held-out images to attack"""
    robust: bool = False
    """adversarial training, robust distillation and adversarial fine-tuning"""
    out: Path = Path("runs/robust-compression")
    """folder of the teacher, the compressed files and the report"""
    seed: Seed = 0
    """of every training"""

    @property
    def teacher(self) -> ClassifierConfig:
        return AdversarialTrainingConfig(eps=self.eps) if self.robust else ClassifierConfig()


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    known, test = data.load("train"), data.load("test")
    experiment = genlab.Experiment(config.teacher, data, images=config.images, seed=config.seed, warmup=0.0)
    teacher = experiment.run(config.out / "teacher", pictures=1)
    networks = compress(distil(teacher, known, config), known, config)
    costs = table(networks, test, config.out / "files")
    attacks, warnings = attack(networks, known, test.subset(slice(0, config.attacked)), config)

    page = genlab.Report(f"Compression under attack: {config.data}, L-infinity {config.eps}")
    page.section("Costs", "Bytes are those of the file; times are shares of the dense network's.")
    page.table(list(costs[0]), [list(row.values()) for row in costs])
    page.section("Attack success", "Of the images that were classified correctly, the share turned wrong.")
    page.table(*success_table(attacks)).warnings(warnings)
    finish(config.out, page, {"costs": costs, "attacks": attacks})


def distil(teacher: nn.Module, known: Images, config: Config) -> nn.Module:
    """LeNet-300-100, trained on the softened answers of `teacher`; with --robust on images that PGD made for it."""
    torch.manual_seed(config.seed)
    net = lenet300(known.shape, len(known.classes)).to(known.device)
    inner = PGD(Linf(config.eps), steps=7, keep_best=False)

    def perturb(x: Tensor, y: Tensor) -> Tensor:
        return inner(net, x, y)

    change = perturb if config.robust else None
    student = Distillation(net, [teacher], DistillationConfig(weight_decay=0.0), change)
    fit(student, known, config, "distillation")
    return net


def compress(dense: nn.Module, known: Images, config: Config) -> dict[str, nn.Module]:
    """`dense` and what each way to make it small leaves of it, fine-tuned, by name; in eval mode, ready to be saved."""
    sparsity, bits = LENET300
    tune = tuner(known, config)
    sparse = pruned(dense, sparsity, config.rounds, tune)
    narrow = prune_neurons(dense, 0.5)
    tune(narrow, 0.4, "half the neurons")
    low_rank = factorise(dense, 0.8)  # of the energy of each layer's spectrum
    tune(low_rank, 0.4, "low rank")
    four_bits = plain_copy(dense)
    quantise_uniformly(four_bits, 4)
    tune(four_bits, 0.1, "four bits")
    networks = {
        "dense": dense,
        "pruned": sparse,
        "shared": shared(sparse, bits, tune),
        "half the neurons": narrow,
        "low rank": low_rank,
        "four bits": four_bits,
    }
    return {name: plain_copy(net).eval() for name, net in networks.items()}


def tuner(known: Images, config: Config) -> Train:
    """Fine-tunes a network at a factor of the teacher's learning rate; with --robust by adversarial training."""

    def tune(net: nn.Module, factor: float, title: str) -> None:
        lr = config.teacher.lr * factor
        method: Classifier
        if config.robust:
            method = AdversarialTraining(net, AdversarialTrainingConfig(eps=config.eps, lr=lr))
        else:
            method = FineTuning(net, ClassifierConfig(lr=lr))
        fit(method, known, config, title)

    return tune


def fit(method: Classifier, known: Images, config: Config, title: str) -> None:
    options = genlab.TrainOptions(config.images, seed=config.seed, schedule="cosine")
    genlab.fit(method, Stream(known, 64, seed=config.seed), options, title=title)


def attack(
    networks: dict[str, nn.Module], known: Images, test: Images, config: Config
) -> tuple[list[dict[str, Any]], list[str]]:
    """The success of every attack on every network, of FGSM and PGD also by images made for the dense one; warnings."""
    ball = Linf(config.eps)
    gradient = {"FGSM": FGSM(ball), "PGD": PGD(ball, steps=20)}
    universal = UniversalGradient(ball, images=max(1, config.images // 4)).prepare(networks["dense"], known)
    itself = evaluate(networks, {**gradient, "universal": universal}, test.x, test.labels)
    others = {name: "dense" for name in networks if name != "dense"}
    transferred = evaluate(networks, gradient, test.x, test.labels, sources=others)
    rows = success(itself)
    rows += [row for row in success(transferred) if row["network"] in others and row["attack"] in gradient]
    return rows, list(dict.fromkeys(itself.warnings + transferred.warnings))


def success(found: Evaluation) -> list[dict[str, Any]]:
    return [
        {"network": row.model, "source model": row.source, "attack": row.attack, "success": row.success.value}
        for row in found.rows
    ]


def success_table(attacks: list[dict[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Head and rows: a line per network, a column per attack and source model."""
    lines: dict[str, dict[str, float | None]] = {}
    for row in attacks:
        transferred = row["source model"] != row["network"]
        column = f"{row['attack']} on the dense one" if transferred else row["attack"]
        lines.setdefault(row["network"], {})[column] = row["success"]
    columns = list(dict.fromkeys(column for line in lines.values() for column in line))
    rows = [[network, *(line.get(column, "") for column in columns)] for network, line in lines.items()]
    return ["network", *columns], rows


if __name__ == "__main__":
    start(main, Config)
