"""`genlab train METHOD`: trains a method, or resumes a run. Imports torch only when a method is trained."""

from __future__ import annotations

from dataclasses import field, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from genlab.cli.options import names, parse
from genlab.core.outputs import check_folder
from genlab.core.registry import choose, resolve
from genlab.core.text import Console, one_line
from genlab.plugins import methods


def train(arguments: list[str]) -> None:
    known = methods()
    if not arguments or arguments[0] in ("-h", "--help"):
        Console().print(names("usage: genlab train METHOD [options]", {n: text for n, (_, text) in known.items()}))
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
    Experiment(options.method, options.data, **vars(options.training)).run(out)
    print(f"done: {one_line(out / 'report.html')}")
