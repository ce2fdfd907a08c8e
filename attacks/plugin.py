"""The plugin of `genlab`: a command and names with one line each, without importing torch; and two builders."""

from __future__ import annotations

import dataclasses
import re
from ast import literal_eval
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from genlab.core.ranges import OutOfRange, short
from genlab.core.registry import choose, resolve
from genlab.plugins import methods

if TYPE_CHECKING:
    from torch import nn

    from attacks.core.model import Attack

COMMANDS = {"attack": ("attacks.cli:main", "attack a trained classifier: success rates, with and without defences")}

# name -> ("module:attribute", one line). An attack is a dataclass; a defence is called as target(model, **options).
ATTACKS: dict[str, tuple[str, str]] = {
    "fgsm": ("attacks.pgd:FGSM", "one signed-gradient step of length eps"),
    "ifgsm": ("attacks.pgd:IFGSM", "many small steps from the clean image (BIM)"),
    "mifgsm": ("attacks.pgd:MIFGSM", "I-FGSM along a running sum of gradients"),
    "pgd": ("attacks.pgd:PGD", "projected gradient ascent from a random point"),
    "apgd": ("attacks.auto_pgd:AutoPGD", "Auto-PGD, which finds its own step sizes"),
    "apgd-t": ("attacks.auto_pgd:AutoPGDT", "Auto-PGD towards the nine likeliest wrong classes in turn"),
    "auto": ("attacks.auto:Auto", "APGD, APGD-T and Square, each on what is left"),
    "transferable": ("attacks.transferable:Transferable", "momentum, diverse inputs, smoothed gradients"),
    "spatial": ("attacks.spatial:Spatial", "pixels move along a smooth flow; no eps"),
    "one-pixel": ("attacks.one_pixel:OnePixel", "a few pixels found by differential evolution; no eps, no gradient"),
    "patch": ("attacks.patch:Patch", "one patch for all images, learnt beforehand; no eps"),
    "spsa": ("attacks.spsa:SPSA", "score-based: differences along random signs, Adam"),
    "nes": ("attacks.spsa:NES", "score-based: differences along normal directions, steps along their mean"),
    "square": ("attacks.square:Square", "score-based: random search that repaints squares"),
    "hopskipjump": ("attacks.hopskipjump:HopSkipJump", "decision-based: along the boundary to the smallest L2; no eps"),
    "hopskipjump-linf": ("attacks.hopskipjump:HopSkipJumpLinf", "decision-based: to the smallest change of a pixel"),
    "universal": ("attacks.universal:Universal", "one perturbation for all images, summed up by DeepFool"),
    "universal-gradient": ("attacks.universal:UniversalGradient", "one perturbation for all images, by descent"),
    "universal-targeted": ("attacks.universal:UniversalTargeted", "one perturbation, all images taken for one class"),
    "universal-count": (
        "attacks.universal:UniversalCount",
        "one perturbation, at one class, then at the number fooled",
    ),
    "universal-generator": ("attacks.universal:UniversalGenerator", "one perturbation, drawn by a trained network"),
    "surrogate": ("attacks.surrogate:Surrogate", "PGD on a network of one's own, trained on the target's answers"),
    "deepfool": ("attacks.deepfool:DeepFool", "to the nearest boundary in L2, linear step by linear step"),
    "deepfool-linf": ("attacks.deepfool:DeepFoolLinf", "DeepFool for the largest change of a pixel"),
    "cw-l2": ("attacks.carlini:CarliniL2", "Carlini and Wagner's smallest change in L2"),
    "cw-linf": ("attacks.carlini:CarliniLinf", "Carlini and Wagner's smallest largest change"),
    "cw-l0": ("attacks.carlini:CarliniL0", "Carlini and Wagner's fewest changed entries"),
    "ead": ("attacks.elastic_net:EAD", "elastic net: a small and sparse change"),
    "lbfgs": ("attacks.lbfgs:LBFGS", "the first attack: L-BFGS on size and cross-entropy, in the box"),
    "jsma": ("attacks.jsma:JSMA", "saliency map: few pixels, pushed to their limit in pairs"),
    "fmn": ("attacks.fmn:FMN", "fast minimum norm in L2: a ball that follows the boundary"),
    "fmn-linf": ("attacks.fmn:FMNLinf", "fast minimum norm for the largest change"),
    "fmn-l1": ("attacks.fmn:FMNL1", "fast minimum norm for the sum of changes"),
    "noise": ("attacks.noise:Noise", "the control: random noise of the same size"),
}
BALLS: dict[str, tuple[str, str]] = {
    "linf": ("attacks.core.ball:Linf", "no pixel moves by more than eps"),
    "l2": ("attacks.core.ball:L2", "the Euclidean length of the change is at most eps"),
}
DEFENCES: dict[str, tuple[str, str]] = {
    "none": ("attacks.plugin:undefended", "the model itself"),
    "mean": ("attacks.defences.smoothing:Mean.defend", "k x k average, k=3"),
    "gaussian": ("attacks.defences.smoothing:Gaussian.defend", "Gaussian blur, sigma=1"),
    "median": ("attacks.defences.smoothing:Median.defend", "k x k median, k=3"),
    "bits": ("attacks.defences.smoothing:BitDepth.defend", "fewer grey levels, bits=3"),
    "jpeg": ("attacks.defences.smoothing:JPEG.defend", "through a JPEG file and back, quality=75"),
    "bilateral": ("attacks.defences.denoising:Bilateral.defend", "k x k means of pixels that are alike, k=5"),
    "non-local": ("attacks.defences.denoising:NonLocalMeans.defend", "means of pixels whose patches are alike, k=7"),
    "tv": ("attacks.defences.denoising:TotalVariation.defend", "least total variation nearby, weight=0.1"),
    "resize-pad": ("attacks.defences.random:ResizePad.defend", "random size and place, reach=1.1"),
    "smoothed": ("attacks.defences.randomised_smoothing:Smoothed.defend", "the vote under Gaussian noise, sigma=0.25"),
}
METHODS: dict[str, tuple[str, str]] = {
    "adversarial-training": (
        "attacks.defences.adversarial_training:AdversarialTrainingConfig",
        "classifier that learns from its own adversarial images: PGD, FGSM, fast, free, TRADES",
    ),
    "noise-training": (
        "attacks.defences.randomised_smoothing:NoiseTrainingConfig",
        "classifier that learns under Gaussian noise, to be smoothed and certified",
    ),
    "interval-training": (
        "attacks.defences.interval:IntervalTrainingConfig",
        "classifier certified by interval bounds",
    ),
}

LISTS = {
    "attacks": {k: text for k, (_, text) in ATTACKS.items()},
    "defences": {k: text for k, (_, text) in DEFENCES.items()},
}


def attack(name: str, eps: float, norm: str = "linf", **options: Any) -> Attack:
    """Attack `name` at eps pixels in `norm`; options are the fields of its dataclass, and may stand in the name, as in
    pgd:steps=100."""
    word, (name, more) = name, split(name, ATTACKS, "attack")
    build, options = resolve(ATTACKS[name][0]), options | more
    ball = resolve(BALLS[choose(norm, BALLS, "norm")][0])(eps)
    fields = {f.name for f in dataclasses.fields(build) if f.init}
    own = ("net", "lr") if "build" in fields else ()  # of the classifier that such an attack trains
    for option in options:
        choose(option, sorted({*fields, *own} - {"ball", "build"}), f"option of {name}")
    if own:
        config = _built(word, resolve(methods()["classifier"][0]), **{o: options.pop(o) for o in own if o in options})
        options["build"] = config.build
    if "inner" in fields:  # an attack by means of another one
        options.setdefault("inner", resolve(ATTACKS["pgd"][0])(ball))
    return _built(word, build, **({"ball": ball} if "ball" in fields else {}), **options)


def defence(name: str, model: nn.Module, **options: Any) -> nn.Module:
    """The model behind defence `name`; options may stand in the name, as in median:k=5.

    Filters one after the other are written median:k=5+bits; the first is nearest to the image.
    """
    parts = shields(name)
    alone = [_built(name, resolve(DEFENCES[part][0]), model, **(options | more)) for part, more in parts]
    if len(alone) == 1:
        return alone[0]
    from attacks.defences.smoothing import Composed, Filtered

    for (part, _), shield in zip(parts, alone):
        if not isinstance(shield, Filtered):
            raise ValueError(f"only filters can follow one another, and {part} of {name!r} is none")
    return Filtered(Composed(*(shield.filter for shield in alone)), model)


def shields(word: str) -> list[tuple[str, dict[str, Any]]]:
    """`median:k=5+bits` -> name and options of each part."""
    return [split(part, DEFENCES, "defence") for part in re.split(r"\+(?=[a-z])", word)]


def undefended(model: nn.Module) -> nn.Module:
    return model


def split(word: str, known: dict[str, tuple[str, str]], kind: str) -> tuple[str, dict[str, Any]]:
    """`name:option=value:...` -> the name, which must be one of `known`, and its options."""
    name, *options = word.split(":")
    found = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not key or not equals:
            raise ValueError(f"an option of {name} is written {name}:option=value, got {option!r}")
        try:
            found[key] = literal_eval(value)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            found[key] = value  # a word
    return choose(name, known, kind), found


def _built(word: str, builder: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """builder(...); an option that it does not take, or a value that it may not have, is the user's to mend."""
    try:
        return builder(*arguments, **options)
    except TypeError as error:
        raise ValueError(f"{word!r} has an option that does not fit: {error}") from None
    except OutOfRange as error:
        raise OutOfRange(error.option, f"{error.text} in {short(word)}") from None
    except ValueError as error:
        raise ValueError(f"{error} in {short(word)}") from None
