"""Training on points in the plane, and plots of real and generated points over the discriminator's output."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from genlab.data import Stream
from genlab.data.points import Coverage, Points
from genlab.reporting.grid import save_animation
from genlab.reporting.plots import curves, png
from genlab.reporting.report import Report
from genlab.run import Run
from genlab.training.loop import fit
from genlab.training.method import Hook, Method, TrainOptions

Score = Callable[[Tensor], Tensor]  # points (n, 2) -> (n,)
REAL, FAKE, HEAT, OPACITY = "#1b1b1b", "#d6336c", "PuOr_r", 0.8


def train_points(
    method: Method,
    data: Points,
    steps: int,
    batch: int = 256,
    seed: int = 0,
    *,
    point_hooks: Sequence[tuple[int, Hook]] = (),
    run: Run | None = None,
    title: str = "",
) -> Method:
    """Trains `method` on `steps` batches of points; `point_hooks`: pairs (number of calls during training, hook)."""
    total = steps * batch
    hooks = [(max(batch, total // times), hook) for times, hook in point_hooks]
    options = TrainOptions(total, batch, seed, save_every=total, log_every=max(batch, total // 50))
    return fit(method, Stream(data, batch, seed=seed), options, run=run, hooks=hooks, title=title or data.name)


class ModeCoverage:
    """A hook for `fit`: records the mode coverage of `n` generated points at every call, and about `kept` of them."""

    def __init__(self, data: Points, n: int = 2000, kept: int = 400):
        self.data, self.n, self.kept = data, n, kept
        self.images: list[int] = []
        self.coverage: list[Coverage] = []
        self.fakes: list[Tensor] = []

    @torch.no_grad()
    def __call__(self, images: int, method: Any) -> None:
        fake = method.sample(self.n)
        self.images.append(images)
        self.coverage.append(self.data.coverage(fake))
        self.fakes.append(fake[:: max(1, self.n // self.kept)])  # evenly spaced, for all generators of an ensemble


def probability(method: Any) -> Score:
    """D(x) of a method whose `discriminator` gives logits."""
    return lambda x: method.discriminator(x).sigmoid()


def scene(real: Tensor, fake: Tensor, score: Score | None = None, *, extent: float = 3.0, title: str = "") -> bytes:
    """A PNG of real and fake points (n, 2) on the square from -extent to extent.

    score: background in [0, 1], such as D(x): purple for 0 (fake), white for 1/2, orange for 1 (real).
    """
    figure, (axes,) = _figure(1)
    _draw(axes, real, fake, score, extent)
    axes.set_title(title, fontsize=10)
    axes.legend(loc="lower left", fontsize=8, markerscale=2.5, framealpha=0.9)
    return png(figure)


def scenes(
    real: Tensor,
    fakes: Mapping[tuple[str, str], Tensor],
    *,
    extent: float = 3.0,
    scores: Mapping[tuple[str, str], Score] | None = None,
) -> bytes:
    """A PNG table of plots: `fakes[row, column]` (n, 2) over the same real points; scores: backgrounds as in `scene`,
    for the plots that have one."""
    scores = scores or {}
    rows, columns = list(dict.fromkeys(r for r, _ in fakes)), list(dict.fromkeys(c for _, c in fakes))
    figure, cells = _figure(len(columns), len(rows))
    for cell, (row, column) in zip(cells, [(r, c) for r in rows for c in columns], strict=True):
        if (row, column) in fakes:
            _draw(cell, real, fakes[row, column], scores.get((row, column)), extent)
        cell.set_title(column if row == rows[0] else "", fontsize=9)
        cell.set_ylabel(row if column == columns[0] else "", fontsize=9)
    return png(figure)


class Animation:
    """A hook for `fit`: records one frame of `scene` per call, with `n` real and `n` generated points.

    Args:
        score: method -> background, or none; the default is D(x) of methods whose `discriminator` returns logits.
    """

    def __init__(
        self,
        real: Tensor,
        n: int = 500,
        extent: float = 3.0,
        score: Callable[[Method], Score] | None = probability,
    ):
        self.real, self.n, self.extent, self.score = real[:n], n, extent, score
        self.frames: list[bytes] = []

    @torch.no_grad()
    def __call__(self, images: int, method: Any) -> None:
        score = self.score(method) if self.score else None
        title = f"{images:,} points"
        self.frames.append(scene(self.real, method.sample(self.n), score, extent=self.extent, title=title))

    def save(self, path: str | Path, seconds: float = 0.15) -> Path:
        """Writes the frames as a looping GIF that pauses on the last frame."""
        if not self.frames:
            raise ValueError("no frame was taken")
        colours = _palette()  # shared: a palette per frame would lose rare colours and flicker
        pictures = [
            Image.open(io.BytesIO(f)).convert("RGB").quantize(palette=colours, dither=Image.Dither.NONE)
            for f in self.frames
        ]
        return save_animation([*pictures, *[pictures[-1]] * 8], path, seconds)


def add_sweep(
    page: Report, rows: Sequence[tuple[float, ...]], names: Sequence[str], y: str, *, x: str = "gap", log: bool = False
) -> None:
    """Adds curves and a table to `page`: `rows` are (x, one value for each of `names`)."""
    across, *columns = zip(*rows)
    page.picture(curves({name: (across, column) for name, column in zip(names, columns)}, x=x, y=y, log=log))
    page.table([x, *names], rows)


def _palette() -> Image.Image:
    """The 256 colours of a scene: greys, the background, and points over the background."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgb

    heat = OPACITY * torch.from_numpy(colormaps[HEAT](torch.linspace(0, 1, 80).numpy()))[:, :3] + 1 - OPACITY
    over = [0.4 * heat[::2] + 0.6 * torch.tensor(to_rgb(colour)) for colour in (REAL, FAKE)]
    solid = [0.2 * heat[::2] + 0.8 * torch.tensor(to_rgb(colour)) for colour in (REAL, FAKE)]
    greys = torch.linspace(0, 1, 256 - 240).double()[:, None].expand(-1, 3)
    palette = Image.new("P", (1, 1))
    palette.putpalette(torch.cat([heat, *over, *solid, greys]).mul(255).round().byte().flatten().tolist())
    return palette


def _figure(columns: int, rows: int = 1) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    size = 4.2 if rows == columns == 1 else 1.7
    figure = Figure(figsize=(size * columns, size * rows), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


@torch.no_grad()
def _draw(axes: Any, real: Tensor, fake: Tensor, score: Score | None, extent: float) -> None:
    if score is not None:
        line = torch.linspace(-extent, extent, 121)
        at = torch.cartesian_prod(line, line).to(fake.device)
        heat = score(at).view(121, 121).T.cpu().numpy()
        box = (-extent, extent, -extent, extent)
        axes.imshow(
            heat, extent=box, origin="lower", cmap=HEAT, vmin=0, vmax=1, alpha=OPACITY, interpolation="bilinear"
        )
    for name, points, colour in (("real", real, REAL), ("fake", fake, FAKE)):
        axes.scatter(*points.detach().cpu().T.numpy(), s=5, c=colour, linewidths=0, alpha=0.6, label=name)
    axes.set(xlim=(-extent, extent), ylim=(-extent, extent), xticks=[], yticks=[], aspect="equal")
