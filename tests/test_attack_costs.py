"""What attacks add to the passes of the model: operations per step, and questions to the device inside their loops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from toys import ATTACKS, LEARNT, Calls

from attacks.auto import Auto
from attacks.auto_pgd import AutoPGD, AutoPGDT
from attacks.carlini import CarliniL0, CarliniLinf
from attacks.core.ball import L2, Linf
from attacks.core.drop import drops
from attacks.core.model import Attack, victim
from attacks.ddn import DDN
from attacks.deepfool import DeepFool
from attacks.fab import FABT
from attacks.fmn import FMN, FMNLinf
from attacks.hopskipjump import HopSkipJump
from attacks.jsma import JSMA
from attacks.minimal import Minimal
from attacks.one_pixel import OnePixel
from attacks.pgd import IFGSM, MIFGSM, PGD
from attacks.spsa import SPSA
from attacks.square import Square

ASKING = {"_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select", "_unique2"}


class Operations(TorchDispatchMode):
    """Counts the operations, and those that make the host wait for the device: numbers, sizes, boolean masks."""

    def __init__(self) -> None:
        super().__init__()
        self.count, self.asked = Counter[str](), Counter[str]()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.__name__.split(".")[0]
        masks = args[1] if name in ("index", "index_put_", "index_put") else ()
        self.count[name] += 1
        if name in ASKING or any(m is not None and m.dtype == torch.bool for m in masks):
            self.asked[name] += 1
        return func(*args, **(kwargs or {}))


class Firm(nn.Module):
    """Four classes of images (N, 2, 4, 4), of which the first always wins: no attack ends before its time."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(0.1 * torch.randn(4, 32, generator=generator), requires_grad=False)
        self.lead = nn.Parameter(torch.tensor([30.0, 0.0, 0.0, 0.0]), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).sigmoid() @ self.weight.T + self.lead


X, Y = torch.rand(4, 2, 4, 4, generator=torch.Generator().manual_seed(1)), torch.zeros(4, dtype=torch.int64)


def operations(work: Callable[[], object]) -> Operations:
    with Operations() as counted:
        work()
    return counted


def bare(net: nn.Module) -> None:
    """The gradient that a step needs."""
    x = X.clone().requires_grad_()
    torch.autograd.grad(cross_entropy(net(x), Y, reduction="sum"), x)


@pytest.mark.parametrize(
    "attack, most",
    [
        (PGD(Linf(0.1)), 20),
        (PGD(L2(0.5)), 28),
        (MIFGSM(Linf(0.1)), 24),
        (AutoPGD(Linf(0.1)), 36),
        (AutoPGD(L2(0.5)), 47),
        (FMN(), 60),
        (FMNLinf(), 60),
        (DDN(), 80),
    ],
    ids=repr,
)
def test_operations_of_a_step_beside_the_passes(attack: Attack, most: int) -> None:
    net = Firm()
    passes = operations(lambda: bare(net)).count.total()
    few, many = (
        operations(lambda steps=steps: run(replace(attack, steps=steps), net)).count.total() for steps in (20, 40)
    )
    assert (many - few) / 20 - passes <= most


def run(attack: Attack, net: nn.Module) -> Tensor:
    """The search of the attack, without a second one from afar."""
    with victim(net, X, Y) as f:
        x, y = X.clone(), Y.clone()
        return attack.search(f, x, y, x).x if hasattr(attack, "search") else attack.run(f, x, y)


# A step of these costs many queries per image, which are what they are measured by: they ask once a step, for the
# pixels of a saliency map that are worth a table (JSMA) or between searches of a few steps each (Carlini).
EXCEPT = (SPSA, Square, OnePixel, HopSkipJump, JSMA, CarliniLinf, CarliniL0, Auto, Minimal, *LEARNT)
STEPPING = {
    type(a).__name__ + getattr(getattr(a, "ball", None), "name", ""): a
    for a in ATTACKS
    if not isinstance(a, (*EXCEPT, FABT)) and "steps" in {f.name for f in fields(a)}
}
STEPPING |= {
    "DeepFool": DeepFool(candidates=3, polish=4),
    "FABT": FABT(Linf(0.1), classes=1),
    "dropping": PGD(L2(0.5), early_stop=True),
    "momentum": IFGSM(Linf(0.1), momentum=0.5),
}
STEPPING.pop("DeepFoolLinf")  # the same loop


@pytest.mark.parametrize("attack", STEPPING.values(), ids=STEPPING)
def test_no_attack_asks_the_device_more_often_than_once_in_ten_steps(attack: Attack) -> None:
    few, many = [], []
    for steps, found in ((16, few), (32, many)):
        net, longer = Calls(Firm()), replace(attack, steps=steps)
        whole = isinstance(attack, DDN)  # also the second search from afar, which is the same of all
        work = partial(longer, net, X, Y) if whole else partial(run, longer, net)
        found += [operations(work).asked.total(), len(net.sizes)]
    assert many[0] - few[0] <= (many[1] - few[1]) / 10 + 1
    assert few[0] < 40


def test_finished_examples_leave_soon_and_are_asked_for_seldom() -> None:
    asked = [step for step in range(1000) if drops(step)]
    assert asked[:5] == [0, 1, 3, 7, 15] and len(asked) == 66
    assert all(b - a <= max(a + 1, 16) for a, b in zip(asked, asked[1:]))


class Thousand(nn.Module):
    """1,000 classes of images (N, 1, 4, 4); `classes`: those whose gradients were asked for, `passes`: how often."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1000, 16, generator=torch.Generator().manual_seed(0)))
        self.classes, self.passes = set[int](), 0

    def forward(self, x: Tensor) -> Tensor:
        logits = x.flatten(1) @ self.weight.T
        if logits.requires_grad:
            logits.register_hook(self.note)
        return logits

    def note(self, grad: Tensor) -> None:
        self.passes += len(grad)
        self.classes |= set((grad != 0).any(0).nonzero().flatten().tolist())


@pytest.mark.parametrize(
    "attack, most",
    [
        (DeepFool(steps=3, polish=0), 9 + 2 * 2),  # of nine classes at first, then of two
        (AutoPGDT(Linf(0.001), steps=3), 9 * 3),
        (FABT(Linf(0.001), steps=3), 9 * 3),
        (Minimal(norm="linf", passes=100), 100),
    ],
    ids=lambda value: type(value).__name__,
)
def test_with_a_thousand_classes_only_the_likeliest_are_looked_at(attack: Attack, most: int) -> None:
    net, x = Thousand(), torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    attack(net, x, net(x).argmax(1))
    assert len(net.classes) <= 15 and 0 < net.passes <= most
