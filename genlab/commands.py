"""What `genlab train`, `sample`, `report` and `list` do. torch is imported only when a command is really run."""

from __future__ import annotations

from dataclasses import dataclass, field, make_dataclass
from functools import partial
from inspect import signature
from math import prod
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.table import Table
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from genlab.cli import gather
from genlab.names import choose, resolve
from genlab.outputs import check_file, check_folder
from genlab.ranges import OutOfRange, Positive, Range, Seed, check, deferred
from genlab.text import Console, one_line

NUMBERS = ConstructorRegistry()


@NUMBERS.primitive_rule
def _number(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """A word that is no number is kept, for `check` to refuse in the words of the option's range."""
    if info.type not in (int, float):
        return None

    def read(words: list[str]) -> Any:
        try:
            return info.type(words[0])
        except ValueError:
            return words[0]

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=info.type.__name__.upper(),
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, int | float),
        str_from_instance=lambda value: [str(value)],
    )


def parse(kind: Any, command: str | None, arguments: list[str]) -> Any:
    """Options of dataclass `kind` from the command line; tyro prints help and suggestions, and exits with status 2.

    `command` is that of `genlab`; none: a script of its own.

    Raises:
        ValueError: a value is out of its range, or several do not go together.
    """
    name = None if command is None else f"genlab {command}"
    with deferred():
        options = tyro.cli(kind, prog=name, args=arguments, config=(tyro.conf.OmitArgPrefixes,), registry=NUMBERS)
    try:
        check(options)
    except OutOfRange as error:
        raise ValueError(f"--{error.option.replace('_', '-')} {error.text}") from None
    return options


def methods() -> dict[str, tuple[str, str]]:
    from genlab.methods import METHODS

    return gather("METHODS", METHODS)


def train(arguments: list[str]) -> None:
    known = methods()
    if not arguments or arguments[0] in ("-h", "--help"):
        Console().print(_table("usage: genlab train METHOD [options]", {n: text for n, (_, text) in known.items()}))
        return
    name = choose(arguments[0], known, "method")
    method = resolve(known[name][0])
    from genlab.experiment import DataOptions, Experiment

    fields: list[Any] = [
        ("method", method, field(default_factory=method)),
        ("data", DataOptions, field(default_factory=DataOptions)),
        ("training", type(method.training), field(default_factory=lambda: method.training)),
        ("out", Annotated[Path | None, tyro.conf.arg(help="run directory; none: runs/METHOD-DATA")], None),
    ]
    kind = make_dataclass("Train", fields)
    kind.__doc__ = method.__doc__
    options = parse(kind, f"train {name}", arguments[1:])
    if options.out is not None:
        check_folder(options.out)
    plain = "".join(c if c.isalnum() else "-" for c in options.data.data)
    out = options.out or Path("runs") / f"{name}-{plain}"
    Experiment(options.method, options.data, options.training).run(out)
    print(f"done: {one_line(out / 'report.html')}")


@dataclass(frozen=True)
class Sample:
    """Draws images from a trained run into one grid."""

    run: tyro.conf.Positional[Path]
    """run directory"""
    n: Annotated[int, Range(1, 10_000)] = 64
    """number of images"""
    out: Path = Path("grid.png")
    """picture of the grid; its suffix says the format: .png, .jpg, .webp, ..."""
    seed: Seed = 0
    """of the latents"""
    temperature: Positive | None = None
    """below 1: likelier and less varied; for methods that have one (PixelCNN, flows, VQ-VAE)"""


def sample(arguments: list[str]) -> None:
    options = parse(Sample, "sample", arguments)
    check_file(options.out)
    import torch

    from genlab.experiment import load, shape_of
    from genlab.grid import image_format, save_grid
    from genlab.memory import FLOAT, require
    from genlab.run import Run

    image_format(options.out)
    method = load(options.run)
    draw: Any = getattr(method, "sample", None)
    if draw is None:
        raise ValueError(f"{options.run} holds a {type(method).__name__}, which does not generate images")
    if options.temperature is not None:
        if "temperature" not in signature(draw).parameters:
            raise ValueError(f"--temperature {options.temperature}: a {type(method).__name__} has no temperature")
        draw = partial(draw, temperature=options.temperature)
    shape = shape_of(Run(options.run))
    require(options.n * prod(shape) * FLOAT, f"{options.n:,} images {shape}", "--n")
    torch.manual_seed(options.seed)
    with torch.no_grad():
        images = torch.cat([draw(min(256, options.n - i)) for i in range(0, options.n, 256)])
    print(one_line(save_grid(images, options.out)))


@dataclass(frozen=True)
class MakeReport:
    """Writes the HTML report of a run from its files."""

    run: tyro.conf.Positional[Path]
    """run directory"""


def report(arguments: list[str]) -> None:
    options = parse(MakeReport, "report", arguments)
    from genlab.report import Report
    from genlab.run import Run

    run = Run(options.run)
    print(one_line(Report(run.path.name).run(run).save(run.file("report.html"))))


def listing(arguments: list[str]) -> None:
    if arguments in (["-h"], ["--help"]):
        print("usage: genlab list\n\nNames methods, data, attacks and defences.")
        return
    if arguments:
        raise ValueError(f"`genlab list` takes no options, got {' '.join(arguments)!r}")
    from genlab.data import SOURCES

    lists = {"methods": {name: text for name, (_, text) in methods().items()}, "data": SOURCES}
    for title, entries in gather("LISTS", lists).items():
        Console().print(_table(title, entries))


def _table(title: str, entries: dict[str, str]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2))
    for name, text in entries.items():
        table.add_row(name, text)
    return table
