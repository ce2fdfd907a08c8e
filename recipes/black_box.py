"""Black boxes: what transfers between five architectures, surrogates of a target, and attacks that only ask questions.

python recipes/black_box.py [--data mnist --data-root DIR --images 100000]
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import genlab
from attacks import MIFGSM, NES, SPSA, HopSkipJump, HopSkipJumpLinf, Linf, Square, Surrogate, Transfer
from attacks.evaluation.evaluate import evaluate
from attacks.evaluation.report import add_evaluation
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Eps, Length, NonEmpty, Range, Seed
from genlab.core.text import Console
from genlab.experiment import check_all
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.nets.classifiers import NETWORKS
from genlab.reporting.plots import curves


@dataclass(frozen=True)
class Config:
    """Transfer, surrogates and query attacks on held-out images."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    images: Length = 15_000
    """length of each training"""
    eps: Eps = 0.2
    """size of the perturbation, in pixels of [0, 1]"""
    queries: NonEmpty[Annotated[int, Range(20, 10**9)]] = (100, 300, 1000)
    """budgets per image"""
    attacked: Annotated[int, Range(4, 10**9)] = 200
    """held-out images for transfer; a quarter of them for the query attacks"""
    out: Path = Path("runs/black-box")
    """folder of the runs and the report"""
    seed: Seed = 0


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    ball, options = Linf(config.eps), genlab.TrainOptions(config.images, seed=config.seed, schedule="cosine")
    asking: Any = {f"{kind.__name__} {n}": kind(ball, queries=n, **({} if kind is Square else {"samples": 10}))
              for kind in (Square, SPSA, NES) for n in config.queries}  # fmt: skip
    asking |= {f"{k.__name__} {n}": k(queries=n) for k in (HopSkipJump, HopSkipJumpLinf) for n in config.queries}
    plan = {net: genlab.Experiment(ClassifierConfig(net=net), data, **vars(options)) for net in NETWORKS}
    check_all(plan.values())
    models: dict[str, Any] = {net: each.run(config.out / f"{net}-{config.seed}") for net, each in plan.items()}
    twin = replace(options, seed=config.seed + 1)  # the same architectures, other random numbers
    twins: dict[str, Any] = {
        net: genlab.Experiment(each.method, data, **vars(twin)).run(config.out / f"{net}-{twin.seed}")
        for net, each in plan.items()
    }
    train, test = data.load("train"), data.load("test").subset(slice(0, config.attacked))
    x, y, few, inner = test.x, test.labels, config.attacked // 4, MIFGSM(ball, steps=10)
    made = evaluate(models, {net: Transfer(inner, twin) for net, twin in twins.items()}, x, y).rows
    transfer = [[net, *(r.success.value for r in made if r.attack == net)] for net in twins]
    page = genlab.Report(f"Black boxes on {config.data}").section("Transfer of MI-FGSM")
    page.text(f"Rows: source model; columns: target model; eps {ball.eps}.")
    page.table(["source model", *models], transfer)
    kinds: Any = {f"{net} from {how}": Surrogate(inner, plan[net].method.build, how, images=config.images,
                                                 seed=config.seed + 2)
                  for net in ("cnn", "mlp") for how in ("data", "queries")}  # fmt: skip
    surrogates = [[r.attack, r.success.value] for r in evaluate({"cnn": models["cnn"]}, kinds, x, y, data=train).rows]
    page.section("Proxies of the cnn").table(["surrogate", "success"], surrogates)
    found = evaluate({"cnn": models["cnn"]}, asking, x[:few], y[:few])
    rates = {r.attack: r.success.value or 0 for r in found.rows}
    lines = {k: (config.queries, [rates[f"{k} {n}"] for n in config.queries]) for k in ("Square", "SPSA", "NES")}
    page.section("Success against queries").picture(curves(lines, x="queries at most", y="success", limits=(0, 1)))
    Console().print(found.table())
    print(*transfer, *surrogates, sep="\n")
    results = {**found.to_json(), "transfer": transfer, "surrogates": surrogates}
    write_atomically(config.out / "results.json", json.dumps(results, indent=1).encode())
    print(f"report {add_evaluation(page, found).save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
