"""`genlab attack RUN`: attack success rates on a trained classifier, with and without defences."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from attacks.plugin import BALLS, attack, defence, parse_defences
from genlab.core.ranges import Count, OutOfRange
from genlab.core.registry import resolve


@dataclass(frozen=True)
class Options:
    """Attacks the classifier of a run on its held-out images.

    Prints a table; writes attack.json, attack.html and attack.png (originals, adversarial examples, difference x 50)
    into the run. Each defence is evaluated twice: NAME, under the oblivious attack (crafted on the undefended model),
    and `NAME, adaptive`, under the adaptive attack (crafted on the defended model).
    """

    run: tyro.conf.Positional[Path]
    """run directory of a classifier"""
    attacks: str = "fgsm,ifgsm,pgd"
    """comma-separated names (see `genlab list`), with options as in pgd:steps=100:restarts=10"""
    eps: str = "0.05,0.1,0.2"
    """comma-separated perturbation sizes, in pixels of [0, 1], as in 0.1 or 8/255"""
    norm: Literal["linf", "l2"] = "linf"
    """norm of the perturbation"""
    defence: str = "none"
    """comma-separated names (see `genlab list`), with options as in median:k=5; median+bits: median, then bits"""
    n: Count = 1000
    """number of held-out images to attack"""


def main(arguments: list[str]) -> None:
    from genlab.cli.options import parse

    options = parse(Options, "attack", arguments)
    names = comma_separated("--attacks", options.attacks)
    defences = comma_separated("--defence", options.defence)
    for name in defences:
        parse_defences(name)
    sizes = sorted(parse_eps(word, options.norm) for word in comma_separated("--eps", options.eps))

    from torch import nn

    import genlab
    from attacks.evaluation.evaluate import evaluate
    from attacks.evaluation.report import add_evaluation, progress, triptych
    from attacks.evaluation.verdict import models_and_sources, table, to_json, verdicts
    from genlab.core.files import write_all, write_atomically
    from genlab.core.text import Console
    from genlab.experiment import data_of, shape_of

    chosen = {name: attack(name, sizes[0], options.norm) for name in names}
    for name in defences:
        defence(name, nn.Identity())  # checks its options before the model is loaded
    run = genlab.Run(options.run)
    for name in defences:
        check_shape(name, shape_of(run))
    model = genlab.load(run)
    if type(model).forward is nn.Module.forward:  # the method does not map images to logits
        raise ValueError(f"{options.run} holds a {type(model).__name__}, not a classifier")
    data = data_of(run)
    train, test = data.load("train"), data.load("test")
    test = test.subset(slice(0, options.n))
    models, sources = models_and_sources(model, {name: defence(name, model) for name in defences})
    with progress() as shown:
        found = evaluate(models, chosen, test.x, test.labels, eps=sizes, sources=sources, data=train, options=shown)
    Console().print(found.table())
    if rows := verdicts(found):
        Console().print(table(rows))
    for warning in found.warnings:
        Console().print(f"warning: {warning}")
    page = add_evaluation(genlab.Report(f"{run.path.name} under attack"), found)
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


def check_shape(name: str, shape: tuple[int, int, int]) -> None:
    """Raises ValueError if defence `name` does not support images of `shape` (C, H, W)."""
    import torch

    try:
        defence(name, torch.nn.Identity())(torch.zeros(1, *shape))
    except ValueError as error:
        raise ValueError(f"--defence {name!r}: {error}") from None


def comma_separated(option: str, text: str) -> list[str]:
    """The distinct words of a comma-separated list, the value of `option`. Raises ValueError if there are none."""
    found = [word.strip() for word in text.split(",") if word.strip()]
    if not found:
        raise ValueError(f"{option} must be a comma-separated list, got {text!r}")
    return list(dict.fromkeys(found))


def parse_eps(word: str, norm: str) -> float:
    """eps from text such as 0.1 or 8/255. Raises ValueError if it is no number or out of the range of the norm."""
    top, slash, bottom = word.partition("/")
    try:
        eps = float(top) / float(bottom) if slash else float(top)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"--eps must be numbers as in 0.1 or 8/255, got {word!r}") from None
    try:
        return resolve(BALLS[norm][0])(eps).eps
    except OutOfRange as error:
        raise ValueError(f"--eps {error.text}") from None
