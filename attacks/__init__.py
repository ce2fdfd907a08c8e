"""Adversarial attacks, defences and an evaluator that distrusts both. Names are imported when first used.

`evaluate` is not among them, because it is also the name of its module: `from attacks.evaluate import evaluate`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from genlab.names import lazily

if TYPE_CHECKING:
    from attacks.auto import Auto
    from attacks.auto_pgd import AutoPGD, AutoPGDT
    from attacks.ball import L2, Ball, Linf
    from attacks.carlini import CarliniL0, CarliniL2, CarliniLinf
    from attacks.control import Noise
    from attacks.deepfool import DeepFool, DeepFoolLinf
    from attacks.elastic_net import EAD
    from attacks.fmn import FMN, FMNL1, FMNLinf
    from attacks.hopskipjump import HopSkipJump, HopSkipJumpLinf
    from attacks.jsma import JSMA
    from attacks.lbfgs import LBFGS
    from attacks.model import Attack, Victim, victim
    from attacks.one_pixel import OnePixel
    from attacks.patch import Patch, Patched
    from attacks.pgd import FGSM, IFGSM, MIFGSM, PGD
    from attacks.proxy import Proxy, Transfer
    from attacks.results import Report
    from attacks.spatial import Spatial
    from attacks.spsa import NES, SPSA
    from attacks.square import Square
    from attacks.transferable import Transferable
    from attacks.universal import (
        Fixed,
        PerImage,
        Universal,
        UniversalCount,
        UniversalGenerator,
        UniversalGradient,
        UniversalTargeted,
    )
    from attacks.views import Views

_HOME = {
    "Auto": "auto",
    "AutoPGD": "auto_pgd",
    "AutoPGDT": "auto_pgd",
    "OnePixel": "one_pixel",
    "Patch": "patch",
    "Patched": "patch",
    "Spatial": "spatial",
    "Transferable": "transferable",
    "Views": "views",
    "HopSkipJump": "hopskipjump",
    "HopSkipJumpLinf": "hopskipjump",
    "Proxy": "proxy",
    "Transfer": "proxy",
    "NES": "spsa",
    "SPSA": "spsa",
    "Square": "square",
    "Fixed": "universal",
    "PerImage": "universal",
    "Universal": "universal",
    "UniversalGenerator": "universal",
    "UniversalGradient": "universal",
    "UniversalTargeted": "universal",
    "UniversalCount": "universal",
    "Ball": "ball",
    "L2": "ball",
    "Linf": "ball",
    "CarliniL0": "carlini",
    "CarliniL2": "carlini",
    "CarliniLinf": "carlini",
    "DeepFool": "deepfool",
    "DeepFoolLinf": "deepfool",
    "EAD": "elastic_net",
    "FMN": "fmn",
    "FMNL1": "fmn",
    "FMNLinf": "fmn",
    "JSMA": "jsma",
    "LBFGS": "lbfgs",
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
    "EAD",
    "FGSM",
    "FMN",
    "FMNL1",
    "IFGSM",
    "JSMA",
    "L2",
    "LBFGS",
    "MIFGSM",
    "NES",
    "PGD",
    "SPSA",
    "Attack",
    "Auto",
    "AutoPGD",
    "AutoPGDT",
    "Ball",
    "CarliniL0",
    "CarliniL2",
    "CarliniLinf",
    "DeepFool",
    "DeepFoolLinf",
    "FMNLinf",
    "Fixed",
    "HopSkipJump",
    "HopSkipJumpLinf",
    "Linf",
    "Noise",
    "OnePixel",
    "Patch",
    "Patched",
    "PerImage",
    "Proxy",
    "Report",
    "Spatial",
    "Square",
    "Transfer",
    "Transferable",
    "Universal",
    "UniversalGenerator",
    "UniversalGradient",
    "UniversalCount",
    "UniversalTargeted",
    "Victim",
    "Views",
    "victim",
]

__getattr__ = lazily(__name__, _HOME)
