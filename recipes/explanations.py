"""What does a classifier look at, is that true, and can it be deceived? Maps, deletion, an attack on the map.

python recipes/explanations.py                                   # scikit-learn's digits, a minute on one core
python recipes/explanations.py --data mnist --data-root DIR
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import genlab
from attacks.core.ball import Linf
from attacks.explanation import ExplanationAttack
from attacks.noise import RandomNoise
from genlab.cli.main import start
from genlab.core.files import write_atomically
from genlab.core.ranges import Count, Eps, Length, Seed
from genlab.explain.grad_cam import grad_cam
from genlab.explain.gradients import integrated_gradients, saliency, smooth_grad
from genlab.explain.lime import lime, superpixels
from genlab.explain.measure import deletion, overlap, rank_correlation
from genlab.explain.occlusion import occlusion
from genlab.explain.pictures import to_images
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.reporting.grid import grid_png
from genlab.reporting.plots import curves

SHARES = (0.02, 0.05, 0.1, 0.2, 0.3)


@dataclass(frozen=True)
class Config:
    data: genlab.DataOptions = genlab.DataOptions()
    images: Length = 60_000  # length of the classifier's training
    n: Count = 100  # held-out images to explain
    eps: Eps = 0.1  # L-infinity size of what deceives a map, in pixels of [0, 1]
    out: Path = Path("runs/explanations")
    seed: Seed = 0


def main(config: Config) -> None:
    if min(config.data.load("test").shape[1:]) < 5:
        raise ValueError("maps of occlusion need images of at least 5x5 pixels: choose a larger --size")
    options = genlab.TrainOptions(config.images, seed=config.seed, schedule="cosine")
    net: Any = genlab.Experiment(ClassifierConfig(), config.data, **vars(options)).run(
        config.out / "classifier", pictures=0
    )
    x, page = config.data.load("test").subset(slice(0, config.n)).x, genlab.Report("Explanations")
    torch.manual_seed(config.seed)
    with torch.no_grad():
        y = net(x).argmax(1)  # what it says is what is explained
    side, groups = x.shape[2] // 5, torch.stack([superpixels(image, min(40, x[0, 0].numel() // 4)) for image in x])
    maps = {"at random": torch.rand_like(x[:, 0]), "saliency": saliency(net, x, y), "Grad-CAM": grad_cam(net, x, y)}
    maps |= {"SmoothGrad": smooth_grad(net, x, y), "integrated gradients": integrated_gradients(net, x, y)}
    maps |= {f"{s} pixels of {v}": occlusion(net, x, y, s, v) for s, v in ((side, 0.0), (side, 0.5), (2 * side, 0.0))}
    maps |= {"LIME": lime(net, x, y, groups)}
    left = {name: deletion(net, x, y, m, SHARES) for name, m in maps.items()}
    page.section("Maps", f"Rows: images; {'; '.join(maps)}.")
    page.picture(grid_png(torch.cat([x[:10], *(to_images(m[:10]) for m in maps.values())]), len(x[:10])))
    page.section("Are they true?", "Probability left when the pixels that a map calls important are painted black.")
    page.picture(curves({k: (SHARES, v) for k, v in left.items()}, x="share painted over", y="mean probability"))
    page.table(["map", *map(str, SHARES)], [[name, *values] for name, values in left.items()])

    page.section("The map moves, the answer stays", f"L-infinity {config.eps}. Above: images; below: saliency.")
    rows = []
    for name, attack in {
        "attacked": ExplanationAttack(Linf(config.eps)),
        "with noise": RandomNoise(Linf(config.eps)),
    }.items():
        after = saliency(net, adv := attack(net, x, y), y)
        kept, before = (net(adv).argmax(1) == y).float(), maps["saliency"]
        same = (kept, overlap(before, after), rank_correlation(before, after))
        rows.append([name, *(float(values.mean()) for values in same)])
        page.picture(grid_png(torch.cat([adv[:10], to_images(after[:10])]), len(x[:10])), name)
    page.table(["images", "answer kept", "important pixels in common", "rank correlation"], rows)
    for name, *values in [*([name, *values] for name, values in left.items()), *rows]:
        print(f"{name:24}", *(f"{value:.3f}" for value in values))
    write_atomically(config.out / "results.json", json.dumps({"left": left, "deceived": rows}, indent=1).encode())
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
