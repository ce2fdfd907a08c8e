"""Black-box attacks: surrogates of a target, and attacks that query the target.

Surrogates: networks that the attacker trains on own labels, or on the target's answers. Queries: score-based attacks
(Square, SPSA, NES), which need logits, and decision-based ones (HopSkipJump), which need classes only, by number of
queries.

python recipes/black_box.py                                      # scikit-learn's digits, minutes on one core
python recipes/black_box.py --data mnist --data-root DIR --images 100000
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import genlab
from attacks import MIFGSM, NES, SPSA, HopSkipJump, HopSkipJumpLinf, Linf, Square, Surrogate
from attacks.core.model import Attack
from attacks.evaluation.evaluate import evaluate
from attacks.evaluation.report import add_evaluation
from attacks.evaluation.results import Row
from genlab.cli.main import start
from genlab.core.ranges import Eps, Length, NonEmpty, Range, Seed
from genlab.data import Images
from genlab.methods.classification.classifier import ClassifierConfig, NetName
from genlab.reporting.finish import finish, records
from genlab.reporting.plots import curves

SURROGATES = ("cnn", "mlp")  # architectures
SCORE_BASED: dict[str, Any] = {"Square": Square, "SPSA": partial(SPSA, samples=10), "NES": partial(NES, samples=10)}
DECISION_BASED: dict[str, Any] = {"HopSkipJump": HopSkipJump, "HopSkipJumpLinf": HopSkipJumpLinf}  # these have no ball


@dataclass(frozen=True)
class Config:
    """Surrogates and query attacks on held-out images."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    net: NetName = "cnn"
    """architecture of the target"""
    images: Length = 15_000
    """length of each training"""
    eps: Eps = 0.2
    """L-infinity radius of the attacks that stay within a ball, in pixels of [0, 1]"""
    queries: NonEmpty[Annotated[int, Range(22, 10**9)]] = (100, 300, 1000)
    """budgets per image"""
    attacked: Annotated[int, Range(4, 10**9)] = 200
    """held-out images for surrogates; a quarter of them for the query attacks"""
    out: Path = Path("runs/black-box")
    """folder of the runs and the report"""
    seed: Seed = 0
    """of the target; surrogates have the next one"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    experiment = genlab.Experiment(ClassifierConfig(config.net), data, images=config.images, seed=config.seed)
    target = experiment.run(config.out / f"{config.net}-{config.seed}")
    test = data.load("test").subset(slice(0, config.attacked))
    few = test.subset(slice(0, config.attacked // 4))

    page = genlab.Report(f"Black-box attacks on {config.data}")
    queries = query_attacks(config, target, few, page)
    results = {"surrogates": surrogates(config, target, data.load("train"), test, page), **queries}
    finish(config.out, page, results)


def inner(config: Config) -> Attack:
    """The attack on the surrogates."""
    return MIFGSM(Linf(config.eps), steps=10)


def surrogates(config: Config, target: Any, train: Images, test: Images, page: genlab.Report) -> list[dict[str, Any]]:
    """Success of MI-FGSM through surrogates, by their architecture and by what they learn from."""
    kinds = {f"{net} from {learns}": (net, learns) for net in SURROGATES for learns in ("data", "queries")}
    attacks = {name: surrogate(config, net, learns) for name, (net, learns) in kinds.items()}
    found = evaluate({config.net: target}, attacks, test.x, test.labels, data=train).rows
    success = {row.attack: row.success.value for row in found}
    header = ["surrogate", "learns from", "success"]
    rows = [[net, learns, success[name]] for name, (net, learns) in kinds.items()]
    text = f"Trained on the attacker's labels (data) or on the answers of the {config.net} (queries)."
    page.section(f"Surrogates of the {config.net}", text).table(header, rows)
    return records(header, rows)


def surrogate(config: Config, net: Any, learns: Any) -> Surrogate:
    build = ClassifierConfig(net).build
    return Surrogate(inner(config), build, learns, images=config.images, seed=config.seed + 1)


def query_attacks(config: Config, target: Any, test: Images, page: genlab.Report) -> dict[str, Any]:
    """Score-based and decision-based attacks at every budget: a row for each, and all that `evaluate` found."""
    pairs = list(product(SCORE_BASED | DECISION_BASED, config.queries))
    attacks = {label(kind, queries): query_attack(kind, queries, config.eps) for kind, queries in pairs}
    found = evaluate({config.net: target}, attacks, test.x, test.labels)
    measured = {row.attack: row for row in found.rows}
    rows = [query_row(kind, queries, measured[label(kind, queries)]) for kind, queries in pairs]

    best = max((row for row in rows if row["attack"] in SCORE_BASED), key=lambda row: row["success"] or 0.0)
    page.section(
        f"Success by the number of queries to the {config.net}",
        f"{best['attack']}, which sees logits, fools {best['success'] or 0:.0%} of the images at eps {config.eps} with "
        f"{best['queries']:,} queries each.",
    )
    lines = {
        kind: (config.queries, [row["success"] or 0.0 for row in rows if row["attack"] == kind]) for kind in SCORE_BASED
    }
    page.picture(curves(lines, x="queries at most", y="success", limits=(0, 1)))
    page.table(list(rows[0]), (row.values() for row in rows))
    add_evaluation(page, found)
    return {"queries": rows, **found.to_json()}


def query_attack(kind: str, queries: int, eps: float) -> Attack:
    if kind in SCORE_BASED:
        return SCORE_BASED[kind](Linf(eps), queries=queries)
    return DECISION_BASED[kind](queries=queries)


def query_row(kind: str, queries: int, found: Row) -> dict[str, Any]:
    sizes = {"L-infinity median": found.linf.median, "L2 median": found.l2.median}
    return {"attack": kind, "queries": queries, "success": found.success.value, **sizes}


def label(kind: str, queries: int) -> str:
    return f"{kind}, {queries} queries"


if __name__ == "__main__":
    start(main, Config)
