"""What CycleGAN hides: Chu et al. 2017, "CycleGAN, a Master of Steganography", arXiv:1712.02950.

Sprites are translated to grey ones, in which there is no place for their colours. The cycle asks for the colours back
all the same, so the translation carries them as faint tints, which the way back reads; in a true grey image it finds
none. Noise and JPEG also harm a way back that reads no code, so both are applied to the true grey images, too: what the
code is worth is the difference. (The paper, section 4, adds noise to maps made of aerial photographs.)

python recipes/hidden_code.py                                         # sprites, about two minutes on one core
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.picture import Picture, in_rows
from genlab.core.ranges import Count, Layers, LearningRate, Length, Range, Seed, Side, Weight, Width
from genlab.data.jpeg import jpeg
from genlab.methods.translation.cyclegan import CycleGANConfig
from genlab.reporting.finish import finish
from genlab.reporting.labelled import picture_png
from genlab.reporting.plots import curves

NOISES = (0.02, 0.05, 0.1, 0.2)  # standard deviations, pixels in [0, 1]
QUALITIES = (95, 85, 75, 50, 25)
SHOWN = 25  # the quality of JPEG in the picture
COLUMNS = 12
FAKE, TRUE, GAIN = "from the translation", "from the true partner", "gain by the code"


@dataclass(frozen=True)
class Config:
    """Errors of CycleGAN's way back from grey to colours, against noise and JPEG on the grey image."""

    data: str = "sprites"
    """images in colour, which are also the second set, in grey"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    size: Side | None = 16
    """height and width in pixels; none: the set's own"""
    images: Length = 8_000
    """length of training"""
    batch: Count = 4
    """images per batch"""
    width: Width = 8
    """channels of all networks"""
    blocks: Layers = 2
    """residual blocks of both generators, which do not downsample"""
    cycle: Weight = 30.0
    """weight of the cycle loss: what asks for the colours"""
    identity: Weight = 0.0
    """weight of the identity loss, which leaves less to be hidden"""
    lr: LearningRate = 1e-3
    """learning rate"""
    times: Annotated[float, Range(1, 100)] = 4.0
    """amplification of the hidden code in the picture"""
    n: Count = 1_000
    """images that are measured, at most"""
    split: Literal["test", "validation"] = "test"
    """where they are from"""
    seed: Seed = 0
    """of training"""
    out: Path = Path("runs/hidden-code")
    """folder of the run and the report"""


def main(config: Config) -> None:
    sets = f"unpaired:{config.data},grey:{config.data}"
    data = genlab.DataOptions(sets, config.size, 3, config.data_root, hold_out=True)
    test = data.load(config.split)
    x, y = test.a.x[: config.n], test.b.x[: config.n]
    if bool((x == x[:, :1]).all()):
        raise ValueError(f"--data must be images in colour, which grey ones could hide; {config.data} are grey")
    method = CycleGANConfig(
        config.cycle, config.identity, width=config.width, blocks=config.blocks, levels=0, lr=config.lr
    )
    experiment = genlab.Experiment(method, data, images=config.images, batch=config.batch, seed=config.seed)
    model: Any = experiment.run(config.out / "run", pictures=1)
    back = partial(model.translate, to=0)
    with torch.no_grad():
        fake = model.translate(x, to=1)
    rows, apart = errors(back, fake, x, y), float((fake - y).abs().mean())

    page = genlab.Report(f"What CycleGAN hides: {config.data} in grey")
    page.text(verdict(rows, apart)).picture(picture_png(examples(back, fake, x, y, config.times)))
    page.section(
        "What destroys the code",
        "Errors of the way back. Where both lines meet, nothing is left of the code.",
    )
    for kinds, levels, axis in (
        (("nothing", "noise"), (0.0, *NOISES), "noise on the grey image, standard deviation"),
        (("JPEG",), QUALITIES, "JPEG on the grey image, quality"),
    ):
        found = [row for row in rows if row["disturbed by"].startswith(kinds)]
        lines = {name: (levels, [row[name] for row in found]) for name in (FAKE, TRUE)}
        page.picture(curves(lines, x=axis, y="error of the way back"))
    page.section("Figures", f"Mean absolute errors, pixels in [0, 1], of {len(x):,} {config.split} images.")
    page.table(list(rows[0]), [row.values() for row in rows])
    finish(config.out, page, {"way back": rows, "translation": apart})


def disturbances(x: Tensor) -> dict[str, Callable[[Tensor], Tensor]]:
    """Name -> a map of images of x's shape (N, C, H, W) to disturbed ones; of noise, the same for all levels."""
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(x.device)
    noisy = lambda x, level: (x + level * noise).clamp(0, 1)
    return {
        "nothing": lambda x: x,
        **{f"noise {level:g}": partial(noisy, level=level) for level in NOISES},
        **{f"JPEG {quality}": partial(jpeg, quality=quality) for quality in QUALITIES},
    }


@torch.no_grad()
def errors(back: Callable[[Tensor], Tensor], fake: Tensor, x: Tensor, y: Tensor) -> list[dict[str, Any]]:
    """The error of the way back to x (N, C, H, W) from its translation and from its true partners y, both disturbed.

    The gain by the code is the difference of the two.
    """
    rows: list[dict[str, Any]] = []
    for name, disturbed in disturbances(x).items():
        found = {key: float((back(disturbed(grey)) - x).abs().mean()) for key, grey in ((FAKE, fake), (TRUE, y))}
        rows.append({"disturbed by": name, **found, GAIN: found[TRUE] - found[FAKE]})
    return rows


@torch.no_grad()
def examples(back: Callable[[Tensor], Tensor], fake: Tensor, x: Tensor, y: Tensor, times: float) -> Picture:
    """Rows: x, its translation, `times` the difference of this from the true partner y, and what comes back."""
    fake, x, y = fake[:COLUMNS], x[:COLUMNS], y[:COLUMNS]
    return in_rows(
        {
            "original": x,
            "translation": fake,
            "true partner": y,
            f"hidden: difference × {times:g}": 0.5 + times * (fake - y),
            "back from the translation": back(fake),
            f"the same after JPEG {SHOWN}": back(jpeg(fake, SHOWN)),
            "back from the true partner": back(y),
        }
    )


def verdict(rows: list[dict[str, Any]], apart: float) -> str:
    """The gain by the code in a sentence; `apart`: the error of the translation."""
    found = {row["disturbed by"]: row for row in rows}
    plain, noisy, packed = (found[name] for name in ("nothing", f"noise {NOISES[2]:g}", f"JPEG {QUALITIES[-1]}"))
    return (
        f"The translation differs by {apart:.3f} from the true grey image. The way back from it errs by "
        f"{plain[FAKE]:.3f}, from the true one, which hides nothing, by {plain[TRUE]:.3f}: a gain of {plain[GAIN]:.3f} "
        f"by the code. Noise of {NOISES[2]:g} leaves {noisy[GAIN]:.3f} "
        f"of it, JPEG of quality {QUALITIES[-1]} {packed[GAIN]:.3f}."
    )


if __name__ == "__main__":
    start(main, Config)
