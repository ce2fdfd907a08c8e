"""Options of every attack and every defence: what their annotations do not allow is refused by name.

An attack or a defence that joins `attacks.plugin` gets all of this; a number without a range fails the first test.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from inspect import signature
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
import torch
from torch import nn
from toys import Largest

from attacks import FGSM, L2, PGD, Linf, Square, Surrogate, plugin
from attacks.cli import parse_eps
from attacks.core.model import Attack
from attacks.defences.adversarial_training import AdversarialTrainingConfig
from attacks.explanation import ExplanationAttack
from attacks.latent import LatentAttack
from attacks.reprogramming import Reprogramming
from attacks.universal import FixedPerturbation
from attacks.views import Views
from genlab.core.ranges import OutOfRange, Range
from genlab.core.registry import resolve
from genlab.methods.classification.classifier import ClassifierConfig

DEFENCES = [name for name in plugin.DEFENCES if name != "none"]
BAD = ["0", "-1", "1.5", "nan", "inf", "-inf", "1e308", "-1e308", "1000000000000", "1" + 400 * "0", "", "maybe", "None"]


def attack(name: str) -> type:
    return resolve(plugin.ATTACKS[name][0])


def defence(name: str) -> Callable[..., Any]:
    """What takes the options of a defence."""
    build = resolve(plugin.DEFENCES[name][0])
    owner = getattr(build, "__self__", None)  # of Filter.defend and the like
    return build if owner is None else owner.__init__


def hints(builder: Callable[..., Any]) -> dict[str, Any]:
    """Option -> annotation, of a dataclass or a function."""
    found = get_type_hints(builder, include_extras=True)
    taken = (
        {f.name for f in dataclasses.fields(builder)}
        if isinstance(builder, type)
        else set(signature(builder).parameters)
    )
    return {name: hint for name, hint in found.items() if name in taken}


def numbers(hint: Any) -> list[Any]:
    """The parts of an annotation that are numbers, with their ranges."""
    if get_origin(hint) is Annotated or hint in (int, float):
        return [hint]
    return [part for inner in get_args(hint) if inner is not ... for part in numbers(inner)]


OPTIONS = [("attack", name, option) for name in plugin.ATTACKS for option in hints(attack(name))]
OPTIONS += [("defence", name, option) for name in DEFENCES for option in hints(defence(name))]
OPTIONS = [o for o in OPTIONS if o[2] not in ("ball", "model", "return", "inner", "views", "build")]


def build(kind: str, word: str) -> Any:
    return plugin.attack(word, 0.1) if kind == "attack" else plugin.defence(word, nn.Identity())


@pytest.mark.parametrize(
    "kind",
    [
        *map(attack, plugin.ATTACKS),
        FixedPerturbation,
        LatentAttack,
        ExplanationAttack,
        Views,
        Reprogramming,
        *map(defence, DEFENCES),
    ],
)
def test_every_number_has_a_range(kind: Callable[..., Any]) -> None:
    for name, hint in hints(kind).items():
        for number in numbers(hint):
            ranges = [part for part in get_args(number)[1:] if isinstance(part, Range)]
            assert ranges and ranges[0].high < math.inf and ranges[0].low > -math.inf, f"{name} of {kind}"


@pytest.mark.parametrize(("kind", "name", "option"), OPTIONS)
def test_a_value_out_of_range_is_refused_by_name_and_every_other_builds(kind: str, name: str, option: str) -> None:
    hint, refused = (hints(attack(name)) if kind == "attack" else hints(defence(name)))[option], 0
    for text in BAD:
        try:
            assert build(kind, f"{name}:{option}={text}") is not None
        except OutOfRange as error:
            refused += 1
            sentence = str(error)
            assert sentence.startswith(f"{option} must be ") and ", got " in sentence and len(sentence) < 400
        except ValueError as error:  # a relation between options
            assert option in str(error)
    assert refused >= (5 if numbers(hint) else 1 if hint is not str else 0)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(144, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


SHORT = {
    "steps": 3,
    "searches": 2,
    "generations": 2,
    "population": 8,
    "queries": 40,
    "samples": 4,
    "first": 4,
    "tries": 4,
}


SLOW = [("attack", "jsma", "theta")]  # its smallest step needs a thousand passes for a pixel


def ends(hint: Any) -> list[float]:
    """The smallest and the largest number that a real option may be."""
    found = []
    for number in numbers(hint):
        if get_args(number)[0] is float:
            limits = next(part for part in get_args(number)[1:] if isinstance(part, Range))
            found += [math.nextafter(limits.low, math.inf) if limits.above else float(limits.low)]
            found += [math.nextafter(limits.high, -math.inf) if limits.below else float(limits.high)]
    return found


REAL = [
    (kind, name, option)
    for kind, name, option in OPTIONS
    if (kind, name, option) not in SLOW and ends(hints(attack(name) if kind == "attack" else defence(name))[option])
]


@pytest.mark.parametrize(("kind", "name", "option"), REAL)
def test_attacks_and_defences_work_at_the_ends_of_their_ranges(kind: str, name: str, option: str) -> None:
    net, x = Net(), torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    x[0], x[1, :, :4] = 1.0, 0.0
    y = net(x).argmax(1)
    for value in ends(hints(attack(name) if kind == "attack" else defence(name))[option]):
        if kind == "defence":
            answer = plugin.defence(name, net, **{option: value})(x)
            assert answer.isfinite().all(), value
            continue
        short = {k: v for k, v in SHORT.items() if k in hints(attack(name))}
        made = plugin.attack(name, 0.1, **(short | {option: value}))
        if getattr(made, "images", None) or not isinstance(made, Attack):
            continue  # learns beforehand
        adv = made(net, x, y)
        assert adv.isfinite().all() and adv.min() >= 0 and adv.max() <= 1, value
        if ball := getattr(made, "ball", None):
            assert ball.size(adv - x).max() <= ball.eps + 1e-6, value


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("pgd:random_start=maybe", "random_start must be True or False, got 'maybe'"),
        ("fgsm:seed=x", "seed must be a whole number, at least 0 .*, got 'x'"),
        ("pgd:seed=x", "seed must be a whole number"),
        ("pgd:steps=1.5", "steps must be a whole number, at least 1 .*, got 1.5"),
        ("one-pixel:pixels=1000", "pixels must be at least 1 and at most 100, got 1000"),
        ("pgd:=3", "written pgd:option=value, got '=3'"),
        ("pgd:steps", "written pgd:option=value, got 'steps'"),
        ("pgd:steps=2:steps=3", "has the option steps twice"),
        ("pgd:steps=", "steps must be a whole number"),
        ("pgd:steps=" + 9999 * "(", "steps must be a whole number"),
        ("deepfool:norm=l1", "norm must be one of 'l2', 'linf', got 'l1'"),
        ("surrogate:net=cn", "net must be one of cnn, .* or file.py:function"),
        ("surrogate:lr=0", "lr must be above 0 .*, got 0"),
        ("surrogate:build=3", "unknown option of surrogate 'build'"),
        ("fgsm:eps=0.1", "the radius of fgsm is that of all attacks, --eps"),
        ("surrogate:inner=3", "inner must be of class Attack, got 3"),
        ("patch:views=3", "views must be of class Views, got 3"),
        ("transferable:kernel=4", "kernel must be odd, at least 1 and at most 99, got 4"),
    ],
)
def test_options_in_the_name_of_an_attack(word: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        plugin.attack(word, 0.1)


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("gaussian:sigma=1e308", "sigma must be at least 0.001 and at most 100, got 1e"),
        ("gaussian:=3", "written gaussian:option=value, got '=3'"),
        ("median:k=4", "k must be odd, at least 1 and at most 99, got 4"),
        ("median:k=3+mean:k=x", "k must be a whole number, odd"),
        ("mean:size=3", "does not fit"),
        ("none:k=3", "does not fit"),
        ("smoothed:batch=0", "batch must be at least 1"),
    ],
)
def test_options_in_the_name_of_a_defence(word: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        plugin.defence(word, nn.Identity())


def test_pixels_are_in_0_1_and_who_counts_in_255ths_is_told() -> None:
    hint = r"eps must be at least 0 and at most 1 \(pixels are in \[0, 1\]; did you mean 8/255\?\), got 8"
    for make in (
        lambda: Linf(8),
        lambda: PGD(8),
        lambda: plugin.attack("pgd", 8),
        lambda: Linf(0.1).at(8),
        lambda: AdversarialTrainingConfig(eps=8),
    ):
        with pytest.raises(ValueError, match=hint):
            make()
    with pytest.raises(ValueError, match=f"--{hint}"):
        parse_eps("8", "linf")
    assert parse_eps("8/255", "linf") == 8 / 255 and parse_eps("0.25", "linf") == 0.25 and parse_eps("8", "l2") == 8.0
    for word in ("8/0", "a/b", "eight", "", "nan", "-1", "1e308", "inf"):
        for norm in ("linf", "l2"):
            with pytest.raises(ValueError, match="--eps must be "):
                parse_eps(word, norm)


def test_a_number_in_the_place_of_a_ball_is_the_eps_of_linf() -> None:
    assert PGD(8 / 255) == PGD(Linf(8 / 255)) and FGSM(0, seed=3) == FGSM(Linf(0), seed=3)
    assert Square(0.1).ball == Linf(0.1) and Surrogate(PGD(0.1), ClassifierConfig().build).at(0.2).ball == Linf(0.2)
    assert PGD(L2(3)).ball == L2(3)
    for ball in ("linf", None, True, [0.1]):
        with pytest.raises(ValueError, match="ball must be of class Ball|eps must be"):
            PGD(ball)  # type: ignore[arg-type]


def test_a_blur_wider_than_the_image_costs_no_memory() -> None:
    with Largest() as largest:
        flat = plugin.defence("gaussian:sigma=100", nn.Identity())(torch.rand(64, 1, 8, 8))
    assert flat.std(dim=(2, 3)).max() < 0.1 and largest.numel < 10_000
