"""`genlab attack`: attack success rates on a classifier, with and without defences."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from attacks.plugin import BALLS, attack, defence, parse_defences
from genlab.core.ranges import Count, OutOfRange, Seed, Side
from genlab.core.registry import resolve, unknown

if TYPE_CHECKING:
    from torch import Tensor

    from attacks.evaluation.results import Evaluation
    from attacks.evaluation.store import Store
    from attacks.external.subject import Subject


@dataclass(frozen=True)
class Options:
    """Attacks a classifier: the one of a run on its held-out images, or any other (--model) on any images (--data).

    Prints a table; writes attack.json, attack.html and attack.png (originals, adversarial examples, differences).
    Each defence is evaluated twice: NAME, under the oblivious attack (crafted on the undefended model), and
    `NAME, adaptive`, under the adaptive attack (crafted on the defended model). The same command resumes an interrupted
    evaluation.
    """

    run: tyro.conf.Positional[Path | None] = None
    """run directory of a classifier"""
    model: str | None = None
    """in place of a run: file.py:function, package.module:function, torchvision:NAME, timm:NAME, or a file of
    torch.jit.save or torch.export.save; options follow, as in torchvision:resnet18:num_classes=10"""
    weights: str | None = None
    """weights of the model: a .pt, .pth or .safetensors file, or `pretrained` for the published ones (downloaded)"""
    data: str | None = None
    """folder of images with a folder per class, or a name of `genlab list`; none: the data of the run"""
    split: Literal["test", "validation", "train", "all"] = "test"
    """test: held-out images (of a folder without test/: a tenth); validation: the tenth of the training images that
    --hold-out leaves out, to choose settings by; all: all images"""
    size: Side | None = None
    """the shorter side of the images is resized to this many pixels; none: as the model or the data have it"""
    crop: Side | None = None
    """pixels of the centre that is cut out of the resized images"""
    channels: Literal[1, 3] | None = None
    """1 (grey) or 3 (colour); none: as the model or the data have it"""
    mean: str | None = None
    """the model receives (x - mean) / std of pixels x in [0, 1]: a number or one per channel, as in 0.485,0.456,0.406;
    none: as published with a torchvision or timm model, else 0"""
    std: str | None = None
    """see mean; for a model of pixels in [0, 255] 1/255; none: as published, else 1"""
    classes: Path | None = None
    """text file with the names of the model's classes, one per line in their order; matched with those of the data"""
    attacks: str = "fgsm,ifgsm,pgd"
    """comma-separated names (see `genlab list`), with options as in pgd:steps=100:restarts=10"""
    eps: str = "0.05,0.1,0.2"
    """comma-separated perturbation sizes, in pixels of [0, 1], as in 0.1 or 8/255"""
    norm: Literal["linf", "l2", "l1"] = "linf"
    """norm of the perturbation"""
    target: str | None = None
    """targeted attacks: next (the class after the true one), random, least-likely, or the name or number of a class"""
    defence: str = "none"
    """comma-separated names (see `genlab list`), with options as in median:k=5; median+bits: median, then bits"""
    n: Count = 1000
    """number of images to attack, drawn at random"""
    seed: Seed = 0
    """random seed: which images are attacked, random targets, random weights"""
    batch: Count | None = None
    """images per batch; none: as fits the device, fewer for large images"""
    device: str | None = None
    """cpu, cuda, cuda:1, mps; none: a GPU if there is one"""
    out: Path | None = None
    """folder of the results; none: the run, or runs/attack-MODEL"""
    overwrite: bool = False
    """replace an evaluation that is there"""
    save_images: Path | None = None
    """folder for the adversarial examples as 8-bit PNG files; the table then also has their success rate"""
    data_root: Path | None = None
    """folder of the downloaded data sets"""


TARGETS = ("next", "random", "least-likely")
FILES = ("attack.json", "attack.html", "attack.png")
UNFINISHED = "attack-unfinished"  # folder of an evaluation that can be resumed
FREE = ("device", "batch", "overwrite", "data_root")  # options that may change when it is


def main(arguments: list[str]) -> None:
    from genlab.cli.options import parse

    options: Options = parse(Options, "attack", arguments)
    if (options.run is None) == (options.model is None):
        raise ValueError("genlab attack needs either the directory of a run or --model")
    if options.model is None and options.weights is not None:
        raise ValueError(f"{options.run} has its own weights; --weights is for --model")
    names = comma_separated("--attacks", options.attacks)
    defences = comma_separated("--defence", options.defence)
    for name in defences:
        parse_defences(name)
    sizes = sorted(parse_eps(word, options.norm) for word in comma_separated("--eps", options.eps))
    mean, std = parse_channels("--mean", options.mean), parse_channels("--std", options.std)
    target = options.target
    chosen = {name: chosen_attack(name, sizes[0], options.norm, target is not None) for name in names}

    from torch import nn

    from attacks.core.model import Attack
    from attacks.evaluation.evaluate import evaluate
    from attacks.evaluation.report import progress
    from attacks.evaluation.saving import SavedImages
    from attacks.evaluation.verdict import models_and_sources
    from attacks.external.labels import read_classes
    from attacks.external.subject import Choice, subject
    from attacks.external.wrap import wrap
    from genlab.core import distributed
    from genlab.core.passes import pass_size
    from genlab.core.text import Console

    for name in defences:
        defence(name, nn.Identity())  # checks its options before the model is loaded
    out = options.out or options.run or Path("runs") / f"attack-{_plain(options.model or '')}"
    check_out(options, out)
    try:
        wrap(nn.Identity(), mean=mean or 0.0, std=std or 1.0)
    except OutOfRange as error:
        raise ValueError(f"--{error.option} {error.text}") from None
    own = {field.name: getattr(options, field.name) for field in fields(Choice) if hasattr(options, field.name)}
    listed = read_classes(options.classes) if options.classes else ()
    device = distributed.device() if options.device is None else distributed.known_device(options.device)
    choice = Choice(**own | {"mean": mean, "std": std, "names": listed, "device": device})
    trained = any(type(each).prepare is not Attack.prepare for each in chosen.values())
    found = subject(choice, partial(check_shapes, defences), training=trained)
    Console().print(found.text)
    models, sources = models_and_sources(found.model, {name: defence(name, found.model) for name in defences})
    targets = None if target is None else targets_of(target, found, options.seed)
    resumed = (out / UNFINISHED / "options.json").exists() and not options.overwrite
    images = options.save_images and SavedImages(
        options.save_images, found.x, found.y, found.names, targets, resumed=resumed
    )
    batch = options.batch or pass_size(found.x.shape[1:], found.x.device)
    with resumable(options, out, found.identity) as store, progress() as shown:
        result = evaluate(
            models,
            chosen,
            found.x,
            found.y,
            eps=sizes,
            sources=sources,
            data=found.rest,
            targets=targets,
            options=replace(shown, batch=batch, store=store, save=images or None),
        )
        result.warnings += chance(result, found)
        show_and_write(result, found, options, out)
    if images and images.error:
        raise images.error


def show_and_write(result: Evaluation, found: Subject, options: Options, out: Path) -> None:
    """Prints the tables, then writes attack.json, attack.html and attack.png."""
    import genlab
    from attacks.evaluation.report import add_evaluation, attack_picture, shown
    from attacks.evaluation.verdict import table, to_json, verdicts
    from genlab.core.files import write_all, write_atomically
    from genlab.core.lock import locked
    from genlab.core.text import Console

    Console().print(result.table())
    if rows := verdicts(result):
        Console().print(table(rows))
    for warning in result.warnings:
        Console().print(f"warning: {warning}")
    about = {"about": found.text, "options": plain_options(options)}
    page = add_evaluation(genlab.Report(f"{out.name} under attack").text(found.text), result, found.names)
    files: dict[Path, Callable[[Path], object]] = {
        out / "attack.json": lambda path: write_atomically(
            path, json.dumps(about | to_json(result), indent=1).encode()
        ),
        out / "attack.html": page.save,
    }
    if result.examples:  # none if every attack failed
        example = (*shown(result), *result.examples)[0]
        files[out / "attack.png"] = lambda path: write_atomically(path, attack_picture(example, found.names))
    with genlab.Run(out).results_lock() if out == options.run else locked(out, wait=True):
        write_all(files)


def check_out(options: Options, out: Path) -> None:
    """Raises ValueError if results are already there, or cannot be written; also for the folder of the images."""
    from genlab.core.outputs import check_folder

    if out != options.run:
        check_folder(out)
    saved = options.save_images
    if saved is not None:
        check_folder(saved, "--save-images")
    if options.overwrite:
        return
    if there := next((name for name in FILES if (out / name).exists()), None):
        raise ValueError(f"{out} holds an evaluation ({there}): choose another --out, or give --overwrite")
    if saved and saved.exists() and not (out / UNFINISHED).exists() and any(saved.iterdir()):
        raise ValueError(f"--save-images {saved} exists and is not empty: choose another folder, or give --overwrite")


@contextmanager
def resumable(options: Options, out: Path, identity: str) -> Iterator[Store]:
    """Keeps the results of an evaluation in a folder, which is removed when the block succeeds.

    Raises:
        ValueError: the folder holds those of another evaluation, or another process uses it.
    """
    from attacks.evaluation.store import Store
    from genlab.core.files import read_json
    from genlab.core.lock import locked
    from genlab.core.outputs import removed_on_failure

    folder = out / UNFINISHED
    new = {k: v for k, v in plain_options(options).items() if k not in FREE} | {"identity": identity}
    with removed_on_failure(folder, lambda folder, error: any(folder.glob("*.pt"))), locked(folder):
        if options.overwrite:
            for file in folder.iterdir():
                file.unlink()
        if (folder / "options.json").exists():
            old = read_json(folder / "options.json", {})
            if other := next((name for name in new if old.get(name) != new[name]), ""):
                what = "the model or the images" if other == "identity" else f"--{other.replace('_', '-')}"
                raise ValueError(
                    f"{out} holds an unfinished evaluation that differs in {what}: choose another --out, or replace it "
                    "with --overwrite"
                )
        try:
            yield Store(folder, new)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("stopped; the same command resumes the evaluation") from None
    shutil.rmtree(folder, ignore_errors=True)


def plain_options(options: Options) -> dict[str, Any]:
    return json.loads(json.dumps(asdict(options), default=str))


def chosen_attack(name: str, eps: float, norm: str, targeted: bool) -> Any:
    found = attack(name, eps, norm)
    if targeted and not hasattr(found, "targeted"):
        raise ValueError(f"--target: the attack {name} has no targeted form")
    return attack(name, eps, norm, targeted=True) if targeted else found


def targets_of(target: str, found: Subject, seed: int) -> Tensor:
    """(N,) int64: a target class for each image."""
    import torch

    from attacks.core.model import victim

    k = found.k
    if target in found.names or target.isdecimal():
        index = found.names.index(target) if target in found.names else int(target)
        if index >= k:
            raise ValueError(f"--target must be a class of the model, from 0 to {k - 1}, got {target}")
        return torch.full_like(found.y, index)
    if target not in TARGETS:
        known = [*TARGETS, *found.names] if len(found.names) <= 100 else TARGETS
        raise ValueError(f"--target: {unknown(target, known, 'target')}, or the number of a class, below {k}")
    if target == "next":
        return (found.y + 1) % k
    if target == "random":
        draw = torch.randint(1, k, (len(found.y),), generator=torch.Generator().manual_seed(seed))
        return (found.y + draw.to(found.y.device)) % k
    with victim(found.model, found.x, found.y) as f:
        return torch.cat([f.query(part).argmin(1) for part in found.x.split(64)])


def chance(result: Evaluation, found: Subject) -> list[str]:
    """A warning if the model does not know its images."""
    clean = result.rows[0].clean_accuracy
    if clean > 1 / found.k:
        return []
    hint = "check --weights, --mean, --std, --size, --channels and --classes"
    return [f"the clean accuracy of {100 * clean:.1f} % is no better than chance for {found.k} classes: {hint}."]


def check_shapes(defences: list[str], shape: tuple[int, int, int]) -> None:
    """Raises ValueError if one of `defences` does not support images of `shape` (C, H, W)."""
    import torch

    for name in defences:
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


def parse_number(option: str, word: str) -> float:
    """A number from text such as 0.1 or 8/255. Raises ValueError if it is none."""
    top, slash, bottom = word.partition("/")
    try:
        return float(top) / float(bottom) if slash else float(top)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"{option} must be numbers as in 0.1 or 8/255, got {word!r}") from None


def parse_eps(word: str, norm: str) -> float:
    """eps from text such as 0.1 or 8/255. Raises ValueError if it is no number or out of the range of the norm."""
    eps = parse_number("--eps", word)
    try:
        return resolve(BALLS[norm][0])(eps).eps
    except OutOfRange as error:
        raise ValueError(f"--eps {error.text}") from None


def parse_channels(option: str, text: str | None) -> tuple[float, ...] | None:
    """--mean or --std: one number, or one per channel."""
    if text is None:
        return None
    return tuple(parse_number(option, word.strip()) for word in text.split(","))


def _plain(name: str) -> str:
    return re.sub(r"\W+", "-", name).strip("-")[-60:]
