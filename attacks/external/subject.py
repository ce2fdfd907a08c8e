"""What `genlab attack` attacks: a classifier, and images with the classes they have for it."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import genlab
import genlab.data
from attacks.core.model import check_logits
from attacks.external.labels import match
from attacks.external.models import External, load_model, split_options
from attacks.external.wrap import wrap
from genlab.cli.main import out_of_memory
from genlab.core.memory import FLOAT, require
from genlab.core.modes import evaluating
from genlab.core.resolve import fingerprint, is_reference
from genlab.core.text import one_line
from genlab.data import Folder, Images, Pair
from genlab.data.aligned import Aligned
from genlab.data.images import to_float
from genlab.data.sources import Split
from genlab.data.styles import STYLES
from genlab.loading import data_of, shape_of

PROBED = 8  # images that the model classifies first, to see whether it does
TRAINING = 10_000  # images of a folder for attacks that must be trained, at most


@dataclass(frozen=True)
class Choice:
    """The options of the command: which model, which images; see `attacks.cli.Options`. mean, std: parsed."""

    run: Path | None
    model: str | None
    weights: str | None
    data: str | None
    data_root: Path | None
    split: Split
    size: int | None
    crop: int | None
    channels: int | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    names: tuple[str, ...]
    n: int
    seed: int
    device: torch.device


@dataclass(frozen=True)
class Subject:
    """model: x (N, C, H, W) in [0, 1] -> logits (N, k). y (N,): classes. names: of all k classes; (): unknown.

    rest: other images, for attacks that must be trained; None if there are none. text: the model, the images and the
    preprocessing, in a sentence. identity: hash of the model and the images.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    k: int
    names: tuple[str, ...]
    rest: Images | None
    text: str
    identity: str


def subject(choice: Choice, check_shape: Callable[[tuple[int, int, int]], None], training: bool) -> Subject:
    """The model and the images of `choice`, on its device.

    check_shape: called with (C, H, W) of the images; may raise a ValueError. training: whether `rest` is needed.

    Raises:
        ValueError: the model or the images cannot be loaded, or do not fit.
    """
    if training and choice.split == "train":
        raise ValueError("attacks that are trained need other images than those attacked: --split test or all")
    name, found, data = _run(choice, check_shape) if choice.run is not None else _external(choice)
    if getattr(type(found.model), "forward", None) is nn.Module.forward:  # it does not map images to logits
        raise ValueError(f"{name} holds a {type(found.model).__name__}, not a classifier")
    if not found.trained:
        warnings.warn(f"{name} has random weights: give --weights FILE or --weights pretrained", stacklevel=2)
    size, crop = (choice.size or found.size, choice.crop) if choice.size or choice.crop else (found.size, found.crop)
    data |= {"size": size, "channels": choice.channels or found.channels}
    images = _labelled(data, choice.split)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(choice.seed))
    pixels, labels = _gathered(images, order[: choice.n], crop)
    c, h, w = pixels.shape[1:]
    check_shape((c, h, w))
    x = to_float(pixels.to(choice.device))

    mean, std = choice.mean or found.mean or (0.0,), choice.std or found.std or (1.0,)
    for option, given in (("--mean", mean), ("--std", std)):
        if len(given) not in (1, c):
            raise ValueError(f"{option} has {len(given)} numbers, but the images have {c} channel{'s' * (c > 1)}")
    plain = mean == (0.0,) and std == (1.0,)
    unchanged = choice.run is not None and plain
    model: Any = found.model if unchanged else wrap(found.model, mean=mean, std=std)
    model = model.to(choice.device)
    k = number_of_classes(model, name, x)
    names = choice.names or (found.classes if len(found.classes) == k else ())
    own = choice.run is not None and choice.data is None
    classes = torch.arange(len(images.classes)) if own else torch.tensor(match(images.classes, k, names))
    names = names or (images.classes if len(images.classes) == k else ())
    rest = None
    if training:
        others, index = images, order[choice.n :]
        if choice.split != "all":
            others = _labelled(
                data | {"hold_out": choice.split == "validation" or data.get("hold_out", False)}, "train"
            )
            index = torch.arange(len(others))
        rest = _training(others, index, crop, classes, names or tuple(map(str, range(k)))).to(choice.device)
    text = (
        f"{name} ({k} classes) on {len(x):,} of {len(images):,} images of {data['name']} ({choice.split}), "
        f"{h}x{w} {'grey' if c == 1 else 'colour'}"
        f"{'' if plain else f', normalised by mean {_words(mean)} and std {_words(std)}'}"
    )
    y = classes[labels].to(choice.device)
    identity = _identity(name, choice.weights, [pixels, y, *_tensors(found.model)])
    return Subject(model, x, y, k, names, rest, text, identity)


def _run(choice: Choice, check_shape: Callable[[tuple[int, int, int]], None]) -> tuple[str, External, dict[str, Any]]:
    """Name, model and arguments for `genlab.data.load` of a run."""
    assert choice.run is not None
    run = genlab.Run(choice.run)
    channels, size, _ = shape_of(run)
    check_shape((channels, size, size))
    found = External(genlab.load(run, "cpu"), channels=channels, size=size, trained=True)
    own = data_of(run)
    root, hold_out = choice.data_root or own.data_root, own.hold_out
    if choice.split == "validation" and choice.data is None and not hold_out:
        raise ValueError(f"--split validation: {run.path} was trained on these images too; train it with --hold-out")
    return str(choice.run), found, {"name": choice.data or own.data, "root": root, "hold_out": hold_out}


def _external(choice: Choice) -> tuple[str, External, dict[str, Any]]:
    """Name, model and arguments for `genlab.data.load` of --model and --data."""
    assert choice.model is not None
    if choice.data is None:
        raise ValueError("--model needs --data: a folder of images, or a name of `genlab list`")
    torch.manual_seed(choice.seed)  # of random weights
    return choice.model, load_model(choice.model, choice.weights), {"name": choice.data, "root": choice.data_root}


def number_of_classes(model: nn.Module, name: str, x: Tensor) -> int:
    """K of model `name`, by its logits of the first images x (N, C, H, W).

    Raises:
        ValueError: it fails, or does not return logits (N, K).
    """
    logits = None
    for n in dict.fromkeys((1, min(PROBED, len(x)))):
        try:
            with evaluating(model), torch.no_grad():
                logits = model(x[:n].clone())
        except (Exception, SystemExit) as error:
            if isinstance(error, Exception) and out_of_memory(error):
                raise
            why = f"{type(error).__name__}: {one_line(error, 300)}"
            if logits is not None:
                raise ValueError(f"{name} takes one image, but fails on {n}, as attacks need it ({why})") from error
            shape = " x ".join(map(str, x.shape[1:]))
            raise ValueError(
                f"{name} fails on images of {shape} ({why}); --size, --crop and --channels change the images"
            ) from error
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the evaluation gives these warnings
            check_logits(logits, n, torch.zeros(n, dtype=torch.int64))
    assert logits is not None
    if logits.shape[1] == 2 and bool((logits[:, 0] == 0).all() & ((0 <= logits) & (logits <= 1)).all()):
        text = f"the outputs of {name} are all in [0, 1]: attacks need the logit, not a probability"
        warnings.warn(text, stacklevel=2)
    return logits.shape[1]


def _labelled(data: dict[str, Any], split: Split) -> Images | Folder:
    """The images; those of a folder are read when they are needed, unless the whole set must be changed."""
    name = data["name"]
    lazily: dict[str, Any] = {} if name.partition(":")[0] in ("binary", *STYLES) else {"resident": 0}
    images = genlab.data.load(split=split, **data, **lazily)
    if isinstance(images, Pair | Aligned):
        raise ValueError(f"--data {name} is two sets of images, not images with classes")
    if images.classes == ("images",):
        raise ValueError(f"--data {name} has no classes: put the images of each class into a folder of its name")
    return images


def _gathered(images: Images | Folder, index: Tensor, crop: int | None) -> tuple[Tensor, Tensor]:
    """pixels uint8 (n, C, H, W) of the readable images, their centre of `crop` pixels, and labels."""
    c, h, w = images.shape
    if crop and crop > min(h, w):
        raise ValueError(f"--crop must be at most the size of the images, {min(h, w)} pixels (--size), got {crop}")
    require(3 * len(index) * c * h * w * FLOAT, f"{len(index):,} images {(c, h, w)}", "--n")
    pixels, labels = images.readable(index) if isinstance(images, Folder) else images.gather(index)
    if crop:
        top, left = (h - crop) // 2, (w - crop) // 2
        pixels = pixels[..., top : top + crop, left : left + crop]
    return pixels, labels


def _training(
    images: Images | Folder, index: Tensor, crop: int | None, classes: Tensor, names: tuple[str, ...]
) -> Images:
    if not len(index):
        raise ValueError("no image is left to train an attack with: make --n smaller")
    pixels, labels = _gathered(images, index[:TRAINING] if isinstance(images, Folder) else index, crop)
    return Images(pixels, classes[labels], names, images.name)


def _words(numbers: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4g}" for value in numbers)


def _tensors(model: Any) -> list[Tensor]:
    return list(model.state_dict().values()) if isinstance(model, nn.Module) else []


def _identity(name: str, weights: str | None, tensors: list[Tensor]) -> str:
    """Hash of `tensors`, and of the files that the model consists of, as far as they are known."""
    code, _ = split_options(name)
    files = [path for path in map(Path, filter(None, (name, weights))) if path.is_file()]
    parts = [*sorted(Path(name).glob("checkpoints/*.sha256"))] if Path(name).is_dir() else files
    found = hashlib.sha256(fingerprint(code).encode() if is_reference(code) and not Path(name).exists() else b"")
    for path in parts:
        with open(path, "rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    for tensor in (each for each in tensors if isinstance(each, Tensor)):
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
