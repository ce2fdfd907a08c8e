"""Adversarial attacks, defences and their evaluation. Names are imported lazily."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genlab.core.registry import lazy_attributes

if TYPE_CHECKING:
    from attacks.auto import Auto
    from attacks.auto_pgd import AutoPGD, AutoPGDT
    from attacks.carlini import CarliniL0, CarliniL2, CarliniLinf
    from attacks.core.ball import L1, L2, Ball, Linf
    from attacks.core.model import Attack, Victim, victim
    from attacks.ddn import DDN
    from attacks.deepfool import DeepFool, DeepFoolLinf
    from attacks.elastic_net import EAD
    from attacks.evaluation.evaluate import evaluate
    from attacks.evaluation.results import Evaluation
    from attacks.evaluation.verdict import models_and_sources
    from attacks.external.wrap import wrap
    from attacks.fab import FABT
    from attacks.fmn import FMN, FMNL0, FMNL1, FMNLinf
    from attacks.hopskipjump import HopSkipJump, HopSkipJumpLinf
    from attacks.jsma import JSMA
    from attacks.lbfgs import LBFGS
    from attacks.minimal import Minimal
    from attacks.noise import RandomNoise
    from attacks.one_pixel import OnePixel
    from attacks.patch import Patch, TrainedPatch
    from attacks.pdgd import PDGD, PDPGD
    from attacks.pgd import FGSM, IFGSM, MIFGSM, PGD
    from attacks.sigma_zero import SigmaZero
    from attacks.spatial import Spatial
    from attacks.spsa import NES, SPSA
    from attacks.square import Square
    from attacks.surrogate import Surrogate, Transfer
    from attacks.transferable import Transferable
    from attacks.universal import (
        FixedPerturbation,
        PerImagePerturbation,
        Universal,
        UniversalCount,
        UniversalGenerator,
        UniversalGradient,
        UniversalTargeted,
    )
    from attacks.views import Views

_HOME = {
    "Attack": "core.model",
    "Auto": "auto",
    "AutoPGD": "auto_pgd",
    "AutoPGDT": "auto_pgd",
    "Ball": "core.ball",
    "CarliniL0": "carlini",
    "CarliniL2": "carlini",
    "CarliniLinf": "carlini",
    "DDN": "ddn",
    "DeepFool": "deepfool",
    "DeepFoolLinf": "deepfool",
    "EAD": "elastic_net",
    "FABT": "fab",
    "FGSM": "pgd",
    "FMN": "fmn",
    "FMNL0": "fmn",
    "FMNL1": "fmn",
    "FMNLinf": "fmn",
    "FixedPerturbation": "universal",
    "HopSkipJump": "hopskipjump",
    "HopSkipJumpLinf": "hopskipjump",
    "IFGSM": "pgd",
    "JSMA": "jsma",
    "L1": "core.ball",
    "L2": "core.ball",
    "LBFGS": "lbfgs",
    "Linf": "core.ball",
    "MIFGSM": "pgd",
    "Minimal": "minimal",
    "NES": "spsa",
    "RandomNoise": "noise",
    "OnePixel": "one_pixel",
    "PDGD": "pdgd",
    "PDPGD": "pdgd",
    "PGD": "pgd",
    "Patch": "patch",
    "TrainedPatch": "patch",
    "PerImagePerturbation": "universal",
    "Surrogate": "surrogate",
    "Evaluation": "evaluation.results",
    "SPSA": "spsa",
    "SigmaZero": "sigma_zero",
    "Spatial": "spatial",
    "Square": "square",
    "Transfer": "surrogate",
    "Transferable": "transferable",
    "Universal": "universal",
    "UniversalCount": "universal",
    "UniversalGenerator": "universal",
    "UniversalGradient": "universal",
    "UniversalTargeted": "universal",
    "Victim": "core.model",
    "Views": "views",
    "evaluate": "evaluation.evaluate",
    "models_and_sources": "evaluation.verdict",
    "victim": "core.model",
    "wrap": "external.wrap",
}
__all__ = [
    "DDN",
    "EAD",
    "FABT",
    "FGSM",
    "FMN",
    "FMNL0",
    "FMNL1",
    "IFGSM",
    "JSMA",
    "L1",
    "L2",
    "LBFGS",
    "MIFGSM",
    "Minimal",
    "NES",
    "PDGD",
    "PDPGD",
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
    "FixedPerturbation",
    "HopSkipJump",
    "HopSkipJumpLinf",
    "Linf",
    "RandomNoise",
    "OnePixel",
    "Patch",
    "TrainedPatch",
    "PerImagePerturbation",
    "Surrogate",
    "Evaluation",
    "SigmaZero",
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
    "evaluate",
    "models_and_sources",
    "victim",
    "wrap",
]

__getattr__ = lazy_attributes(__name__, _HOME)
