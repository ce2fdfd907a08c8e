"""The plugin of `genlab`: the `attack` command, tables of attacks, defences and methods, and builders by name.

Importing this file does not import torch.
"""

from __future__ import annotations

import dataclasses
import re
from ast import literal_eval
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from genlab.core.ranges import OutOfRange, short
from genlab.core.registry import choose, resolve
from genlab.plugins import Table, gather, methods

if TYPE_CHECKING:
    from torch import nn

    from attacks.core.model import Attack

COMMANDS = {"attack": ("attacks.cli:main", "attack a classifier: success rates, with and without defences")}

# name -> ("module:attribute", description). An attack is a dataclass; a defence is called as defence(model, **options).
ATTACKS: Table = {
    "fgsm": ("attacks.pgd:FGSM", "one signed-gradient step of length eps"),
    "ifgsm": ("attacks.pgd:IFGSM", "iterative FGSM from the clean image (BIM)"),
    "mifgsm": ("attacks.pgd:MIFGSM", "I-FGSM with momentum"),
    "pgd": ("attacks.pgd:PGD", "projected gradient ascent from a random start"),
    "apgd": ("attacks.auto_pgd:AutoPGD", "Auto-PGD: PGD with adaptive step size"),
    "apgd-t": ("attacks.auto_pgd:AutoPGDT", "Auto-PGD, targeted DLR loss towards the 9 likeliest wrong classes"),
    "fab-t": ("attacks.fab:FABT", "minimal-norm steps to the linearised boundaries of the 9 likeliest wrong classes"),
    "auto": ("attacks.auto:Auto", "AutoAttack: APGD, APGD-T, FAB-T, Square; version=fast or, for random models, rand"),
    "transferable": (
        "attacks.transferable:Transferable",
        "transfer attack: momentum, diverse inputs, translation-invariant gradients",
    ),
    "spatial": ("attacks.spatial:Spatial", "stAdv: resampling along a smooth flow field; no eps"),
    "one-pixel": ("attacks.one_pixel:OnePixel", "score-based: few pixels by differential evolution; no eps"),
    "patch": ("attacks.patch:Patch", "adversarial patch, trained beforehand; no eps"),
    "spsa": ("attacks.spsa:SPSA", "score-based: finite differences along random signs, Adam"),
    "nes": ("attacks.spsa:NES", "score-based: finite differences along Gaussian directions"),
    "square": ("attacks.square:Square", "score-based: random search over squares"),
    "hopskipjump": ("attacks.hopskipjump:HopSkipJump", "decision-based: minimal L2 perturbation; no eps"),
    "hopskipjump-linf": (
        "attacks.hopskipjump:HopSkipJumpLinf",
        "decision-based: minimal L-infinity perturbation; no eps",
    ),
    "universal": ("attacks.universal:Universal", "universal perturbation: DeepFool steps, accumulated over images"),
    "universal-gradient": (
        "attacks.universal:UniversalGradient",
        "universal perturbation by stochastic gradient ascent",
    ),
    "universal-targeted": ("attacks.universal:UniversalTargeted", "universal perturbation towards one target class"),
    "universal-count": (
        "attacks.universal:UniversalCount",
        "universal perturbation: targeted, then on the smoothed fooling rate",
    ),
    "universal-generator": ("attacks.universal:UniversalGenerator", "universal perturbation from a generator network"),
    "surrogate": (
        "attacks.surrogate:Surrogate",
        "transfer attack: PGD on a surrogate trained on the target's predictions",
    ),
    "deepfool": ("attacks.deepfool:DeepFool", "minimal L2 perturbation by repeated linearisation; no eps"),
    "deepfool-linf": ("attacks.deepfool:DeepFoolLinf", "DeepFool in L-infinity; no eps"),
    "cw-l2": ("attacks.carlini:CarliniL2", "Carlini-Wagner, minimal L2 perturbation; no eps"),
    "cw-linf": ("attacks.carlini:CarliniLinf", "Carlini-Wagner, minimal L-infinity perturbation; no eps"),
    "cw-l0": ("attacks.carlini:CarliniL0", "Carlini-Wagner, fewest changed pixels; no eps"),
    "ead": ("attacks.elastic_net:EAD", "elastic-net attack: minimal L1 perturbation; no eps"),
    "lbfgs": ("attacks.lbfgs:LBFGS", "minimal L2 perturbation by L-BFGS (Szegedy et al. 2014); no eps"),
    "jsma": ("attacks.jsma:JSMA", "Jacobian-based saliency map: few pixels, changed in pairs; no eps"),
    "fmn": ("attacks.fmn:FMN", "fast minimum-norm attack in L2; no eps"),
    "fmn-linf": ("attacks.fmn:FMNLinf", "fast minimum-norm attack in L-infinity; no eps"),
    "fmn-l1": ("attacks.fmn:FMNL1", "fast minimum-norm attack in L1; no eps"),
    "fmn-l0": ("attacks.fmn:FMNL0", "fast minimum-norm attack in L0; no eps"),
    "ddn": ("attacks.ddn:DDN", "decoupled direction and norm: minimal L2 perturbation; no eps"),
    "pdgd": ("attacks.pdgd:PDGD", "primal-dual gradient descent: minimal L2 perturbation; no eps"),
    "pdpgd": ("attacks.pdgd:PDPGD", "proximal primal-dual: minimal L1 perturbation, or norm=l0, l2, linf; no eps"),
    "minimal-l0": ("attacks.minimal:MinimalL0", "the fewest changed entries that 2000 passes can find; no eps"),
    "minimal-l1": ("attacks.minimal:MinimalL1", "the smallest L1 perturbation that 2000 passes can find; no eps"),
    "minimal-l2": ("attacks.minimal:Minimal", "the smallest L2 perturbation that 2000 passes can find; no eps"),
    "minimal-linf": ("attacks.minimal:MinimalLinf", "the smallest L-infinity one that 2000 passes can find; no eps"),
    "sigma-zero": ("attacks.sigma_zero:SigmaZero", "fewest changed entries (L0) by a smooth count; no eps"),
    "noise": ("attacks.noise:RandomNoise", "baseline: random noise of norm eps"),
}
BALLS: dict[str, tuple[str, str]] = {
    "linf": ("attacks.core.ball:Linf", "every pixel changes by at most eps"),
    "l2": ("attacks.core.ball:L2", "the Euclidean norm of the perturbation is at most eps"),
    "l1": ("attacks.core.ball:L1", "the changes of all pixels add up to at most eps"),
}
DEFENCES: Table = {
    "none": ("attacks.plugin:undefended", "no defence"),
    "mean": ("attacks.defences.smoothing:Mean.defend", "k x k mean filter, k=3"),
    "gaussian": ("attacks.defences.smoothing:Gaussian.defend", "Gaussian blur, sigma=1"),
    "median": ("attacks.defences.smoothing:Median.defend", "k x k median filter, k=3"),
    "bits": ("attacks.defences.smoothing:BitDepth.defend", "bit-depth reduction, bits=3"),
    "jpeg": ("attacks.defences.smoothing:JPEG.defend", "JPEG compression, quality=75"),
    "bilateral": ("attacks.defences.denoising:Bilateral.defend", "k x k bilateral filter, k=5"),
    "non-local": ("attacks.defences.denoising:NonLocalMeans.defend", "non-local means in a k x k window, k=7"),
    "tv": ("attacks.defences.denoising:TotalVariation.defend", "total variation denoising, weight=0.1"),
    "resize-pad": ("attacks.defences.random:ResizePad.defend", "random resizing and padding, max_scale=1.1"),
    "tta": (
        "attacks.defences.test_time:TestTimeAugmented.defend",
        "test-time augmentation: the mean over moved, mirrored and turned copies, shift=1, flip=False, rotate=0",
    ),
    "smoothed": (
        "attacks.defences.randomised_smoothing:Smoothed.defend",
        "randomised smoothing with Gaussian noise, sigma=0.25",
    ),
}
METHODS: Table = {
    "adversarial-training": (
        "attacks.defences.adversarial_training:AdversarialTrainingConfig",
        "classifier trained on adversarial examples: PGD, FGSM, fast, free, TRADES",
    ),
    "noise-training": (
        "attacks.defences.randomised_smoothing:NoiseTrainingConfig",
        "classifier trained with Gaussian noise, for randomised smoothing",
    ),
    "interval-training": (
        "attacks.defences.interval:IntervalTrainingConfig",
        "classifier trained by interval bound propagation (certified)",
    ),
}


def attack(name: str, eps: float, norm: str = "linf", **options: Any) -> Attack:
    """Attack `name` with a ball of `norm` and radius eps, in pixels of [0, 1].

    options: fields of its dataclass, which may also be part of the name, as in pgd:steps=100. Attacks without a ball
    ignore eps. Raises ValueError for an unknown name, norm or option, or a value that is not allowed.
    """
    known = gather("ATTACKS", ATTACKS)
    word, (name, more) = name, parse_options(name, known, "attack")
    build: Any = resolve(known[name][0])
    options |= more
    if not hasattr(build, "__dataclass_fields__"):
        raise ValueError(f"the attack {name} must be a dataclass, got {short(build)}")
    ball = resolve(BALLS[choose(norm, BALLS, "norm")][0])(eps)
    fields = {f.name for f in dataclasses.fields(build) if f.init}
    own = ("net", "lr") if "build" in fields else ()  # options of the surrogate classifier
    if "eps" in options and "ball" in fields:
        raise ValueError(f"the radius of {name} is that of all attacks, --eps, and no option of its own")
    for option in options:
        choose(option, sorted({*fields, *own} - {"ball", "build"}), f"option of {name}")
    if own:
        config = _build(word, resolve(methods()["classifier"][0]), **{o: options.pop(o) for o in own if o in options})
        options["build"] = config.build
    if "inner" in fields:  # an attack that runs another one
        options.setdefault("inner", resolve(ATTACKS["pgd"][0])(ball))
    return _build(word, build, **({"ball": ball} if "ball" in fields else {}), **options)


def defence(name: str, model: nn.Module, **options: Any) -> nn.Module:
    """The model defended by `name`; options may be part of the name, as in median:k=5.

    median:k=5+bits composes filters; the first is applied first. Raises ValueError for an unknown name or option, a
    value that is not allowed, or a composition of defences that are not filters.
    """
    parts, known = parse_defences(name), gather("DEFENCES", DEFENCES)
    defended = [_build(name, resolve(known[part][0]), model, **(options | more)) for part, more in parts]
    if len(defended) == 1:
        return defended[0]
    from attacks.defences.smoothing import Composed, Filtered

    for (part, _), one in zip(parts, defended):
        if not isinstance(one, Filtered):
            raise ValueError(f"only filters can be composed, and {part} in {name!r} is not a filter")
    return Filtered(Composed(*(one.filter for one in defended)), model)


def parse_defences(word: str) -> list[tuple[str, dict[str, Any]]]:
    """median:k=5+bits -> [("median", {"k": 5}), ("bits", {})]."""
    known = gather("DEFENCES", DEFENCES)
    return [parse_options(part, known, "defence") for part in re.split(r"\+(?=[a-z])", word)]


def undefended(model: nn.Module) -> nn.Module:
    return model


def parse_options(word: str, known: Table, kind: str) -> tuple[str, dict[str, Any]]:
    """name:option=value:... -> the name, one of `known`, and its options. Raises ValueError otherwise."""
    name, *options = word.split(":")
    found = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not key or not equals:
            raise ValueError(f"an option of {name} is written {name}:option=value, got {option!r}")
        if key in found:
            raise ValueError(f"{word!r} has the option {key} twice")
        found[key] = read_value(value)
    return choose(name, known, kind), found


def read_value(text: str) -> Any:
    """The number, True, None, ... that is written there, or the text itself."""
    try:
        return literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def _build(word: str, builder: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """builder(...), with errors about its options as ValueErrors that name `word`."""
    try:
        return builder(*arguments, **options)
    except TypeError as error:
        raise ValueError(f"{word!r} has an option that does not fit: {error}") from None
    except OutOfRange as error:
        raise OutOfRange(error.option, f"{error.text} in {short(word)}") from None
    except ValueError as error:
        raise ValueError(f"{error} in {short(word)}") from None
