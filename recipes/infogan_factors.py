"""What InfoGAN's codes mean: the category against the class, every value against the known causes of the pictures.

Of several starts the one counts whose category tells the most of real images, which no label is needed for.
Beside it: the same networks without the information term (a plain GAN, whose latents mean nothing in particular) and
without the discriminator (the generator writes its code on the picture in the plainest way).

python recipes/infogan_factors.py                                     # rendered digits, minutes on one core
python recipes/infogan_factors.py --data mnist --data-root DIR        # no known causes but the class
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Count, Length, Repeats, Seed, Side, Units, Width
from genlab.methods.gan.infogan import InfoGANConfig

VARIANTS = {
    "infogan": InfoGANConfig(weight_category=0.1, lr_generator=3e-3),
    "without information": InfoGANConfig(weight_category=0.0, weight_values=0.0),
    "without discriminator": InfoGANConfig(adversarial=False),
}


@dataclass(frozen=True)
class Config:
    """Trains InfoGAN and two ablations, and measures what the codes mean."""

    data: str = "glyphs"
    """glyphs, letters, mnist, ...; correlations need known factors"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    size: Side | None = 16
    """height and width in pixels"""
    values: Width = 3
    """continuous codes"""
    width: Width = 32
    """channels at the finest level"""
    hidden: Units = 256
    """units of the fully connected layers"""
    images: Length = 160_000
    """length of InfoGAN's training; the others have a quarter"""
    batch: Count = 32
    out: Path = Path("runs/infogan-factors")
    """folder of the runs and the report"""
    starts: Repeats = 3
    """InfoGANs to train, with seeds that follow one another"""
    seed: Seed = 0


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, config.size, channels=1, data_root=config.data_root)
    page, rows = genlab.Report(f"What the codes mean: {config.data}"), []
    for name, method in VARIANTS.items():
        whole = name == "infogan"
        method = replace(method, values=config.values, width=config.width, hidden=config.hidden)
        runs = []
        for seed in range(config.seed, config.seed + (config.starts if whole else 1)):
            images = config.images if whole else max(1, config.images // 4)
            train = genlab.TrainOptions(images, config.batch, seed, schedule="cosine")
            out = config.out / f"{name.replace(' ', '-')}-{seed}"
            genlab.Experiment(method, data, **vars(train)).run(out, pictures=2)
            runs.append(genlab.Run(out))
            print(f"{out}: the category tells {runs[-1].results()['category_information']:.3f} nats")
        run = max(runs, key=lambda run: run.results()["category_information"])
        rows += [[name, figure.replace("_", " ", 1), value] for figure, value in run.results().items()]
        page.section(name, "A row per category; one value grows from left to right, all else stays.")
        for i in range(1, config.values + 1):
            page.picture([path for path in run.samples() if path.stem.startswith(f"value{i}")][-1], f"value {i}")
    page.section("Figures", "Share of held-out images whose category names their class; correlations with causes.")
    page.table(["method", "figure", "value"], rows)
    for row in rows:
        print(*row)
    print(f"report {page.save(config.out / 'report.html')}")


if __name__ == "__main__":
    start(main, Config)
