"""Compression under attack: every stage from a dense network to a small file, its costs and its robustness.

A CNN is distilled into LeNet-300-100. That network is pruned and then shares its weights, or loses half of its
neurons, rank, or all but four bits of each weight. Each result is attacked itself, by images that were made for the
dense network (transfer), and by one universal perturbation learnt on the dense network; so is the teacher. With
--robust, teacher, student and every fine-tuning learn from images that PGD makes for them.

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
from attacks.universal import UniversalGradient
from genlab.cli.main import start
from genlab.compress.deep import LENET300, Train, pruned, shared
from genlab.compress.distil import Distillation, DistillationConfig
from genlab.compress.layers import plain_copy
from genlab.compress.low_rank import factorise
from genlab.compress.neurons import prune_neurons
from genlab.compress.quantise import quantise_uniformly
from genlab.compress.table import table
from genlab.core.ranges import Count, Eps, Length, Repeats, Seeds
from genlab.core.text import counted
from genlab.data import Images, Stream
from genlab.methods.classification.classifier import Classifier, ClassifierConfig, FineTuning
from genlab.nets.classifiers import lenet300
from genlab.reporting.finish import finish
from genlab.reporting.plots import pareto
from genlab.reporting.spread import spread, with_deviation

TEACHER, DENSE, SHARED = "teacher", "dense", "shared"  # names of networks
COLUMNS = ["error, %", "PGD, %", "PGD for dense, %", "universal, %"]  # on the page; more are in the results


@dataclass(frozen=True)
class Config:
    """Costs and robustness of a network that was made small in five ways."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    images: Length = 20_000
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
    seeds: Seeds = (0, 1, 2)
    """everything is repeated with each of these seeds"""

    @property
    def teacher(self) -> ClassifierConfig:
        return AdversarialTrainingConfig(eps=self.eps) if self.robust else ClassifierConfig()


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    known, test = data.load("train"), data.load("test")
    measured: dict[str, dict[str, list[float]]] = {}  # network -> figure -> a value per seed
    warnings: list[str] = []
    for seed in config.seeds:
        networks = trained(config, data, known, seed)
        for row in table(networks, test, config.out / f"files-{seed}", repeats=1):
            for figure in ("bytes", "MACs", "error, %"):
                measured.setdefault(row["network"], {}).setdefault(figure, []).append(row[figure])
        warnings += attack(networks, known, test.subset(slice(0, config.attacked)), config, measured)
    rows = [{"network": name} | over_seeds(figures) for name, figures in measured.items()]

    page = genlab.Report(f"Compression under attack: {config.data}, L-infinity {config.eps:g}")
    page.section("Error and attack success against bytes", message(rows))
    page.picture(pareto(panels(rows)))
    page.text(
        "Success of an attack: the share of the correctly classified images that it turns wrong. Mean ± standard "
        f"deviation over {counted(config.seeds)}."
    )
    page.table(["network", "bytes", *COLUMNS], map(shown, rows)).warnings(dict.fromkeys(warnings))
    finish(config.out, page, rows)


def trained(config: Config, data: genlab.DataOptions, known: Images, seed: int) -> dict[str, nn.Module]:
    """The teacher, the dense network distilled from it, and what is made of that."""
    experiment = genlab.Experiment(config.teacher, data, images=config.images, seed=seed, warmup=0.0)
    teacher: Any = experiment.run(config.out / f"teacher-{seed}", pictures=1)
    dense = distil(teacher, known, config, seed)
    return {TEACHER: teacher.net, **compress(dense, known, config, seed)}


def distil(teacher: nn.Module, known: Images, config: Config, seed: int) -> nn.Module:
    """LeNet-300-100, trained on the softened answers of `teacher`; with --robust on images that PGD made for it."""
    torch.manual_seed(seed)
    net = lenet300(known.shape, len(known.classes)).to(known.device)
    inner = PGD(Linf(config.eps), steps=7, keep_best=False)

    def perturb(x: Tensor, y: Tensor) -> Tensor:
        return inner(net, x, y)

    change = perturb if config.robust else None
    student = Distillation(net, [teacher], DistillationConfig(weight_decay=0.0), change)
    fit(student, known, config, seed, "distillation")
    return net


def compress(dense: nn.Module, known: Images, config: Config, seed: int) -> dict[str, nn.Module]:
    """`dense` and what each way to make it small leaves of it, fine-tuned, by name; in eval mode, ready to be saved."""
    sparsity, bits = LENET300
    tune = tuner(known, config, seed)
    sparse = pruned(dense, sparsity, config.rounds, tune)
    narrow = prune_neurons(dense, 0.5)
    tune(narrow, 0.4, "half the neurons")
    low_rank = factorise(dense, 0.8)  # of the energy of each layer's spectrum
    tune(low_rank, 0.4, "low rank")
    four_bits = plain_copy(dense)
    quantise_uniformly(four_bits, 4)
    tune(four_bits, 0.1, "four bits")
    networks = {
        DENSE: dense,
        "pruned": sparse,
        SHARED: shared(sparse, bits, tune),
        "half the neurons": narrow,
        "low rank": low_rank,
        "four bits": four_bits,
    }
    return {name: plain_copy(net).eval() for name, net in networks.items()}


def tuner(known: Images, config: Config, seed: int) -> Train:
    """Fine-tunes a network at a factor of the teacher's learning rate; with --robust by adversarial training."""

    def tune(net: nn.Module, factor: float, title: str) -> None:
        lr = config.teacher.learning_rate * factor
        method: Classifier
        if config.robust:
            method = AdversarialTraining(net, AdversarialTrainingConfig(eps=config.eps, lr=lr))
        else:
            method = FineTuning(net, ClassifierConfig(lr=lr))
        fit(method, known, config, seed, title)

    return tune


def fit(method: Classifier, known: Images, config: Config, seed: int, title: str) -> None:
    options = genlab.TrainOptions(config.images, seed=seed, schedule="cosine")
    genlab.fit(method, Stream(known, 64, seed=seed), options, title=f"{seed}: {title}")


def attack(
    networks: dict[str, nn.Module],
    known: Images,
    test: Images,
    config: Config,
    measured: dict[str, dict[str, list[float]]],
) -> list[str]:
    """Adds the success of every attack on every network, in %, to `measured` (0 where no image was right); returns the
    warnings of the evaluator."""
    ball = Linf(config.eps)
    gradient = {"FGSM": FGSM(ball), "PGD": PGD(ball, steps=20)}
    universal = UniversalGradient(ball, images=max(1, config.images // 4)).prepare(networks[DENSE], known)
    itself = evaluate(networks, {**gradient, "universal": universal}, test.x, test.labels)
    others = {name: DENSE for name in networks if name != DENSE}
    transferred = evaluate(networks, {"PGD": gradient["PGD"]}, test.x, test.labels, sources=others)
    for found, suffix in ((itself, ""), (transferred, " for dense")):
        for row in found.rows:
            measured[row.model].setdefault(f"{row.attack}{suffix}, %", []).append(100 * (row.success.value or 0.0))
    return itself.warnings + transferred.warnings


def over_seeds(figures: dict[str, list[float]]) -> dict[str, float]:
    """The mean of every figure, and its standard deviation as "FIGURE (sd)"."""
    found = {}
    for name, values in figures.items():
        found[name], found[f"{name} (sd)"] = spread(values)
    return found


def message(rows: list[dict[str, Any]]) -> str:
    by = {row["network"]: row for row in rows}
    dense, shared = by[DENSE], by[SHARED]
    return (
        f"Pruned and with shared weights the network has {shared['bytes'] / dense['bytes']:.1%} of the bytes and "
        f"{shared['error, %']:.1f} % error (dense {dense['error, %']:.1f}, teacher {by[TEACHER]['error, %']:.1f}); PGD "
        f"fools it on {shared['PGD, %']:.0f} % (dense {dense['PGD, %']:.0f}), images made for the dense one on "
        f"{shared['PGD for dense, %']:.0f} %."
    )


def panels(rows: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Error and success of PGD against bytes, of every network."""
    labels = {"error, %": "error, %", "PGD, %": "success of PGD, %"}
    return {
        ("bytes of the file", label): {
            row["network"]: (row["bytes"], row[figure], row[f"{figure} (sd)"]) for row in rows
        }
        for figure, label in labels.items()
    }


def shown(row: dict[str, Any]) -> list[Any]:
    """One network as a row of the page."""
    return [row["network"], round(row["bytes"]), *(with_deviation(row[each], row[f"{each} (sd)"]) for each in COLUMNS)]


if __name__ == "__main__":
    start(main, Config)
