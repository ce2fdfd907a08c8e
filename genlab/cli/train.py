"""`genlab train METHOD`: trains a method, or resumes a run. Imports torch only when a method is trained."""

from __future__ import annotations

from dataclasses import field, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from genlab.cli.options import names, parse, value_of
from genlab.core.outputs import check_folder
from genlab.core.ranges import Positive
from genlab.core.registry import choose, resolve
from genlab.core.text import Console, one_line
from genlab.plugins import methods

Device = Annotated[str | None, tyro.conf.arg(help="cpu, cuda, cuda:1, mps; none: a GPU if there is one")]
Log = Annotated[tuple[str, ...], tyro.conf.arg(help="logs beside the run's files: tensorboard, wandb, trackio")]
Epochs = Annotated[Positive | None, tyro.conf.arg(help="length of training in epochs, instead of --images")]
OPTIONS: list[Any] = [  # name, type, default; besides those of the method, the data and the training
    ("out", Annotated[Path | None, tyro.conf.arg(help="run directory; none: runs/METHOD-DATA")], None),
    ("config", Annotated[Path | None, tyro.conf.arg(help="start from the options in a run's config.json")], None),
    ("epochs", Epochs, None),
    ("device", Device, None),
    ("log", Log, ()),
    ("dry_run", Annotated[bool, tyro.conf.arg(help="take two steps of everything, and keep nothing")], False),
]


def train(arguments: list[str]) -> None:
    known = methods()
    if not arguments or arguments[0] in ("-h", "--help"):
        Console().print(names("usage: genlab train METHOD [options]", {n: text for n, (_, text) in known.items()}))
        return
    name = choose(arguments[0], known, "method")
    method = resolve(known[name][0])
    from genlab.core import distributed
    from genlab.data.options import DataOptions
    from genlab.experiment import Experiment

    config, data, training = method(), DataOptions(), method.training
    if (saved := value_of("--config", arguments)) is not None:
        experiment = Experiment.of(saved)
        if type(experiment.method) is not method:
            raise ValueError(f"--config {saved} is not of the method {name}")
        config, data, training = experiment.method, experiment.data, experiment.training
    fields: list[Any] = [
        ("method", method, field(default=config)),
        ("data", DataOptions, field(default=data)),
        ("training", type(method.training), field(default=training)),
        *OPTIONS,
    ]
    kind = make_dataclass("Train", fields)
    kind.__doc__ = method.__doc__
    options = parse(kind, f"train {name}", arguments[1:])
    check_length(options.epochs, arguments)
    if options.out is not None:
        check_folder(options.out)
    plain = "".join(c if c.isalnum() else "-" for c in options.data.data)
    out = options.out or Path("runs") / f"{name}-{plain}"
    with distributed.on(options.device):
        experiment = Experiment(options.method, options.data, epochs=options.epochs, **vars(options.training))
        if options.dry_run:
            experiment.dry_run()
            print("dry run: two steps of training, samples, checkpoint, metrics and report work; nothing was kept")
            return
        experiment.run(out, log=options.log)
    print(f"done: {one_line(out / 'report.html')}")


def check_length(epochs: float | None, arguments: list[str]) -> None:
    """
    Raises:
        ValueError: both lengths are given.
    """
    if epochs is not None and value_of("--images", arguments) is not None:
        raise ValueError("--epochs and --images are both the length of training: give one of them")
