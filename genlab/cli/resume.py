"""`genlab resume RUN`: goes on with the training of a run, with its own options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from genlab.cli.options import parse
from genlab.cli.train import Device, Epochs, Log, check_length
from genlab.core.ranges import Length
from genlab.core.text import one_line


@dataclass(frozen=True)
class Resume:
    """Goes on with the training of a run, with its own options: after an interruption, or longer than before.

    A learning-rate schedule then spans the new length.
    """

    run: tyro.conf.Positional[Path]
    """run directory"""
    images: Length | None = None
    """new length of training, in images, from its start; none: that of the run"""
    epochs: Epochs = None
    device: Device = None
    log: Log = ()


def resume(arguments: list[str]) -> None:
    options = parse(Resume, "resume", arguments)
    check_length(options.epochs, arguments)
    from genlab.core import distributed
    from genlab.experiment import Experiment
    from genlab.run import Run

    run = Run(options.run)
    new = {} if options.images is None else {"images": options.images}
    with distributed.on(options.device):
        experiment = Experiment.of(run, **new, epochs=options.epochs)
        so_far, length = run.seen(), experiment.training.images
        if so_far >= length:
            told = f"{run.path} has seen {so_far:,} images, and the length of its training is {length:,}"
            raise ValueError(f"{told}: give --images above that")
        print(f"resuming {one_line(run.path)} after {so_far:,} of {length:,} images")
        experiment.run(run.path, log=options.log)
    print(f"done: {one_line(run.path / 'report.html')}")
