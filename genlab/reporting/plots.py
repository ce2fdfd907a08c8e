"""Plots as PNG, by matplotlib without a display."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from PIL import Image

from genlab.core.text import printable

Curve = tuple[Sequence[float], Sequence[float]]  # x, y
Band = tuple[Sequence[float], Sequence[float], Sequence[float], Sequence[float]]  # x, y, low, high
Point = tuple[float, float, float]  # x, y, deviation of y
DPI = 110
LARGEST = 1e30  # largest absolute value plotted; matplotlib overflows beyond


def curves(
    lines: Mapping[str, Curve | Band],
    *,
    x: str,
    y: str,
    title: str = "",
    log: bool = False,
    log_x: bool = False,
    limits: tuple[float, float] | None = None,
) -> bytes:
    """A PNG of named curves (x, y), or with a band (x, y, low, high); more than one have a legend beside them.

    Args:
        x, y: axis labels, with units.
        log: logarithmic y axis.
        log_x: logarithmic x axis, with ticks at up to eight points of the first line.
        limits: of the y axis; none: from the data.
    """
    from matplotlib.figure import Figure

    beside = 0.4 + 0.075 * min(max(map(len, lines)), 40) if len(lines) > 1 else 0.0  # inches for the legend
    figure = Figure(figsize=(4.6 + beside, max(3.1, 0.19 * len(lines) + 0.3)), layout="constrained")
    axes = figure.subplots()
    x, y, title = map(_text, (x, y, title))
    for name, line in zip(map(_text, lines), lines.values()):
        marker = "o" if len(line[0]) <= 12 else ""
        (drawn,) = axes.plot(line[0], line[1], label=name, marker=marker, markersize=3, lw=1.3)
        if len(line) == 4 and len(line[0]) == 1:
            axes.vlines(line[0], line[2], line[3], color=drawn.get_color(), lw=1.3)
        elif len(line) == 4:
            axes.fill_between(line[0], line[2], line[3], color=drawn.get_color(), alpha=0.15, lw=0)
    axes.set(xlabel=x, ylabel=y, title=title, **({"yscale": "log"} if log else {}))
    if log_x:
        across = list(next(iter(lines.values()))[0])
        across = across[:: -(-len(across) // 8)]
        axes.set_xscale("log")
        axes.set_xticks(across, [f"{float(f'{value:.3g}'):,g}" for value in across])
        axes.minorticks_off()
    axes.set_ylim(limits)
    axes.grid(alpha=0.3)
    if len(lines) > 1:
        figure.legend(loc="outside right upper", fontsize=8)
    return png(figure)


def histograms(samples: Mapping[str, Sequence[float]], *, x: str, bins: int = 60) -> bytes:
    """A PNG with the histograms of named positive numbers over a logarithmic x axis, a legend beside them."""
    from matplotlib.figure import Figure

    values = {_text(name): np.maximum(np.asarray(each), 1e-12) for name, each in samples.items()}
    ends = min(each.min() for each in values.values()), max(each.max() for each in values.values())
    edges = np.geomspace(ends[0] / 1.1, ends[1] * 1.1, bins + 1).tolist()
    figure = Figure(figsize=(5.0 + 0.075 * min(max(map(len, values)), 40), 3.1), layout="constrained")
    axes = figure.subplots()
    for name, each in values.items():
        axes.hist(each, edges, weights=np.full(len(each), 1 / len(each)), label=name, alpha=0.6)
    axes.set(xscale="log", xlabel=_text(x), ylabel="share")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    return png(figure)


def bars(values: Mapping[str, Sequence[float]], *, x: str, mark: tuple[str, float] | None = None) -> bytes:
    """A PNG with a horizontal bar per name, the mean of its values, which are shown as points if they are several.

    mark: a label and the value at which a vertical line stands, such as the best that is possible.
    """
    from matplotlib.figure import Figure

    names = list(map(_text, values))
    figure = Figure(
        figsize=(4.6 + 0.075 * min(max(map(len, names)), 40), 0.24 * len(names) + 0.8), layout="constrained"
    )
    axes = figure.subplots()
    axes.barh(names, [fmean(each) for each in values.values()], color="C0", alpha=0.4)
    for name, each in zip(names, values.values()):
        if len(each) > 1:
            axes.plot(each, [name] * len(each), "o", ms=3, color="C0")
    if mark:
        axes.axvline(mark[1], color="0.4", ls="--", lw=1)
        axes.annotate(
            _text(mark[0]), (mark[1], 1), xycoords=("data", "axes fraction"), fontsize=8, ha="right", va="bottom"
        )
    axes.set_xlabel(_text(x))
    axes.invert_yaxis()  # the first name on top
    axes.grid(axis="x", alpha=0.3)
    return png(figure)


def boxes(values: Mapping[str, Sequence[float]], *, x: str, log: bool = False) -> bytes:
    """A PNG with a horizontal box per name: the quartiles of its values, which are shown as points.

    log: logarithmic x axis.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogFormatter

    names = list(map(_text, values))
    beside = 0.075 * min(max(map(len, names)), 40)
    figure = Figure(figsize=(4.6 + beside, 0.3 * len(names) + 0.8), layout="constrained")
    axes = figure.subplots()
    axes.boxplot(list(values.values()), orientation="horizontal", tick_labels=names, showfliers=False, widths=0.6)
    for i, each in enumerate(values.values()):
        axes.plot(each, [i + 1] * len(each), "o", ms=3, color="C0", alpha=0.6)
    axes.set(xlabel=_text(x), xscale="log" if log else "linear")
    if log:
        axes.xaxis.set_major_formatter(LogFormatter())  # 100, not 10²
        axes.xaxis.set_minor_formatter(LogFormatter())
    axes.invert_yaxis()  # the first name on top
    axes.grid(axis="x", alpha=0.3)
    return png(figure)


def pareto(panels: Mapping[tuple[str, str], Mapping[str, Point]]) -> bytes:
    """A PNG with a panel per pair of axis labels, in which named points lie, with a legend beside the panels.

    Less is better of x and y: a line shows the least y at every x, and the points on it are filled. An axis is
    logarithmic if it spans more than a factor of 10."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    names = dict.fromkeys(name for points in panels.values() for name in points)
    looks: dict[str, dict[str, Any]] = {
        name: {"marker": "osD"[i // 10 % 3], "color": f"C{i % 10}"} for i, name in enumerate(names)
    }
    scale = lambda least, most: "log" if most > 10 * least > 0 else "linear"
    beside = 0.5 + 0.075 * min(max(map(len, names)), 40)
    figure = Figure(figsize=(3.5 * len(panels) + beside, max(3.1, 0.19 * len(names) + 0.5)), layout="constrained")
    for axes, ((x, y), points) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items()):
        best = front({name: point[:2] for name, point in points.items()})
        across = [points[name][0] for name in best] + [max(point[0] for point in points.values())]
        least = [points[name][1] for name in best]
        axes.step(across, [*least, least[-1]], where="post", color="0.6", lw=1, zorder=0)
        for name, (at, value, deviation) in points.items():
            fill = looks[name]["color"] if name in best else "white"
            axes.errorbar(at, value, deviation, **looks[name], ls="", ms=6, mfc=fill, lw=1, capsize=2)
        axes.set_xscale(scale(across[0], across[-1]))
        axes.set_yscale(scale(least[-1], max(point[1] for point in points.values())))
        axes.set(xlabel=_text(x), ylabel=_text(y))
        axes.grid(alpha=0.3)
    marks = [Line2D([], [], **look, ls="", label=_text(name)) for name, look in looks.items()]
    figure.legend(
        handles=[*marks, Line2D([], [], color="0.6", label="Pareto front")], loc="outside right upper", fontsize=8
    )
    return png(figure)


def front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """The names of the points (x, y) that no other point equals or betters in both, by their x."""
    found: list[str] = []
    for name in sorted(points, key=lambda name: points[name]):
        if not found or points[name][1] < points[found[-1]][1]:
            found.append(name)
    return found


def heat(
    cells: Sequence[Sequence[tuple[float, str]]], rows: Sequence[str], columns: Sequence[str], *, title: str = ""
) -> bytes:
    """A PNG heat map; a cell is (value in [0, 1], text)."""
    from matplotlib.figure import Figure

    values = [[value for value, _ in row] for row in cells]
    figure = Figure(figsize=(2.2 + 0.8 * len(columns), 1.2 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(values, vmin=0, vmax=1, cmap="viridis", aspect="auto")
    axes.set_xticks(range(len(columns)), list(map(_text, columns)), rotation=30, ha="right", fontsize=8)
    axes.set_yticks(range(len(rows)), list(map(_text, rows)), fontsize=8)
    axes.set_title(_text(title), fontsize=9)
    for i, row in enumerate(cells):
        for j, (value, text) in enumerate(row):
            axes.text(j, i, text, ha="center", va="center", fontsize=8, color="wk"[int(value > 0.5)])
    return png(figure)


def _text(words: str) -> str:
    """Escapes dollar signs, between which matplotlib typesets formulas."""
    return printable(words).replace("$", r"\$")


def png(figure: Any) -> bytes:
    """The PNG of a matplotlib figure; drawn once, while `savefig` would draw a constrained layout twice."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(canvas.buffer_rgba())).save(buffer, "PNG")
    return buffer.getvalue()


def _drawable(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) <= LARGEST


def metric_curves(rows: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """One PNG per metric in the rows of metrics.jsonl, against the number of images."""
    names = {name: None for row in rows for name in row if name not in ("step", "images")}
    pictures = {}
    for name in names:
        points = [(row["images"], row[name]) for row in rows if _drawable(row.get(name))]
        if len(points) > 1:
            pictures[name] = curves({name: tuple(zip(*points))}, x="images", y=name)  # type: ignore[dict-item]
    return pictures
