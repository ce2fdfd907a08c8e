"""What theory says of GANs, measured on points; `python recipes/gan_theory.py`, about two minutes on one core."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Positive, Repeats, Seed, Steps
from genlab.data import points
from genlab.methods.gan.gan import GAN, GANConfig
from genlab.methods.gan.losses import OBJECTIVES
from genlab.methods.gan.wgan import WGAN, WGANConfig
from genlab.metrics.transport import wasserstein1
from genlab.nets.mlp import MLPCritic, MLPGenerator
from genlab.reporting.plots import curves
from genlab.theory import divergences as d
from genlab.theory.discriminator_only import DiscriminatorOnly
from genlab.theory.plane import Animation, add_sweep, train_points


@dataclass(frozen=True)
class Config:
    gaps: tuple[Positive, ...] = (0.25, 0.5, 1.0, 2.0, 3.0, 4.0)  # between Gaussians of std 1, and between segments
    steps: Steps = 600  # batches of 256 for each method; the animated GAN has three times as many
    frames: Repeats = 45
    seed: Seed = 0  # of the networks
    out: Path = Path("runs/gan_theory")


def main(config: Config) -> None:
    torch.manual_seed(config.seed)
    x, page = d.line(-30, 30), genlab.Report("What theory says of GANs")
    rows, real, held_out = [], points.gaussian(), points.gaussian(seed=1)
    for gap in config.gaps:
        exact = d.js(d.log_normal(x, 0, 1), d.log_normal(x, gap, 1), x).item()
        method = train_points(DiscriminatorOnly(MLPCritic(1), points.gaussian(gap, seed=2)), real, config.steps)
        rows.append((gap, exact, method.evaluate(held_out)["js"]))
    page.section("A discriminator measures a divergence", "Real N(0, 1), fake N(gap, 1): log 2 + V / 2 nears the JSD.")
    add_sweep(page, rows, ("integral", "trained discriminator"), "JSD (nats)")

    objectives, norms = ("minimax", "nonsaturating"), []
    rows, real, held_out = [], points.segment(), points.segment(seed=1)
    for gap in config.gaps:
        method = train_points(DiscriminatorOnly(MLPCritic(2), fake := points.segment(gap, seed=2)), real, config.steps)
        rows.append((gap, method.evaluate(held_out)["js"], wasserstein1(real.x[:256], fake.x[:256])))
        norms.append((gap, *(method.gradient_norm(fake.x[:1000], OBJECTIVES[name]) for name in objectives)))
    text = "Segments that do not meet: the JSD is log 2 = 0.693 at every gap, the earth mover's distance is the gap."
    page.section("Without overlap the divergence is flat, and one of the losses has no gradient", text)
    add_sweep(page, rows, ("JSD, trained discriminator", "earth mover's distance, exact"), "nats, or distance")
    add_sweep(page, norms, objectives, "gradient norm at a fake", log=True)

    p, near = d.log_mixture(x, [-2.0, 3.0], [0.6, 0.9], [0.4, 0.6]), x.abs() < 7
    lines = {"data": (x[near], p.exp()[near])}
    for name, divergence in {"KL": d.kl, "reverse KL": d.reverse_kl}.items():
        m, s = d.fit_gaussian(p, x, divergence, (2.0, 1.0))
        lines[f"{name}: N({m:.2f}, {s:.2f}²)"] = x[near], d.log_normal(x, m, s).exp()[near]
    page.section("KL covers, reverse KL chooses", "The best Gaussian for a mixture of two, by direct minimisation.")
    page.picture(curves(lines, x="x", y="density"))

    lines = {}
    for name, weight_clip in {"unconstrained": None, "weights clipped to 0.1": 0.1}.items():
        torch.manual_seed(config.seed)
        run = genlab.Run.create(config.out / f"wgan-{weight_clip}", {"steps": config.steps, "seed": config.seed})
        wgan = WGANConfig(latent=8, weight_clip=weight_clip, n_critic=20, lr=1e-3)
        train_points(WGAN(MLPGenerator(8), MLPCritic(), wgan), points.ring(), config.steps, run=run)
        lines[name] = [[row["images"] / 1000, abs(row["distance"])] for row in run.metrics()]
    page.section("A Wasserstein critic needs a bound", "20 critic steps per generator step, on the ring.")
    lines = {name: tuple(zip(*rows)) for name, rows in lines.items()}
    page.picture(curves(lines, x="thousand points seen", y="|E f(real) - E f(fake)|", log=True))

    data = points.ring(spread=0.1)
    gan, film = GAN(MLPGenerator(8), MLPCritic(), GANConfig(latent=8, lr=2e-3, lr_generator=2e-3)), Animation(data.x)
    train_points(gan, data, 3 * config.steps, point_hooks=[(config.frames, film)])
    page.section("Training, step by step").picture(
        film.save(config.out / "ring.gif"), "orange: D says real; purple: fake"
    )
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
