"""Generative models in front of a classifier: what they cost, what they stop, and what is left to who knows of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

import genlab
from attacks import FGSM, PGD, Linf
from attacks.defences import models_and_sources
from attacks.defences.comparison import undetected_rates
from attacks.defences.purify import DefenseGAN, PixelDefend, Reconstruct, magnet
from attacks.defences.smoothing import Filtered
from attacks.evaluation.evaluate import evaluate
from attacks.evaluation.report import add_evaluation
from attacks.latent import LatentAttack
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Count, Eps, Length, Seed, Steps
from genlab.experiment import check_all
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.methods.gan.gan import GANConfig
from genlab.methods.likelihood.autoregressive import AutoregressiveConfig
from genlab.methods.likelihood.vae import VAEConfig
from genlab.methods.representation.autoencoder import AutoEncoderConfig
from genlab.reporting.grid import grid_png

DCGAN = GANConfig(width=32, hidden=0, lr_generator=None)
MODELS: dict[str, tuple[Any, Any]] = {
    "classifier": (ClassifierConfig(), None),
    "gan": (DCGAN, lambda m, c: DefenseGAN(m.generator, m.latent, 4, c.descent)),
    "vae": (VAEConfig(pixels="gaussian", sigma=0.1, evaluation_samples=1), lambda m, c: Reconstruct(m.reconstruct)),
    "auto-encoder": (AutoEncoderConfig(noise=0.1), lambda m, c: Reconstruct(m.reconstruct)),
    "pixelcnn": (AutoregressiveConfig(levels=17, layers=3), lambda m, c: PixelDefend(m.net, m.head, c.eps)),
}


@dataclass(frozen=True)
class Config:
    data: str = "digits"
    data_root: Path | None = None
    images: Length = 40_000  # length of every training; the GAN's is four times as long
    models: tuple[Literal["gan", "vae", "auto-encoder", "pixelcnn"], ...] = ("gan", "vae", "auto-encoder", "pixelcnn")
    eps: Eps = 0.2  # L-infinity size of the attacks, in pixels of [0, 1]; PixelDefend moves pixels as far
    descent: Steps = 60  # steps of Defense-GAN from each of its four starts
    attacked: Count = 100  # held-out images to attack; MagNet's thresholds come from the others
    out: Path = Path("runs/purify")
    seed: Seed = 0


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    options = genlab.TrainOptions(config.images, seed=config.seed, schedule="cosine")
    longer = genlab.TrainOptions(4 * config.images, seed=config.seed, half_life=10_000)
    plan = {
        name: genlab.Experiment(MODELS[name][0], data, **vars(longer if name == "gan" else options))
        for name in ("classifier", *config.models)
    }
    check_all(plan.values())
    test, n = data.load("test"), config.attacked
    if "auto-encoder" in plan and n >= len(test):
        raise ValueError(f"--attacked {n} leaves none of the {len(test)} held-out images for MagNet's thresholds")
    made = {name: each.run(config.out / name, pictures=1) for name, each in plan.items()}
    net, x, y = made["classifier"], test.x[:n], test.labels[:n]
    models, sources = models_and_sources(net, {k: Filtered(MODELS[k][1](made[k], config), net) for k in config.models})
    pgd, page = PGD(Linf(config.eps), steps=20), genlab.Report(f"Purification: {config.data}, eps {config.eps:g}")
    found = evaluate(models, {"fgsm": FGSM(pgd.ball), "pgd": pgd}, x, y, sources=sources)
    if gan := models.get("gan"):
        latents = LatentAttack(pgd.ball, gan.filter, net, 3 * config.descent)
        found.rows += evaluate({"gan, adaptive": gan}, {"latents": latents}, x, y).rows[:1]
    results, adv = found.to_json(), pgd(net, x, y)
    page.section("Purified", "Rows: original, purified; adversarial (PGD on the classifier alone), purified.")
    for name, purify in ((name, models[name].filter) for name in config.models):
        page.picture(grid_png(torch.cat([x[:12], purify(x[:12]), adv[:12], purify(adv[:12])]), 12), name)
    if "auto-encoder" in made:
        guarded = magnet(net, made["auto-encoder"].reconstruct, test.x[n : n + 1000], 0.05).adaptive()
        results["magnet"] = rates = undetected_rates(guarded, pgd, adv, x, y)
        page.section("MagNet", "Shares right, and then wrong, without alarm.").table([*rates], [[*rates.values()]])
    print(found, results.get("magnet"), sep="\n")
    write_atomically(config.out / "results.json", json.dumps(results, indent=1).encode())
    print(f"report {add_evaluation(page, found).save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
