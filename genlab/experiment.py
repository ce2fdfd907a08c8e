"""An experiment is a method, its data and how it is trained; it runs in a run directory, from which `load` reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import torch

from genlab import distributed, memory
from genlab.batch import check_batch
from genlab.data import Augment, Stream
from genlab.data import load as load_data
from genlab.grid import save_grid
from genlab.ranges import Side, check
from genlab.report import Report
from genlab.run import Run, RunError
from genlab.train import Config, Hook, Method, Options, fit


@dataclass(frozen=True)
class DataOptions:
    """Which images."""

    data: str = "digits"
    """digits, glyphs, sprites, mnist, ..., folder:PATH or unpaired:A,B; `genlab list` names all"""
    size: Side | None = None
    """height and width in pixels; none: the set's own"""
    channels: Literal[1, 3] | None = None
    """1 (grey) or 3 (colour); none: the set's own"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    augment: Augment = field(default_factory=Augment)
    """random changes to every training image"""

    def __post_init__(self) -> None:
        check(self)

    def load(self, split: str = "train", device: torch.device | str | None = None) -> Any:
        """The images of one split, on `device`; none: where this process works, as with everything trained."""
        device = device or distributed.device()
        return load_data(self.data, split, size=self.size, channels=self.channels, root=self.data_root, device=device)


@dataclass(frozen=True)
class Experiment:
    """All that defines a training run; `options` is what config.json keeps of it."""

    method: Config
    data: DataOptions = DataOptions()
    training: Options = Options()

    def options(self) -> dict[str, Any]:
        """Plain values, as JSON has them; paths are text."""
        kind = type(self.method)
        values = {"options": asdict(self.method), "data": asdict(self.data), "training": asdict(self.training)}
        return {"method": f"{kind.__module__}:{kind.__qualname__}", **json.loads(json.dumps(values, default=str))}

    def run(self, out: str | Path, hooks: Sequence[tuple[int, Hook]] = (), pictures: int = 8) -> Method:
        """Trains in the run directory `out`, or continues there; returns the trained method in eval mode.

        Held-out figures go to results.json, pictures to samples/ (so many times during training, and at the end), and
        report.html shows them. Under `torchrun`, all processes call this together.
        """
        with distributed.group() as device:
            training = self.training
            with distributed.first_rank_first():  # it may have to download
                data, test = (self.data.load(split, device) for split in ("train", "test"))
            classes = len(getattr(data, "classes", ()))
            memory.check_training(self.method, data.shape, classes, training, device)
            torch.manual_seed(training.seed)
            method = self.method.build(data.shape, classes).to(device)
            check_batch(method, training.batch, distributed.world_size())
            first = distributed.rank() == 0
            stream = Stream(
                data,
                training.batch,
                seed=training.seed,
                augment=self.data.augment,
                rank=distributed.rank(),
                world=distributed.world_size(),
            )
            about = {**self.options(), "shape": list(data.shape), "classes": classes}
            run = Run.create(out, about, may_differ=FREE) if first else None  # from here on there are files
            run = distributed.broadcast_object(run)

            def picture(images: int, method: Method) -> None:
                with torch.random.fork_rng():
                    torch.manual_seed(training.seed)  # the same latents at every moment
                    for name, batch in method.pictures(test).items():
                        save_grid(batch, run.file("samples", f"{name}-{images:09d}.png"))

            every = max(1, training.images // max(1, pictures))
            method = fit(
                method, stream, training, run=run, hooks=[(every, picture), *hooks], title=f"training {run.path}"
            )
            if first:
                with torch.random.fork_rng():
                    torch.manual_seed(training.seed)
                    run.add_results(**method.evaluate(test))
                title = f"{run.path.name}: {type(method).__name__} on {self.data.data}"
                Report(title).run(run).save(run.file("report.html"))
            return method


def check_all(experiments: Iterable[Experiment]) -> None:
    """Refuses what `run` would refuse before it trains: data, networks, memory. Nothing is written.

    For who trains several, and should hear of the last one's faults before the first one is trained.

    Raises:
        ValueError: as `run`.
    """
    sets: dict[DataOptions, Any] = {}
    for each in experiments:
        data = sets[each.data] = sets.get(each.data) or each.data.load()
        classes = len(getattr(data, "classes", ()))
        memory.check_training(each.method, data.shape, classes, each.training, distributed.device())


FREE = ("training.images", "training.save_every", "training.log_every", "data.data_root")  # may change on resume


def load(run: str | Path | Run, device: torch.device | str | None = None) -> Method:
    """The method that was trained in `run`, in eval mode, without gradients; its weight average if it has one.

    device: none: where this process works, a GPU if there is one.

    Raises:
        RunError: no run there, nothing trained yet, or its method is not installed.
        CheckpointError: every checkpoint is damaged.
    """
    run = run if isinstance(run, Run) else Run(run)
    about = run.experiment
    method = config_of(run).build(tuple(about["shape"]), about["classes"])
    state = run.checkpoints.load()
    if state is None:
        raise RunError(f"{run.path} has no checkpoint yet: train it first")
    weights = state["method"]
    if "average" in state:
        weights = {name.removeprefix("method."): value for name, value in state["average"].items()}
    method.load_state_dict(weights)
    return method.to(device or distributed.device()).eval().requires_grad_(False)


def config_of(run: Run) -> Config:
    """The options of the method of `run`, as they were."""
    module, _, name = str(run.experiment.get("method")).partition(":")
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RunError(f"{run.path} was trained by {module}:{name}, which cannot be imported here: {error}") from None
    if not (isinstance(kind, type) and issubclass(kind, Config)):
        raise RunError(f"{run.path} names {module}:{name} as its method, which is not one")
    return kind(**run.experiment["options"])


def data_of(run: Run) -> DataOptions:
    """The data of `run`, as they were."""
    options = dict(run.experiment["data"])
    root = options.pop("data_root")
    return DataOptions(**{**options, "augment": Augment(**options["augment"])}, data_root=Path(root) if root else None)
