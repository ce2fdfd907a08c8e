"""Exposure bias of a PixelCNN: trained on real pixels, it samples from its own. Does scheduled sampling help?

Scheduled sampling (Bengio et al. 2015, arXiv:1506.03099) replaces some of the input pixels by the model's own samples
during training. Compared: none of them, a share that rises from 0, and that share from the start, when the model's
samples are still noise; by held-out likelihood and by the FID of samples, over seeds.

python recipes/exposure_bias.py                                  # binary digits, minutes on one core
python recipes/exposure_bias.py --data binary:mnist --data-root DIR
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Layers, Length, Range, Seeds, Share
from genlab.core.text import counted
from genlab.experiment import check_all
from genlab.methods.classification.features import default_features
from genlab.methods.likelihood.autoregressive import AutoregressiveConfig
from genlab.metrics.comparison import measure
from genlab.metrics.extract import extract_features, samples, shuffled
from genlab.reporting.finish import finish
from genlab.reporting.grid import grid_png
from genlab.reporting.plots import bars
from genlab.reporting.spread import over_seeds


@dataclass(frozen=True)
class Config:
    """Held-out likelihood and FID of the samples, by the inputs during training."""

    data: str = "binary:digits"
    """black and white images with labels, of which the features of the FID are learnt"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    share: Share = 0.3
    """share of the input pixels that are the model's own samples"""
    images: Length = 40_000
    """length of every training"""
    seeds: Seeds = (0, 1, 2)
    """everything is repeated with each of these seeds"""
    width: Annotated[int, Range(3, 2**16)] = 24
    """features per pixel"""
    layers: Layers = 3
    """layers after the first"""
    n: Annotated[int, Range(2, 10**7)] = 500
    """samples per FID"""
    classifier_images: Length | None = None
    """training length of the classifier whose features the FID compares; none: 60 epochs, at most 100,000"""
    out: Path = Path("runs/exposure-bias")
    """folder of the runs and the report"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    methods = schedules(config)
    check_all(experiment(config, method, data, seed=0) for method in methods.values())
    features = default_features(data, images=config.classifier_images)
    real = extract_features(shuffled(data.load("test")), features)

    page = genlab.Report(f"Exposure bias: {config.data}")
    rows = []
    for inputs, method in methods.items():
        figures = []
        for seed in config.seeds:
            run = config.out / f"{inputs.replace(' ', '-')}-{seed}"
            model: Any = experiment(config, method, data, seed).run(run, pictures=1)
            fake = extract_features(samples(model.sample, config.n), features)
            figures.append({"nats": genlab.Run(run).results()["nats"], **measure("FID", real, fake)})
        torch.manual_seed(config.seeds[-1])
        page.section(inputs).picture(grid_png(model.sample(64)), "samples, last seed")
        rows.append({"inputs in training": inputs} | over_seeds(figures))
    fid = next(name for name in rows[0] if name.startswith("FID"))
    page.opening(
        "Likelihood and samples by what the network is fed with in training: "
        + ", ".join(f"{row['inputs in training']} {row['nats']:.2f} nats and FID {row[fid]:.1f}" for row in rows)
        + ".",
        bars({row["inputs in training"]: [row[fid]] for row in rows}, x=fid),
    )
    text = f"Mean ± standard deviation over {counted(config.seeds)}; nats per held-out image."
    page.section("Figures", text).table(list(rows[0]), (row.values() for row in rows))
    finish(config.out, page, rows)


def schedules(config: Config) -> dict[str, AutoregressiveConfig]:
    """The inputs during training."""
    plain = AutoregressiveConfig(head="bernoulli", width=config.width, layers=config.layers, lr=2e-3)
    rising = replace(plain, self_sampling=config.share)
    constant = replace(rising, self_sampling_from=config.share)
    return {"real pixels": plain, "rising share of own samples": rising, "constant share of own samples": constant}


def experiment(config: Config, method: AutoregressiveConfig, data: genlab.DataOptions, seed: int) -> genlab.Experiment:
    return genlab.Experiment(method, data, images=config.images, batch=16, seed=seed, warmup=0.0)


if __name__ == "__main__":
    start(main, Config)
