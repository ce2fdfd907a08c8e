"""Adversarial attacks, defences and an evaluator that distrusts both. Names are imported when first used.

`evaluate` is not among them, because it is also the name of its module: `from attacks.evaluate import evaluate`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from genlab.names import lazily

if TYPE_CHECKING:
    from attacks.ball import L2, Ball, Linf
    from attacks.control import Noise
    from attacks.model import Attack, Victim, victim
    from attacks.pgd import FGSM, IFGSM, MIFGSM, PGD
    from attacks.results import Report

_HOME = {
    "Ball": "ball",
    "L2": "ball",
    "Linf": "ball",
    "Noise": "control",
    "Report": "results",
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

__getattr__ = lazily(__name__, _HOME)
