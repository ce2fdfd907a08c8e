"""`genlab attack RUN`: how often are the classifier's right answers turned wrong, with and without defences?"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from attacks.plugin import BALLS, attack, defence, shields
from genlab.core.ranges import Count, OutOfRange
from genlab.core.registry import resolve


@dataclass(frozen=True)
class Options:
    """Attacks the classifier of a run on its held-out images.

    Prints a table; writes attack.json, attack.html and a picture (originals, adversarial, difference x 50) into the
    run. A defence stands in the table twice: under images crafted on the undefended model, and `adaptive`, under images
    made through the defence.
    """

    run: tyro.conf.Positional[Path]
    """run directory of a classifier"""
    attacks: str = "fgsm,ifgsm,pgd"
    """comma-separated names; `genlab list` tells all; with options as in pgd:steps=100:restarts=10"""
    eps: str = "0.05,0.1,0.2"
    """comma-separated sizes of the perturbation, in pixels of [0, 1]; also as in 8/255"""
    norm: Literal["linf", "l2"] = "linf"
    """how the size is measured"""
    defence: str = "none"
    """comma-separated names, with options as in median:k=5; median+bits is one filter after the other"""
    n: Count = 1000
    """how many images to attack"""


def main(arguments: list[str]) -> None:
    from genlab.cli.options import parse

    options = parse(Options, "attack", arguments)
    names, behind = words("--attacks", options.attacks), words("--defence", options.defence)
    for shield in behind:
        shields(shield)
    sizes = sorted(size(word, options.norm) for word in words("--eps", options.eps))

    from torch import nn

    import genlab
    from attacks.defences import line_up
    from attacks.defences.verdict import table, to_json, verdicts
    from attacks.evaluation.evaluate import evaluate
    from attacks.evaluation.report import add, progress, triptych
    from genlab.core.files import write_all, write_atomically
    from genlab.core.text import Console
    from genlab.experiment import data_of, shape_of

    chosen = {name: attack(name, sizes[0], options.norm) for name in names}
    for shield in behind:
        defence(shield, nn.Identity())  # what it does not take is said before the model is loaded
    run = genlab.Run(options.run)
    for shield in behind:
        fits(shield, shape_of(run))
    model = genlab.load(run)
    if type(model).forward is nn.Module.forward:  # the method is no map from images to logits
        raise ValueError(f"{options.run} holds a {type(model).__name__}, not a classifier: there is nothing to fool")
    data = data_of(run)
    train, test = data.load("train"), data.load("test")
    test = test.subset(slice(0, options.n))
    models, sources = line_up(model, {name: defence(name, model) for name in behind})
    with progress() as tell:
        found = evaluate(models, chosen, test.x, test.labels, eps=sizes, sources=sources, data=train, progress=tell)
    Console().print(found.table())
    if worth := verdicts(found):
        Console().print(table(worth))
    for sentence in found.warnings:
        Console().print(f"warning: {sentence}")
    page = add(genlab.Report(f"{run.path.name} under attack"), found)
    files: dict[Path, Callable[[Path], object]] = {
        run.path / "attack.json": lambda path: write_atomically(path, json.dumps(to_json(found), indent=1).encode()),
        run.path / "attack.html": page.save,
    }
    if found.examples:  # none if every attack failed
        example = found.examples[min(len(sizes) - 1, len(found.examples) - 1) // 2]
        picture = lambda path: genlab.save_grid(triptych(example), path, columns=len(example.x))
        files[run.path / "attack.png"] = picture
    with run.results_lock():
        write_all(files)


def fits(shield: str, shape: tuple[int, int, int]) -> None:
    """Raises ValueError if defence `shield` cannot look at images of `shape` (C, H, W)."""
    import torch

    try:
        defence(shield, torch.nn.Identity())(torch.zeros(1, *shape))
    except ValueError as error:
        raise ValueError(f"--defence {shield!r}: {error}") from None


def words(option: str, text: str) -> list[str]:
    """What `text`, the value of `option`, lists between commas; every word once."""
    found = [word.strip() for word in text.split(",") if word.strip()]
    if not found:
        raise ValueError(f"{option} must be a comma-separated list, got {text!r}")
    return list(dict.fromkeys(found))


def size(word: str, norm: str) -> float:
    """The eps that `word` tells, as in 0.1 or 8/255, if a ball of that norm may have it."""
    top, slash, bottom = word.partition("/")
    try:
        eps = float(top) / float(bottom) if slash else float(top)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"--eps must be numbers as in 0.1 or 8/255, got {word!r}") from None
    try:
        return resolve(BALLS[norm][0])(eps).eps
    except OutOfRange as error:
        raise ValueError(f"--eps {error.text}") from None
