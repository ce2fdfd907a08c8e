"""How tight is a VAE's bound? With a code of two numbers log p(x) can be integrated, and the bounds stand beside it.

log p(x) = ELBO + KL(q || p(z | x)), of which all three are measured: the ELBO by samples, the divergence and log p(x)
by integration over the plane of codes. The importance-weighted bound of k samples (Burda et al. 2016,
arXiv:1509.00519) closes the gap as k grows; a VAE that is trained by that bound has a larger gap and a better
likelihood. Everything is repeated over seeds.

python recipes/importance_bound.py                               # binary digits, minutes on one core
python recipes/importance_bound.py --data binary:mnist --data-root DIR --width 256 --images 1000000
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, pi
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Count, Length, NonEmpty, Range, Seeds, Steps, Width
from genlab.core.text import counted
from genlab.methods.likelihood.vae import VAEConfig
from genlab.reporting.finish import finish
from genlab.reporting.plots import curves
from genlab.reporting.spread import over_seeds, plus_minus, spread

REACH, SIDE = 6.0, 301  # the grid of codes that is integrated over
AT_ONCE = 50  # images
DRAWS = 100  # of the ELBO
FIGURES = ("ELBO", "KL", "their sum", "log p(x)")


@dataclass(frozen=True)
class Config:
    """Bounds of a VAE's likelihood beside the likelihood itself."""

    data: str = "binary:digits"
    """black and white images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    width: Width = 128
    """units of the hidden layers"""
    images: Length = 40_000
    """length of every training"""
    trained_by: Annotated[int, Range(2, 1000)] = 16
    """samples in the bound that trains the second VAE; the first is trained by the ELBO"""
    n: Count = 360
    """held-out images whose likelihood is measured"""
    counts: NonEmpty[Steps] = (1, 2, 5, 10, 20, 50, 100, 200, 500)
    """samples in the bounds that are measured"""
    seeds: Seeds = (0, 1, 2)
    """everything is repeated with each of these seeds"""
    out: Path = Path("runs/importance-bound")
    """folder of the runs and the report"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    x = data.load("test").x[: config.n]
    found: dict[str, list[dict[str, float]]] = {}
    for name, k in {"by the ELBO": 1, f"by the bound of {config.trained_by}": config.trained_by}.items():
        method = VAEConfig(net="mlp", latent=2, width=config.width, importance_samples=k)
        for seed in config.seeds:
            experiment = genlab.Experiment(method, data, images=config.images, batch=32, seed=seed)
            vae = experiment.run(config.out / f"k{k}-{seed}", pictures=1)
            torch.manual_seed(seed)
            found.setdefault(name, []).append(measured(vae, x, sorted(config.counts)))

    page = genlab.Report(f"The bound of a VAE on {config.data}")
    page.section("More samples close the gap", message(found))
    page.picture(figure(found, sorted(config.counts)))
    page.text(
        f"Means over {len(x)} held-out images, mean ± standard deviation over {counted(config.seeds)}. Level lines: "
        "log p(x), by integration over the code."
    )
    page.section("log p(x) = ELBO + KL(q || p(z | x))", "Nats; the ELBO by samples, the others by integration.")
    page.table(["VAE, trained", *FIGURES], [[name, *cells(rows)] for name, rows in found.items()])
    finish(config.out, page, [{"trained": name} | over_seeds(rows) for name, rows in found.items()])


@torch.no_grad()
def measured(vae: Any, x: Tensor, counts: Sequence[int]) -> dict[str, float]:
    """FIGURES and the bounds of `counts` samples of images x (N, C, H, W), in nats per image."""
    posterior = vae.posterior(x)
    elbo = float(vae.log_weights(x, *posterior, DRAWS).mean())
    exact, divergence = (float(each.mean()) for each in integrated(vae, x))
    bounds = {f"bound of {k}": float(vae.log_prob(x, k).mean()) for k in counts}
    return {**dict(zip(FIGURES, (elbo, divergence, elbo + divergence, exact))), **bounds}


@torch.no_grad()
def integrated(vae: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """log p(x) and KL(q || p(z | x)), both (N,), of a VAE with Bernoulli pixels and codes (N, 2), by integration."""
    line = torch.linspace(-REACH, REACH, SIDE, device=x.device)
    z = torch.cartesian_prod(line, line)
    log_area = 2 * log(2 * REACH / (SIDE - 1))
    logits = vae.decoder(z).flatten(1)
    constant = log_normal(z, z.new_zeros(2), z.new_zeros(2)) - softplus(logits).sum(1)
    found = []
    for some, middle, log_variance in zip(*(each.split(AT_ONCE) for each in (x.flatten(1), *vae.posterior(x)))):
        joint = some @ logits.T + constant  # log p(x, z)
        log_p = joint.logsumexp(1, keepdim=True) + log_area
        log_q = log_normal(z, middle[:, None], log_variance[:, None])
        log_q = log_q - log_q.logsumexp(1, keepdim=True)  # of the cells of the grid
        divergence = (log_q.exp() * (log_q - log_area - joint + log_p)).sum(1)
        found.append((log_p.squeeze(1), divergence))
    log_p, divergence = map(torch.cat, zip(*found))
    return log_p, divergence


def log_normal(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """The log density of z (..., 2) under a diagonal Gaussian."""
    return -0.5 * ((z - mean).square() / log_variance.exp() + log_variance + log(2 * pi)).sum(-1)


def message(found: dict[str, list[dict[str, float]]]) -> str:
    def gap(rows: Sequence[dict[str, float]], bound: str) -> float:
        return mean(each["log p(x)"] - each[bound] for each in rows)

    sentences = []
    for name, rows in found.items():
        bounds = [figure for figure in rows[0] if figure not in FIGURES]
        sentences.append(
            f"trained {name}, {gap(rows, bounds[0]):.2f} nats are missing to log p(x) with the {bounds[0]} and "
            f"{gap(rows, bounds[-1]):.3f} with that of {bounds[-1].split()[-1]}"
        )
    return f"Of a VAE {'; '.join(sentences)}."


def figure(found: dict[str, list[dict[str, float]]], counts: Sequence[int]) -> bytes:
    lines: dict[str, Any] = {}
    for name, rows in found.items():
        bands = [spread(each[f"bound of {k}"] for each in rows) for k in counts]
        lines[f"bound, trained {name}"] = (counts, *([m + sign * s for m, s in bands] for sign in (0, -1, 1)))
        exact = mean(each["log p(x)"] for each in rows)
        lines[f"log p(x), trained {name}"] = ((counts[0], counts[-1]), (exact, exact))
    return curves(lines, x="samples of z, k", y="bound, nats per image", log_x=True)


def cells(rows: Sequence[dict[str, float]]) -> list[str]:
    return [plus_minus((each[name] for each in rows), ".2f") for name in FIGURES]


if __name__ == "__main__":
    start(main, Config)
