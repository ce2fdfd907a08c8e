"""What does a class like best? Pictures made pixel by pixel, at a price per bright pixel, and through a decoder.

python recipes/activation_maximisation.py                        # scikit-learn's digits, a minute on one core
python recipes/activation_maximisation.py --data mnist --data-root DIR
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import genlab
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Count, Length, Seed
from genlab.experiment import check_all
from genlab.explain.gradients import input_gradient
from genlab.explain.maximise import maximise, maximise_through
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.methods.likelihood.vae import VAEConfig
from genlab.reporting.grid import grid_png


@dataclass(frozen=True)
class Config:
    data: genlab.DataOptions = genlab.DataOptions()
    images: Length = 60_000  # length of each training
    each: Count = 4  # pictures per class
    out: Path = Path("runs/activation-maximisation")
    seed: Seed = 0


def main(config: Config) -> None:
    options = genlab.TrainOptions(config.images, seed=config.seed, schedule="cosine")
    plan = {
        "classifier": genlab.Experiment(ClassifierConfig(), config.data, **vars(options)),
        "judge": genlab.Experiment(ClassifierConfig(), config.data, **vars(replace(options, seed=config.seed + 1))),
        "vae": genlab.Experiment(VAEConfig(width=32, latent=16), config.data, **vars(options)),
    }
    check_all(plan.values())
    models: dict[str, Any] = {name: each.run(config.out / name, pictures=0) for name, each in plan.items()}
    net, judge, vae, test = models["classifier"], models["judge"], models["vae"], config.data.load("test")
    wanted = torch.arange(len(test.classes), device=test.device).repeat(config.each)
    torch.manual_seed(config.seed)
    black = 0.1 * torch.rand(len(wanted), *test.shape, device=test.device)
    z = torch.randn(len(wanted), vae.latent, device=test.device)
    price = float(input_gradient(net, black, wanted).abs().mean())
    pictures = {
        "pixels": maximise(net, wanted, black),
        "pixels, at the price of a mean input_gradient": maximise(net, wanted, black, l1=price),
        "through a VAE's decoder": maximise_through(net, wanted, vae.decode, z),
    }
    page, agreed = genlab.Report("What a class likes best"), {}
    page.text("A column per class. A network of another training says whether it sees the same class.")
    for name, x in pictures.items():
        with torch.no_grad():
            agreed[name] = float((judge(x).argmax(1) == wanted).float().mean())
        page.picture(grid_png(x, len(test.classes)), name)
        print(f"{name}: the other network agrees with {agreed[name]:.1%}")
    page.table(["made of", "the other network agrees"], agreed.items())
    write_atomically(config.out / "results.json", json.dumps(agreed, indent=1).encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
