"""An experiment: a method, its data and its training options, run in a run directory."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from genlab.core import distributed, memory
from genlab.core.batch import check_batch
from genlab.core.lock import locked
from genlab.core.outputs import removed_on_failure
from genlab.core.own_code import remember
from genlab.core.ranges import checked
from genlab.core.resolve import fingerprint
from genlab.data import Pair, Stream
from genlab.data.aligned import Aligned
from genlab.data.iterated import Iterated
from genlab.data.kinds import check_kind
from genlab.data.options import DataOptions
from genlab.data.own import OwnData, batch_size
from genlab.data.sources import Split
from genlab.loading import config_of, data_of, training_of
from genlab.reporting.labelled import save_picture
from genlab.reporting.loggers import Logger, check_loggers, open_loggers
from genlab.reporting.report import Report
from genlab.run import REAL, Run
from genlab.training.hooks import EarlyStopping
from genlab.training.loop import fit
from genlab.training.method import Config, Hook, Method, TrainOptions
from genlab.training.update import NonFinite

FEW = 64  # test images of a dry run
MEASUREMENTS = 20  # of the validation metric during training


class Experiment:
    """A training run: method, data and training options; `options()` are stored in config.json.

    `Experiment(GANConfig(), DataOptions("mnist"), images=100_000)` trains with the default training options of the
    method, `GANConfig.training`, except for the number of images.
    """

    def __init__(
        self,
        method: Config,
        data: DataOptions | Any = DataOptions(),
        test: Any = None,
        epochs: float | None = None,
        **training: Any,
    ):
        """
        Args:
            data: options, or the training data themselves: a Dataset, a DataLoader or an iterable of (x, y).
            test: the test data, if `data` are no options; none: a fixed tenth of `data`, which is not trained on.
            epochs: the length of training in passes over the training data, instead of `images`.
            training: fields of TrainOptions; the others default to `method.training`.

        Raises:
            TypeError: TrainOptions has no such field.
            ValueError: a value is out of range.
        """
        known = [field.name for field in fields(TrainOptions)]
        if unknown := [name for name in training if name not in known]:
            raise TypeError(f"{unknown[0]!r} is no option of training; those are {', '.join(known)}")
        if not isinstance(data, DataOptions):
            own = batch_size(data)
            if own is not None and training.setdefault("batch", own) != own:
                raise ValueError(f"batch is {training['batch']}, but the batch size of the DataLoader {own}")
            data = OwnData(data, test, hold_out="best_by" in training)
        elif test is not None:
            raise ValueError("test data can be given with training data alone; DataOptions name both")
        self.data: Any = data
        self.method, self.training = method, replace(method.training, **training)
        if epochs is not None:
            self.training = replace(self.training, images=self._length(epochs))

    def _length(self, epochs: float) -> int:
        """`epochs` passes over the training data, in images."""
        if not 0 < epochs < 1e9:
            raise ValueError(f"epochs must be above 0 and below 1,000,000,000, got {epochs}")
        data = self.data.load("train", "cpu")
        if isinstance(data, Iterated):
            raise ValueError(f"epochs needs data of a known length; {data.name} has none: give images")
        return max(1, round(epochs * len(data)))

    @classmethod
    def of(cls, config: str | Path | Run, **training: Any) -> Experiment:
        """The experiment of a run, or of a saved config.json; `training` changes its TrainOptions.

        Raises:
            RunError: there is none, or an option is invalid.
        """
        if isinstance(config, str | Path) and (path := Path(config)).is_file():
            config = Run(path.parent, path.name)
        elif not isinstance(config, Run):
            config = Run(config)
        method = config_of(config)
        saved = training_of(config, type(method.training))
        return cls(method, data_of(config), **{**vars(saved), **training})

    def dry_run(self) -> None:
        """Two steps of everything, in a temporary directory: training, sample images, checkpoint, resuming, metrics of
        a few test images, report.

        Raises:
            The same as `run`.
        """
        with tempfile.TemporaryDirectory() as folder:
            out, images = Path(folder) / "dry-run", 1  # every training takes at least one step
            for _ in range(2):
                part = copy.copy(self)
                part.data = _Few(self.data, max(FEW, 2 * self.training.batch))
                part.training = replace(self.training, images=images)
                part.run(out)
                images = Run(out).seen() + 1

    def options(self) -> dict[str, Any]:
        """All options as JSON values; paths are strings."""
        kind = type(self.method)
        data = self.data if isinstance(self.data, DataOptions) else DataOptions(data=self.data.data)
        values = {"options": asdict(self.method), "data": asdict(data), "training": asdict(self.training)}
        if code := self.method.own_code():
            values["code"] = {text: fingerprint(text) for text in code}
            remember(values["code"].values())
        return {"method": f"{kind.__module__}:{kind.__qualname__}", **json.loads(json.dumps(values, default=str))}

    @checked
    def run(
        self,
        out: str | Path,
        hooks: Sequence[tuple[int, Hook]] = (),
        pictures: int = 8,
        log: Sequence[str | Logger] = (),
    ) -> Method:
        """Trains in the run directory `out`, or resumes the training there; returns the trained method in eval mode.

        Metrics on the test images go to results.json, sample images to samples/, and report.html shows both. Under
        `torchrun`, all processes call this together.

        Args:
            hooks: as those of `fit`.
            pictures: how often sample images are saved, evenly over the training.
            log: logs beside the files of the run: tensorboard, wandb, trackio, or objects as in
                genlab.reporting.loggers.

        Raises:
            ValueError: the data, the options or the batch size do not fit the method or the memory.
            RunError: `out` holds another run.
            NonFinite, CheckpointError, Locked, Interrupted: as `fit`.
        """
        check_loggers(log)
        with distributed.group() as device:
            training = self.training
            with distributed.first_rank_first():  # it may have to download
                data, test = (self.data.load(split, device) for split in ("train", "test"))
            check_kind(data, self.method.takes, method_name(self.method))
            classes = len(getattr(data, "classes", ()))
            memory.check_training(self.method, data.shape, classes, training, device, isinstance(data, Pair | Aligned))
            self.method.check_data(self._stream(data))
            torch.manual_seed(training.seed)
            method = self.method.build(data.shape, classes).to(device)
            check_batch(method, training.batch, distributed.world_size())
            first = distributed.rank() == 0
            best = self._best(method, device)
            stream = self._stream(data)
            about = {**self.options(), "shape": list(data.shape), "classes": classes}
            out = Path(out)
            with (  # from here on there are files
                removed_on_failure(out, _worth) if first else nullcontext(),
                locked(out) if first else nullcontext(),
            ):
                run = distributed.broadcast_object(Run.create(out, about) if first else None)
                loggers = open_loggers(log, run, run.seen()) if log and first else []

                if first and hasattr(method, "sample") and not isinstance(test, Pair):
                    save_picture(test.subset(slice(0, 64)).x, run.file(REAL))

                def picture(images: int, method: Method) -> None:
                    with torch.random.fork_rng():
                        torch.manual_seed(training.seed)  # the same latents at every call
                        for name, shown in method.pictures(test).items():
                            file = run.file("samples", f"{name}-{images:09d}.png")
                            save_picture(shown, file)
                            for logger in loggers:
                                logger.picture(images, name, Image.open(file))

                hooks = [(max(1, training.images // max(1, pictures)), picture), *hooks]
                if best:
                    hooks.append((max(1, training.images // MEASUREMENTS), best))
                method = fit(
                    method, stream, training, run=run, hooks=hooks, loggers=loggers, title=f"training {run.path}"
                )
                if best:
                    if first:
                        best.restore(method)
                    distributed.broadcast(method.state_dict().values())
                if first:
                    figures = self._finish(run, method, test)
                    for logger in loggers:
                        logger.scalars(stream.images, {f"test {name}": value for name, value in figures.items()})
                        logger.close()
            return method

    def _best(self, method: Method, device: torch.device) -> EarlyStopping | None:
        """The hook that keeps the weights with the best validation metric, if `best_by` is set.

        Raises:
            ValueError: no validation images are held out, or the method does not report that metric.
        """
        if self.training.best_by is None:
            return None
        direction, _, name = self.training.best_by.partition(":")
        validation = self.data.load("validation", device)
        with torch.random.fork_rng():
            known = method.eval().evaluate(validation)
        if name not in known:
            known_names = ", ".join(known) or "none"
            raise ValueError(f"--best-by: {name!r} is not a metric of this method; its metrics: {known_names}")
        training = self.training
        plateau = training.plateau_patience if training.schedule == "plateau" else None
        measured = lambda m: m.evaluate(validation)[name]
        return EarlyStopping(measured, training.patience, direction == "max", plateau, training.lr_decay)

    def _stream(self, data: Any) -> Any:
        """The batches of this process, from the start of training."""
        where = {"rank": distributed.rank(), "world": distributed.world_size()}
        training = self.training
        if isinstance(data, Iterated):
            data.world = where["world"]
            return data
        how: dict[str, Any] = {"augment": self.data.augment, "shuffle": self.data.shuffle, **where}
        return Stream(data, training.batch, seed=training.seed, **how)

    def _finish(self, run: Run, method: Method, test: Any) -> dict[str, float]:
        with torch.random.fork_rng():
            torch.manual_seed(self.training.seed)
            figures = method.evaluate(test)
        title = f"{run.path.name}: {type(method).__name__} on {self.data.data}"
        with run.results_lock():
            try:
                run.add_results(**figures)
            except OSError as error:
                measured = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
                raise OSError(f"{error}; the unsaved results: {measured}") from error
            Report(title).run(run).save(run.file("report.html"))
        return figures


class _Few:
    """Data options of which the test and validation sets have at most `n` images."""

    def __init__(self, data: Any, n: int) -> None:
        self.whole, self.n = data, n

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole, name)

    def load(self, split: Split = "train", device: torch.device | str | None = None) -> Any:
        found = self.whole.load(split, device)
        return found if split == "train" else found.subset(slice(0, self.n))


def _worth(folder: Path, error: Exception) -> bool:
    """Whether a run in `folder` that failed with `error` is kept: it can be resumed, or shows how training diverged."""
    return isinstance(error, NonFinite) or any(folder.glob("checkpoints/step-*.pt"))


def method_name(config: Config) -> str:
    return type(config).__name__.removesuffix("Config")


def check_all(experiments: Iterable[Experiment]) -> None:
    """Checks data, networks and memory of several experiments before the first one is trained; writes nothing.

    Raises:
        ValueError: as `Experiment.run`.
    """
    sets: dict[DataOptions | OwnData, Any] = {}
    for each in experiments:
        data = sets[each.data] = sets.get(each.data) or each.data.load()
        check_kind(data, each.method.takes, method_name(each.method))
        classes = len(getattr(data, "classes", ()))
        pair = isinstance(data, Pair | Aligned)
        memory.check_training(each.method, data.shape, classes, each.training, distributed.device(), pair)
        each.method.check_data(each._stream(data))
