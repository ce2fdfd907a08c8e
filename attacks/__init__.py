"""Adversarial attacks, defences and an evaluator that distrusts both. Names are imported when first used.

`evaluate` is not among them, because it is also the name of its module: `from attacks.evaluate import evaluate`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attacks.ball import L2, Ball, Linf
    from attacks.control import Noise
    from attacks.evaluate import Report
    from attacks.model import Attack, Victim, victim
    from attacks.pgd import FGSM, IFGSM, MIFGSM, PGD

_HOME = {
    "Ball": "ball",
    "L2": "ball",
    "Linf": "ball",
    "Noise": "control",
    "Report": "evaluate",
    "Attack": "model",
    "Victim": "model",
    "victim": "model",
    "FGSM": "pgd",
    "IFGSM": "pgd",
    "MIFGSM": "pgd",
    "PGD": "pgd",
}

__all__ = [
    "FGSM",
    "IFGSM",
    "L2",
    "MIFGSM",
    "PGD",
    "Attack",
    "Ball",
    "Linf",
    "Noise",
    "Report",
    "Victim",
    "victim",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
