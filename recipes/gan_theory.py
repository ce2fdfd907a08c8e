"""What theory says of GANs, measured on points: divergences, flat losses, vanishing gradients, bounded critics.

python recipes/gan_theory.py                                     # minutes on one core
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.ranges import NonEmpty, Positive, Repeats, Seed, Steps
from genlab.data import points
from genlab.data.points import Points
from genlab.methods.gan.gan import GAN, GANConfig
from genlab.methods.gan.losses import OBJECTIVES, gradient_norms
from genlab.methods.gan.wgan import WGAN, WGANConfig
from genlab.methods.gan.wgan_gp import WGANGP, WGANGPConfig
from genlab.metrics.transport import wasserstein1
from genlab.nets.mlp import MLPCritic, MLPGenerator
from genlab.nets.spectral import spectral_norm
from genlab.reporting.finish import finish, records
from genlab.reporting.plots import curves, histograms
from genlab.theory import divergences
from genlab.theory.discriminator_only import DiscriminatorOnly
from genlab.theory.plane import Animation, add_sweep, train_points

CONSTRAINTS = {
    "unconstrained": "none",
    "weights clipped to 0.1": "clip",
    "gradient penalty": "penalty",
    "spectral norm": "spectral",
}
LINE = divergences.line(-30, 30)  # where densities are integrated


@dataclass(frozen=True)
class Config:
    """Five experiments, a section of the report each."""

    gaps: NonEmpty[Positive] = (0.25, 0.5, 1.0, 2.0, 3.0, 4.0)
    """distances between two Gaussians of standard deviation 1, and between two segments"""
    steps: Steps = 600
    """batches of 256 for each method; the animated GAN has three times as many"""
    frames: Repeats = 45
    """frames of the animation"""
    seed: Seed = 0
    """of the networks"""
    out: Path = Path("runs/gan_theory")
    """folder of the report and the animation"""


def main(config: Config) -> None:
    torch.manual_seed(config.seed)
    page = genlab.Report("What theory says of GANs")
    results = {
        "overlapping": overlapping(page, config),
        "disjoint": disjoint(page, config),
        "gaussian fits": gaussian_fits(page),
        "critics": critics(page, config),
    }
    animation(page, config)
    finish(config.out, page, results)


def overlapping(page: genlab.Report, config: Config) -> list[dict[str, float]]:
    """The JSD of two Gaussians: by the integral, and by a discriminator."""
    real, held_out = points.gaussian(), points.gaussian(seed=1)
    header = ["gap", "integral", "trained discriminator"]
    rows = []
    for gap in config.gaps:
        integral = divergences.js(divergences.log_normal(LINE, 0, 1), divergences.log_normal(LINE, gap, 1), LINE)
        discriminator = trained_discriminator(MLPCritic(1), real, points.gaussian(gap, seed=2), config)
        rows.append((gap, integral.item(), discriminator.evaluate(held_out)["js"]))
    gap, exact, learnt = rows[-1]
    page.section(
        "A discriminator measures a divergence",
        f"Real points from N(0, 1), fake ones from N({gap:g}, 1): the Jensen-Shannon divergence is {exact:.3f} nats by "
        f"the integral and {learnt:.3f} by the loss V of a trained discriminator, as log 2 + V / 2.",
    )
    add_sweep(page, rows, header[1:], "JSD (nats)")
    return records(header, rows)


def disjoint(page: genlab.Report, config: Config) -> list[dict[str, float]]:
    """Two segments that do not meet: JSD, earth mover's distance, and the gradients of three generator losses, two of
    them behind a sigmoid, the third behind a discriminator of its own, which is trained by least squares (LSGAN)."""
    real, held_out = points.segment(), points.segment(seed=1)
    losses = ["minimax", "nonsaturating", "lsgan"]
    distances = ["JSD, trained discriminator", "earth mover's distance, exact"]
    measured, norms = [], []
    for gap in config.gaps:
        fake = points.segment(gap, seed=2)
        discriminator = trained_discriminator(MLPCritic(2), real, fake, config)
        measured.append((gap, discriminator.evaluate(held_out)["js"], wasserstein1(real.x[:256], fake.x[:256])))
        lsgan = trained_discriminator(MLPCritic(2), real, fake, config, "lsgan")
        behind_sigmoid = (discriminator.gradient_norm(fake.x[:1000], OBJECTIVES[loss]) for loss in losses[:2])
        norms.append((gap, *behind_sigmoid, lsgan.gradient_norm(fake.x[:1000])))
    page.section(
        "Without overlap the divergence is flat, and one of the losses has no gradient",
        "Segments that do not meet: the JSD is log 2 = 0.693 at every gap, the earth mover's distance is the gap. A "
        "sigmoid saturates at fakes that it tells from real points, and minimax learns nothing from them; the "
        "non-saturating loss and least squares (LSGAN), whose output is linear, keep their gradient at every distance.",
    )
    add_sweep(page, measured, distances, "nats, or distance")
    add_sweep(page, norms, losses, "gradient norm at a fake", log=True)
    header = ["gap", "JSD", "earth mover's distance", *(f"gradient norm, {loss}" for loss in losses)]
    return records(header, [(*distance, *norm[1:]) for distance, norm in zip(measured, norms)])


def trained_discriminator(net: MLPCritic, real: Points, fake: Points, config: Config, loss: str = "minimax") -> Any:
    return train_points(DiscriminatorOnly(net, fake, OBJECTIVES[loss]), real, config.steps)


def gaussian_fits(page: genlab.Report) -> list[dict[str, Any]]:
    """The Gaussians of least KL and of least reverse KL to a mixture of two."""
    log_p = divergences.log_mixture(LINE, [-2.0, 3.0], [0.6, 0.9], [0.4, 0.6])
    shown = LINE.abs() < 7
    lines = {"data": (LINE[shown], log_p.exp()[shown])}
    header = ["divergence", "mean", "standard deviation"]
    rows = []
    for name, divergence in {"KL": divergences.kl, "reverse KL": divergences.reverse_kl}.items():
        mean, deviation = divergences.fit_gaussian(log_p, LINE, divergence, (2.0, 1.0))
        rows.append((name, mean, deviation))
        density = divergences.log_normal(LINE, mean, deviation).exp()
        lines[f"{name}: N({mean:.2f}, {deviation:.2f}²)"] = LINE[shown], density[shown]
    page.section("KL covers all modes, reverse KL picks one", "The best Gaussian for a mixture of two.")
    page.picture(curves(lines, x="x", y="density")).table(header, rows)
    return records(header, rows)


def critics(page: genlab.Report, config: Config) -> list[dict[str, Any]]:
    """Wasserstein critics by their constraint: what each takes for the distance during training, and the norms of its
    gradient on lines between real and generated points at the end."""
    header = ["critic", "distance at the end", "gradient norm, median", "gradient norm, largest"]
    lines, norms, rows = {}, {}, []
    for name, constraint in CONSTRAINTS.items():
        images, distances, norms[name] = trained_critic(constraint, config)
        lines[name] = [seen / 1000 for seen in images], distances
        rows.append([name, distances[-1], norms[name].median().item(), norms[name].max().item()])
    largest = {name: row[3] for name, row in zip(CONSTRAINTS, rows)}
    page.section(
        "A Wasserstein critic needs a bound",
        f"The critic's gradient has a norm of at most {largest['spectral norm']:.2f} with spectral normalisation, of "
        f"about 1 with a gradient penalty (largest {largest['gradient penalty']:.2f}), of up to "
        f"{largest['weights clipped to 0.1']:.2g} with clipped weights, and of up to {largest['unconstrained']:.2g} "
        "without a constraint. On the ring, 20 critic steps per generator step.",
    )
    page.picture(histograms(norms, x="norm of the critic's gradient, on lines between real and generated points"))
    page.picture(curves(lines, x="thousand points seen", y="|E f(real) - E f(fake)|", log=True)).table(header, rows)
    return records(header, rows)


def trained_critic(constraint: str, config: Config) -> tuple[Sequence[int], Sequence[float], Tensor]:
    """Points seen, |E f(real) - E f(fake)| then, and the gradient norms (1000,) at the end."""
    torch.manual_seed(config.seed)
    run = genlab.Run.create(config.out / f"wgan-{constraint}", {"steps": config.steps, "seed": config.seed})
    generator, critic, ring = MLPGenerator(8), MLPCritic(), points.ring()
    method: Any = WGAN(generator, critic, WGANConfig(latent=8, weight_clip=None, n_critic=20, lr=1e-3))
    if constraint == "clip":
        method = WGAN(generator, critic, WGANConfig(latent=8, weight_clip=0.1, n_critic=20, lr=1e-3))
    elif constraint == "penalty":
        method = WGANGP(generator, critic, WGANGPConfig(latent=8, n_critic=20, lr=1e-3))
    elif constraint == "spectral":
        spectral_norm(critic, (2,), head=critic)  # every layer has norm 1
    train_points(method, ring, config.steps, run=run)
    with torch.no_grad():
        fake = method.eval().sample(1000)
    norms = gradient_norms(critic, ring.x[:1000], fake).detach()
    return [row["images"] for row in run.metrics()], [abs(row["distance"]) for row in run.metrics()], norms


def animation(page: genlab.Report, config: Config) -> None:
    """A GAN on the ring, and what its discriminator thinks of every place."""
    data = points.ring(spread=0.1)
    film = Animation(data.x)
    gan = GAN(MLPGenerator(8), MLPCritic(), GANConfig(latent=8, lr=2e-3, lr_generator=2e-3))
    train_points(gan, data, 3 * config.steps, point_hooks=[(config.frames, film)])
    page.section("Training, step by step")
    page.picture(film.save(config.out / "ring.gif"), "orange: D says real; purple: fake")


if __name__ == "__main__":
    start(main, Config)
