"""What does a classifier look at? Maps, what they are worth, a shortcut that they show, and how they are deceived.

python recipes/explanations.py                                   # scikit-learn's digits, minutes on one core
python recipes/explanations.py --data mnist --data-root DIR
"""

from __future__ import annotations

import json
from colorsys import hsv_to_rgb
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich import print
from torch import Tensor

import genlab
from attacks.ball import Linf
from attacks.control import Noise
from attacks.explanation import Disguise
from genlab.checkpoint import write_atomically
from genlab.cli import start
from genlab.data import Images, Stream
from genlab.explain.grad_cam import grad_cam
from genlab.explain.gradients import integrated_gradients, saliency, slope, smooth_grad
from genlab.explain.lime import lime, superpixels
from genlab.explain.maximise import maximise, maximise_through
from genlab.explain.measure import deletion, overlap, rank_correlation
from genlab.explain.occlusion import occlusion
from genlab.grid import grid_png
from genlab.methods.classifier import ClassifierConfig
from genlab.methods.vae import VAEConfig
from genlab.plots import curves

SHARES = (0.02, 0.05, 0.1, 0.2, 0.3)
COLOURS = torch.tensor([hsv_to_rgb(k / 10, 1.0, 0.6) for k in range(10)])


@dataclass(frozen=True)
class Config:
    data: str = "digits"
    """labelled grey images in ten classes"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    images: int = 60_000
    """length of every training"""
    width: int = 32
    """channels of the networks' finest level"""
    n: int = 100
    """held-out images to explain"""
    eps: float = 0.1
    """L-infinity size of what deceives a map, in pixels of [0, 1]"""
    out: Path = Path("runs/explanations")
    """folder of the runs and the report"""
    seed: int = 0


def tinted(images: Images, colour: Tensor) -> Images:
    """White strokes on a ground of one colour (N, 3) per image."""
    x = torch.lerp(colour[:, :, None, None].float(), torch.ones(3, 1, 1), images.x)
    return Images((x * 255).round().byte(), images.labels, images.classes, f"{images.name}, tinted")


def shown(maps: Tensor) -> Tensor:
    """(N, H, W) -> pictures (N, 1, H, W): from 0 to the highest value of each."""
    return (maps.clamp(min=0) / maps.flatten(1).amax(1)[:, None, None].clamp(min=1e-12))[:, None]


def look(net: Any, x: Tensor, y: Tensor, page: genlab.Report) -> dict[str, list[float]]:
    """Maps of the class y for images x, and the probability left without what they call important, by map."""
    side, groups = x.shape[2] // 5, torch.stack([superpixels(image, min(40, x[0, 0].numel() // 4)) for image in x])
    maps = {
        "saliency": saliency(net, x, y),
        "SmoothGrad": smooth_grad(net, x, y),
        "integrated gradients": integrated_gradients(net, x, y),
        "occlusion, black": occlusion(net, x, y, side, 0.0),
        "occlusion, grey": occlusion(net, x, y, side, 0.5),
        "occlusion, black, twice as wide": occlusion(net, x, y, 2 * side, 0.0),
        "Grad-CAM": grad_cam(net, x, y),
        "LIME": lime(net, x, y, groups),
        "at random": torch.rand(x[:, 0].shape),
    }
    page.section("Maps", f"Rows: images; {'; '.join(maps)}.")
    page.picture(grid_png(torch.cat([x[:10], *(shown(m[:10]) for m in maps.values())]), len(x[:10])))
    left = {name: deletion(net, x, y, m, SHARES) for name, m in maps.items()}
    page.section("Are they true?", "Probability left when the pixels that a map calls important are painted black.")
    page.picture(curves({k: (SHARES, v) for k, v in left.items()}, x="share painted over", y="mean probability"))
    page.table(["map", *map(str, SHARES)], [[name, *values] for name, values in left.items()])
    return left


def deceive(net: Any, x: Tensor, y: Tensor, eps: float, page: genlab.Report) -> list[list[Any]]:
    """How far the saliency of images x moves that are still taken for y, attacked and under noise of the same size."""
    page.section("The map moves, the answer stays", f"L-infinity {eps}; upper rows: images, lower rows: saliency.")
    before, rows = saliency(net, x, y), []
    for name, attack in {"attacked": Disguise(Linf(eps)), "with noise": Noise(Linf(eps))}.items():
        adv = attack(net, x, y)
        after = saliency(net, adv, y)
        with torch.no_grad():
            kept = (net(adv).argmax(1) == y).float()
        figures = kept, overlap(before, after), rank_correlation(before, after)
        rows.append([name, *(float(values.mean()) for values in figures)])
        page.picture(grid_png(torch.cat([adv[:10], shown(after[:10])]), len(x[:10])), name)
    page.table(["images", "answer kept", "important pixels in common", "rank correlation"], rows)
    return rows


def shortcut(config: Config, train: Images, test: Images, page: genlab.Report) -> list[list[Any]]:
    """A network whose training images had their class's colour around, beside one whose colours told nothing."""
    own, other = (tinted(test, COLOURS[(test.labels + shift) % 10]) for shift in (0, 1))
    ground, rows = (test.x < 0.1)[:, 0], []
    page.section("A shortcut", f"The ground is {float(ground.float().mean()):.0%} of the pixels.")
    options = genlab.Options(config.images, seed=config.seed, schedule="cosine", warmup=0.1)
    for name, drawn in {"its class": train.labels, "no class": torch.randint(10, (len(train),))}.items():
        torch.manual_seed(config.seed)
        net: Any = ClassifierConfig(width=config.width).build((3, *test.shape[1:]), 10)
        genlab.fit(net, Stream(tinted(train, COLOURS[drawn]), 64, seed=config.seed), options, title=name)
        seen = saliency(net, own.x, test.labels)
        part = float(((seen * ground).flatten(1).sum(1) / seen.flatten(1).sum(1).clamp(min=1e-12)).mean())
        rows.append([name, *(net.evaluate(images)["accuracy"] for images in (own, other)), part])
        pictures = torch.cat([own.x[:10], shown(seen[:10]).expand(-1, 3, -1, -1)])
        page.picture(grid_png(pictures, len(own.x[:10])), f"in training the colour told {name}")
    header = ["in training the colour told", "right", "right with another's colour", "saliency on the ground"]
    page.table(header, rows)
    return rows


def like(net: Any, judge: Any, vae: Any, shape: tuple[int, ...], page: genlab.Report) -> dict[str, float]:
    """Pictures that `net` likes best, made in three ways; the share that `judge` takes for the same class, by way."""
    wanted = torch.arange(10).repeat(4)
    black, z = 0.1 * torch.rand(len(wanted), *shape), torch.randn(len(wanted), vae.latent)
    pictures = {
        "pixels": maximise(net, wanted, black),
        "pixels, at a price": maximise(net, wanted, black, l1=float(slope(net, black, wanted).abs().mean())),
        "through a VAE's decoder": maximise_through(net, wanted, vae.decode, z),
    }
    with torch.no_grad():
        agreed = {name: float((judge(x).argmax(1) == wanted).float().mean()) for name, x in pictures.items()}
    page.section("What it likes best", "A column per class; a network of another training says if it agrees.")
    for name, x in pictures.items():
        page.picture(grid_png(x, 10), name)
    page.table(["made of", "the other network agrees"], [[name, value] for name, value in agreed.items()])
    return agreed


def main(config: Config) -> None:
    data, page = genlab.DataOptions(config.data, channels=1, data_root=config.data_root), genlab.Report("Explanations")

    def train(name: str, method: genlab.Config, seed: int = config.seed) -> Any:
        options = genlab.Options(config.images, seed=seed, schedule="cosine")
        return genlab.Experiment(method, data, options).run(config.out / name, pictures=0)

    net = train("classifier", ClassifierConfig(width=config.width))
    judge = train("judge", ClassifierConfig(width=config.width), config.seed + 1)
    vae = train("vae", VAEConfig(width=config.width, latent=16))
    test = data.load("test").subset(slice(0, config.n))
    torch.manual_seed(config.seed)
    with torch.no_grad():
        said = net(test.x).argmax(1)  # what it says is what is explained
    found = {
        "probability left": look(net, test.x, said, page),
        "deceived": deceive(net, test.x, said, config.eps, page),
        "shortcut": shortcut(config, data.load("train"), test, page),
        "agreed": like(net, judge, vae, test.shape, page),
    }
    for what, rows in found.items():
        print(what)
        for name, *values in [*rows.items()] if isinstance(rows, dict) else rows:
            numbers = values[0] if isinstance(values[0], list) else values
            print(f"  {name:32}", *(f"{number:.3f}" for number in numbers))
    write_atomically(config.out / "results.json", json.dumps(found, indent=1).encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
