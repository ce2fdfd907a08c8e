"""Holds command lines, as they stand in documents, against the real parsers; nothing is run."""

import shlex
import sys
from dataclasses import fields
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from attacks import plugin
from attacks.cli import Options as Attack
from attacks.cli import comma_separated
from genlab.cli.evaluate import Evaluate
from genlab.cli.export import Export
from genlab.cli.main import main
from genlab.cli.options import parse
from genlab.cli.report import MakeReport
from genlab.cli.resume import Resume
from genlab.cli.sample import Sample
from genlab.cli.train import OPTIONS
from genlab.cli.translate import Translate
from genlab.core.registry import resolve
from genlab.data.augment import Augment
from genlab.data.options import DataOptions
from genlab.experiment import Experiment
from genlab.plugins import methods
from genlab.training.method import TrainOptions

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "sample": Sample,
    "evaluate": Evaluate,
    "translate": Translate,
    "report": MakeReport,
    "resume": Resume,
    "export": Export,
    "attack": Attack,
}


@cache
def options_of(recipe):
    """The dataclass of the options of recipes/NAME.py."""
    spec = spec_from_file_location(f"recipes.{Path(recipe).stem}", ROOT / recipe)
    sys.modules[spec.name] = module = module_from_spec(spec)  # where annotations are looked up
    spec.loader.exec_module(module)
    return module.Config


def check_line(line, monkeypatch):
    """Fails unless `line`, of `genlab` or of a recipe, has names, options and values that exist."""
    program, *words = shlex.split(line)
    if program == "python":
        parse(options_of(words[0]), None, words[1:])
    elif words[0] == "train":
        monkeypatch.setattr(Experiment, "run", lambda experiment, out, **how: None)
        assert main(words) == 0
    else:
        options = parse(COMMANDS[words[0]], words[0], words[1:])
        if words[0] == "attack":
            assert all(plugin.attack(name, eps=0.1) for name in comma_separated("--attacks", options.attacks))
            assert all(plugin.parse_defences(name) for name in comma_separated("--defence", options.defence))


@cache
def every_option():
    """The options of all commands, methods and recipes."""
    kinds = [*COMMANDS.values(), TrainOptions, DataOptions, Augment, *(resolve(path) for path, _ in methods().values())]
    kinds += [options_of(path.relative_to(ROOT)) for path in (ROOT / "recipes").glob("*.py")]
    found = [field.name for kind in kinds for field in fields(kind)] + [name for name, _, _ in OPTIONS]
    names = {name.replace("_", "-") for name in found}
    return {"--help", "--plugin", *(f"--{name}" for name in names), *(f"--no-{name}" for name in names)}
