"""Flows on one data set, by uniform and by learned noise on their pixels: bits per dimension, samples, interpolation.

python recipes/flow_mnist.py                                     # scikit-learn's digits, minutes on one core
python recipes/flow_mnist.py --data mnist --data-root DIR --nets glow --noises variational --images 130000 --lr 6e-3
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Count, Distinct, Fraction, Layers, LearningRate, Length, Positive, Range, Seed, Width
from genlab.data import Images, batches
from genlab.experiment import check_all
from genlab.likelihood.dequantisation import Dequantisation
from genlab.methods.likelihood.flow import FlowConfig
from genlab.nets.glow import FlowName
from genlab.reporting.finish import finish
from genlab.reporting.labelled import labelled_grid_png

SHOWN = 12  # images in a row


@dataclass(frozen=True)
class Config:
    """Trains NICE, RealNVP and Glow, and draws from them."""

    data: genlab.DataOptions = field(default_factory=genlab.DataOptions)
    """which images; with hold-out, everything is measured on the validation images"""
    nets: Annotated[tuple[FlowName, ...], Distinct()] = ("nice", "realnvp", "glow")
    """the flows to train"""
    noises: Annotated[tuple[Dequantisation, ...], Distinct()] = ("uniform", "variational")
    """dequantisations; every flow is trained with each"""
    images: Length = 12_000
    """length of each training"""
    batch: Count = 32
    """images per batch"""
    lr: LearningRate = 5e-3
    """learning rate of Adam"""
    logit: Fraction = 1e-5
    """alpha of the preprocessing, as in `genlab train flow`"""
    steps: Layers | None = None
    """couplings, as in `genlab train flow`; none: the architecture's default, as for the width"""
    width: Width | None = None
    """hidden channels or units in a coupling"""
    dense: Annotated[int, Range(0, 64)] = 4
    """couplings of realnvp and glow that see all positions at once"""
    half_life: Positive = 2000
    """half-life of the averaged weights, in images"""
    temperatures: Annotated[tuple[Positive, ...], Distinct()] = (0.7, 1.0)
    """standard deviations of the latents of the samples"""
    out: Path = Path("runs/flows")
    """folder of the runs and the report"""
    seed: Seed = 0
    """of every training and sample"""


def main(config: Config) -> None:
    plan = {(net, noise): experiment(net, noise, config) for net in config.nets for noise in config.noises}
    check_all(plan.values())
    held_out = config.data.load("validation" if config.data.hold_out else "test")
    rows, walks = list[dict[str, Any]](), dict[str, Tensor]()
    samples = {temperature: {"real": held_out.x[:SHOWN]} for temperature in config.temperatures}
    for (net, noise), each in plan.items():
        out = config.out / f"{net}-{noise}"
        flow: Any = each.run(out, pictures=1)
        found = genlab.Run(out).results()
        error = reconstruction_error(flow, held_out)
        rows.append(
            {"flow": net, "noise": noise, "nats per image": found["nats"], "bits/dim": found["bits_per_dim"]}
            | {"largest error of reconstruction, in 8-bit levels": error}
        )
        with torch.no_grad():
            torch.manual_seed(config.seed)
            for temperature, shown in samples.items():
                shown[f"{net}, {noise}"] = flow.sample(SHOWN, temperature)
            walks[f"{net}, {noise}"] = flow.interpolate(held_out.x[:1], held_out.x[1:2], SHOWN)
    first, *others = samples
    page = genlab.Report(f"Flows on {config.data.data}").text(
        f"{message(rows)} Samples at temperature {first:g}, the standard deviation of z, by flow and noise of the "
        "training; held-out images above."
    )
    page.picture(rows_png(samples[first]))
    page.section("Likelihood", "Bounds of -log P of held-out 8-bit images.").table(
        [*rows[0]], [row.values() for row in rows]
    )
    for temperature in others:
        page.section(f"Samples at temperature {temperature:g}").picture(rows_png(samples[temperature]))
    page.section("Interpolation", "Linear in z, from one held-out image to another.").picture(rows_png(walks))
    finish(config.out, page, rows)


def experiment(net: FlowName, noise: Dequantisation, config: Config) -> genlab.Experiment:
    size: Any = {"steps": config.steps, "width": config.width}
    if net != "nice":
        size |= {"position_bias": True, "dense": config.dense}
    method = FlowConfig(net=net, dequantisation=noise, lr=config.lr, logit=config.logit, **size)
    how: Any = {"images": config.images, "batch": config.batch, "half_life": config.half_life, "seed": config.seed}
    return genlab.Experiment(method, config.data, **how)


def message(rows: list[dict[str, Any]]) -> str:
    """The best bound, and what learned noise saves, in a sentence."""
    best = min(rows, key=lambda row: row["bits/dim"])
    bits = {(row["flow"], row["noise"]): row["bits/dim"] for row in rows}
    saved = [
        f"{net} {bits[net, 'uniform'] - learned:.2f}"
        for (net, noise), learned in bits.items()
        if noise == "variational" and (net, "uniform") in bits
    ]
    text = f"The best bound is that of {best['flow']} with {best['noise']} noise: {best['bits/dim']:.3f} bits/dim."
    return text + (f" Learned instead of uniform noise saves {', '.join(saved)}." if saved else "")


@torch.no_grad()
def reconstruction_error(flow: Any, held_out: Images) -> float:
    """Largest |inverse(forward(x)) - x| of a pixel of the held-out images, in levels of 1/255."""
    return max(float((flow.reconstruct(x) - x).abs().max()) * 255 for x, _ in batches(held_out, 250))


def rows_png(images: dict[str, Tensor]) -> bytes:
    """SHOWN images (SHOWN, C, H, W) under each label, a row each."""
    return labelled_grid_png(torch.cat([*images.values()]), SHOWN, rows=[*images])


if __name__ == "__main__":
    start(main, Config)
