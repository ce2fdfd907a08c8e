"""The default features of the metrics: those of a small classifier trained on the data."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from genlab.core.lock import locked
from genlab.core.own_code import cache_folder
from genlab.data import Augment, Folder, Images, Pair
from genlab.data.options import DataOptions
from genlab.experiment import Experiment
from genlab.loading import load
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.metrics.features import ClassifierFeatures
from genlab.run import RunError
from genlab.training.checkpoint import CheckpointError
from genlab.training.method import Method

EPOCHS = 60  # of the training, at most


def default_features(
    data: DataOptions, device: torch.device | str | None = None, images: int | None = None
) -> ClassifierFeatures:
    """The penultimate layer of a small CNN, trained on `data` at its first use and read from the cache afterwards.

    The cache is a run directory under $GENLAB_CACHE (~/.cache/genlab)/features, named by the data, the size and a hash
    of all that decides the weights: options and pixels. Training shifts the images a little, so that the features care
    for what is seen rather than where.

    Args:
        data: of the set to be judged; its own augmentation plays no part.
        device: of the features; none: where this process works.
        images: training length, in images; none: EPOCHS epochs, at most 100,000.

    Raises:
        ValueError: `data` has fewer than two classes, or the features are missing under `torchrun`, where one process
            has to train them beforehand.
    """
    config = ClassifierConfig()
    data = replace(data, augment=Augment(shift=0.1))
    train = data.load("train")
    if isinstance(train, Pair) or len(train.classes) < 2:
        raise ValueError(
            f"{data.data} has no classes to learn features from: use data with classes, or, in a command that has the "
            "option, --features pixels"
        )
    length = min(100_000, EPOCHS * len(train)) if images is None else images
    experiment = Experiment(config, data, images=length, save_every=1_000_000)
    about = experiment.options()
    del about["data"]["data_root"]
    digest = fingerprint(train, json.dumps(about, sort_keys=True))
    c, h, w = train.shape
    path = cache_folder() / "features" / f"{plain(data.data)}-{h}x{w}-{c}-{digest[:12]}"
    method: Any = _cached(path, device)
    if method is None:
        if int(os.environ.get("WORLD_SIZE", 1)) > 1:
            raise ValueError(f"the features of {data.data} are not trained yet: ask for them once without torchrun")
        with locked(path, wait=True):
            method = _cached(path, device) or _trained(experiment, path, device)  # or by others meanwhile
    resized = "" if data.size is None and data.channels is None else f"-{h}x{w}x{c}"
    return ClassifierFeatures(cast(nn.Sequential, method.net), f"{plain(data.data)}{resized}-{config.net}", train.shape)


def _cached(path: Path, device: torch.device | str | None) -> Method | None:
    """The method in `path`, if it was trained to the end and can be used."""
    if not (path / "results.json").exists():
        return None
    with suppress(RunError, CheckpointError):
        return load(path, device)
    return None


def _trained(experiment: Experiment, path: Path, device: torch.device | str | None) -> Method:
    """The method, trained in `path` (locked by this process); a run there that cannot be resumed is removed first."""
    try:
        experiment.run(path, pictures=1)
        return load(path, device)
    except (RunError, CheckpointError) as error:
        warnings.warn(f"{error}; the features in {path} are trained again", stacklevel=2)
    for each in path.iterdir():  # not the folder itself, which is the lock
        shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()
    experiment.run(path, pictures=1)
    return load(path, device)


def plain(name: str) -> str:
    """The name of data as part of a file name: `folder:/a/b` becomes `b`."""
    return "".join(c if c.isalnum() else "-" for c in name.rstrip("/").rsplit("/", 1)[-1].removeprefix("folder:"))


def fingerprint(images: Images | Folder, about: str) -> str:
    """SHA-256 of the words `about` and of the set: its pixels and labels, or its files' names, sizes and times."""
    digest = hashlib.sha256(about.encode())
    if isinstance(images, Images):
        digest.update(images.pixels.permute(0, 2, 3, 1).cpu().numpy().tobytes())
    else:
        digest.update(repr([(str(f), (s := f.stat()).st_size, s.st_mtime_ns) for f in images.files]).encode())
    digest.update(images.labels.cpu().numpy().tobytes())
    return digest.hexdigest()
