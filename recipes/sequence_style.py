"""Style transfer of sentences without pairs: kind words to unkind ones and back, by a cycle, and without it.

Two styles of one grammar share nouns, numbers and syntax, and differ in verbs and adjectives, each of which has one
opposite; so the correct translation of every sentence is known. Translators learn from sentences of both styles that do
not belong together: adversarially alone, with cycle consistency, and with the identity loss, too (CycleGAN, Zhu et al.
2017, arXiv:1703.10593; words drawn by Gumbel-softmax). Weights were chosen on validation sentences.

style      share of the translated words that are of the other style, or content
grammar    share of the translations, 9 words each, that break no rule of the other style
content    share of the content words (nouns, numbers, "and", full stops) that are kept
correct    share of all words that are those of the correct translation

python recipes/sequence_style.py                                 # minutes on one core
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Count, LearningRate, Length, Positive, Seeds, Weight, Width
from genlab.core.text import counted
from genlab.data import Images, Pair, Stream
from genlab.data.grammar_styles import PARTNER, STYLES, VOCABULARY, grammatical, in_style, sentences, text
from genlab.data.sources import share
from genlab.methods.translation.sequence_cycle import SequenceCycleConfig
from genlab.reporting.finish import finish, records
from genlab.reporting.plots import png
from genlab.reporting.spread import spread

MEASURES = ["style", "grammar", "content", "correct"]
LOOKS = 4  # measurements during training
NOT_TRANSLATED = "not translated"


@dataclass(frozen=True)
class Config:
    """Style, grammar and content of translated sentences, with and without the cycle."""

    images: Length = 24_000
    """length of every training, in lists of nine words of either style"""
    cycle: Weight = 1.0
    """weight of cycle consistency"""
    identity: Weight = 1.0
    """weight of the identity loss, where it is used"""
    temperature: Positive = 1.0
    """temperature of the Gumbel-softmax"""
    width: Width = 32
    """channels of the translators and discriminators"""
    lr: LearningRate = 2e-3
    """learning rate"""
    shown: Count = 3
    """sentences whose translations are printed"""
    split: Literal["test", "validation"] = "test"
    """sentences that are measured"""
    seeds: Seeds = (0, 1, 2)
    """everything is repeated with each of these seeds"""
    out: Path = Path("runs/sequence-style")
    """folder of the report"""


@dataclass(frozen=True)
class Looked:
    """One training: lists of words seen, the MEASURES then, and the trained method."""

    images: list[int]
    measures: list[list[float]]
    method: Any


def main(config: Config) -> None:
    train = Pair(*(share(sentences(style), "train", hold_out=True) for style in STYLES))
    test = Pair(*(sentences(style, "test") for style in STYLES))
    if config.split == "validation":
        test = Pair(*(share(sentences(style), "validation", hold_out=True) for style in STYLES))
    found = {
        name: [fitted(name, method, train, test, seed, config) for seed in config.seeds]
        for name, method in methods(config).items()
    }
    rows = {
        name: [spread(values) for values in zip(*(run.measures[-1] for run in runs))] for name, runs in found.items()
    }
    rows[NOT_TRANSLATED] = [(value, 0.0) for value in measured(lambda x, to: x, test)]

    page = genlab.Report("Style transfer of sentences without pairs").text(verdict(rows))
    page.picture(figure(found, rows[NOT_TRANSLATED]))
    page.section(
        "Translations",
        "style: share of the words that are of the other style, or content; grammar: share of the translations that "
        "break no rule of it; content: share of the content words that are kept; correct: share of the words that are "
        f"those of the correct translation. Mean ± standard deviation over {counted(config.seeds)}, both directions.",
    )
    header = ["translators", *(head for measure in MEASURES for head in (measure, f"{measure} (sd)"))]
    table = [[name, *sum(row, ())] for name, row in rows.items()]
    page.table(header, table)
    page.section("Examples of the first seed")
    page.table(["", *(f"sentence {i + 1}" for i in range(config.shown))], examples(found, test.a, config.shown))
    finish(config.out, page, records(header, table))


def methods(config: Config) -> dict[str, SequenceCycleConfig]:
    alone = SequenceCycleConfig(
        levels=len(VOCABULARY),
        cycle=0.0,
        temperature=config.temperature,
        width=config.width,
        width_discriminator=config.width,
        lr=config.lr,
    )
    cycle = replace(alone, cycle=config.cycle)
    return {
        "no cycle": alone,
        "cycle": cycle,
        "identity, no cycle": replace(alone, identity=config.identity),
        "cycle and identity": replace(cycle, identity=config.identity),
    }


def fitted(name: str, method: SequenceCycleConfig, train: Pair, test: Pair, seed: int, config: Config) -> Looked:
    torch.manual_seed(seed)
    built = method.build(train.shape, 1).to(train.device)
    options = replace(method.training, images=config.images, seed=seed)
    images, measures = list[int](), list[list[float]]()

    def look(seen: int, now: Any) -> None:
        images.append(seen)
        measures.append(measured(now.translate, test))

    stream = Stream(train, options.batch, seed=seed)
    hooks = [(max(1, options.images // LOOKS), look)]
    return Looked(
        images, measures, genlab.fit(built, stream, options, hooks=hooks, title=f"{name}, seed {seed}").eval()
    )


def tokens(x: Tensor) -> Tensor:
    """Images (N, 1, H, W) in [0, 1] -> tokens int64 (N, T)."""
    return (x * (len(VOCABULARY) - 1)).round().long().flatten(1)


def measured(translate: Any, test: Pair) -> list[float]:
    """The MEASURES of translate(images, to), the mean of both directions."""
    kind, unkind = STYLES
    both = []
    for side, style, to in ((test.a, unkind, 1), (test.b, kind, 0)):
        given, found = tokens(side.x), tokens(translate(side.x, to))
        correct, content = PARTNER[given], PARTNER[given] == given
        shares = in_style(found, style), grammatical(found, style), (found == given)[content], found == correct
        both.append([float(share.double().mean()) for share in shares])
    return [sum(values) / 2 for values in zip(*both)]


def examples(found: dict[str, list[Looked]], images: Images, n: int) -> list[list[str]]:
    """Rows of sentences: given, translated by each, and correct."""
    given = images.x[:n]
    rows = [["given", *text(tokens(given))]]
    rows += [[name, *text(tokens(runs[0].method.translate(given, 1)))] for name, runs in found.items()]
    return [*rows, ["correct", *text(PARTNER[tokens(given)])]]


def verdict(rows: dict[str, list[tuple[float, float]]]) -> str:
    words = [f"{name} {row[3][0]:.2f} and {row[2][0]:.2f}" for name, row in rows.items()]
    return f"Share of the words that are correct, and of the content words that are kept: {'; '.join(words)}."


def figure(found: dict[str, list[Looked]], untranslated: Sequence[tuple[float, float]]) -> bytes:
    """A PNG of every measure during training, with its deviation over seeds; dashed: sentences left as they are."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(11.5, 3.2), layout="constrained")
    for at, (axes, measure) in enumerate(zip(drawing.subplots(1, len(MEASURES), sharey=True), MEASURES)):
        for i, (name, runs) in enumerate(found.items()):
            values = torch.tensor([[look[at] for look in run.measures] for run in runs])
            mean = values.mean(0)
            sd = values.std(0) if len(runs) > 1 else torch.zeros_like(mean)
            axes.plot(runs[0].images, mean, marker="o", ms=3, color=f"C{i}", label=name)
            axes.fill_between(runs[0].images, mean - sd, mean + sd, color=f"C{i}", alpha=0.15, lw=0)
        axes.axhline(untranslated[at][0], color="0.5", ls="--", lw=1, label=NOT_TRANSLATED)
        axes.set(title=measure, xlabel="lists of nine words", ylim=(-0.03, 1.03))
        axes.locator_params(axis="x", nbins=3)
        axes.grid(alpha=0.3)
    handles, labels = drawing.axes[0].get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=9)
    return png(drawing)


if __name__ == "__main__":
    start(main, Config)
