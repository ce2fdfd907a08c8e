"""GANs of word sequences: SeqGAN, Gumbel-softmax and soft tokens beside maximum likelihood, on a grammar that is known.

A sampled word has no gradient. First, the gradients of the remedies are measured for the same generator and
discriminator: their size, and how much those of two batches agree. Then a small generator, pre-trained by maximum
likelihood, is trained by each objective, and compared with maximum likelihood of the same length, with scheduled
sampling, and with lower temperatures. Settings were chosen with seed 0.

oracle nats    -log P of samples under the grammar, in which a word in a hundred is wrong: quality
grammatical    the share of samples that break no rule: quality
test nats      -log P of held-out sentences under the generator: diversity, too
distinct-4     different 4-grams in 1,000 samples, divided by all: diversity

python recipes/sequence_gan.py                                   # minutes on one core
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

import genlab
from genlab.cli.main import start
from genlab.core.ranges import Count, LearningRate, Length, NonEmpty, Positive, Repeats, Seeds, Width
from genlab.core.text import counted, listed
from genlab.data import Images, Stream
from genlab.data.grammar import GRAMMAR
from genlab.methods.gan.sequence_gan import SequenceGAN, SequenceGANConfig
from genlab.metrics.sequences import distinct_ngrams
from genlab.reporting.finish import finish, records
from genlab.reporting.plots import png
from genlab.reporting.spread import spread, with_deviation

MEASURES = ["oracle nats", "grammatical", "test nats", "distinct-4"]
GRADIENTS = ["gradient", "norm", "agreement of two batches"]
REAL, LIKELIHOOD, SOFT = "held-out sentences", "likelihood", "soft words, WGAN-GP"
ERROR = 0.01  # of the oracle
LOOKS = 6  # measurements during training
BATCH = 64  # of draws whose gradients are compared


@dataclass(frozen=True)
class Config:
    """Quality and diversity of generators of word sequences."""

    hold_out: bool = False
    """measure validation sentences, a tenth of the known ones, in place of test sentences"""
    width: Width = 8
    """units of the generator's state: few, so that maximum likelihood does not fit the grammar"""
    width_discriminator: Width = 32
    """channels of the discriminator"""
    pretraining: Length = 64_000
    """images of maximum likelihood before the others begin"""
    images: Length = 36_000
    """images of every further training"""
    lr: LearningRate = 3e-3
    """learning rate of maximum likelihood and of the discriminators"""
    lr_adversarial: LearningRate = 1e-3
    """learning rate of the generators in adversarial training"""
    temperatures: NonEmpty[Positive] = (0.8, 0.6)
    """temperatures at which the generator of maximum likelihood is sampled, too"""
    samples: Count = 1_000
    """sequences drawn for each measurement"""
    pairs: Repeats = 10
    """pairs of batches whose gradients are compared"""
    seeds: Seeds = (0, 1, 2)
    """everything is repeated with each of these seeds"""
    out: Path = Path("runs/sequence-gan")
    """folder of the report"""


Measured = dict[str, list[float]]  # measure -> value at every look


def main(config: Config) -> None:
    data = genlab.DataOptions("grammar", hold_out=config.hold_out)
    train, test = data.load("train"), data.load("validation" if config.hold_out else "test")
    repetitions = [repetition(config, seed, train, test) for seed in config.seeds]
    gradients = [[name, *averaged([each[0][name] for each in repetitions])] for name in repetitions[0][0]]
    looks: dict[str, list[Measured]] = {name: [each[1][name] for each in repetitions] for name in repetitions[0][1]}
    rows = {name: last(runs) for name, runs in looks.items()}

    page = genlab.Report("GANs of word sequences")
    page.text(message(rows))
    page.picture(figure(looks))
    page.text(f"Quality and diversity: mean and standard deviation over {counted(config.seeds)}.")
    page.table(["generator", *MEASURES], ([name, *map(text, runs.values())] for name, runs in rows.items()))
    page.section(
        "Gradients", f"Of the discriminator's judgement of {BATCH} draws; means over {config.pairs} pairs of batches."
    )
    page.table(GRADIENTS, gradients)
    page.section("Samples of the first seed")
    for name, lines in repetitions[0][2].items():
        page.text(f"{name}: {' / '.join(lines)}")
    header = ["generator", *(name for measure in MEASURES for name in (measure, f"{measure} (sd)"))]
    flat = [
        [name, *(value for pair in found.values() for value in pair or (None, None))] for name, found in rows.items()
    ]
    finish(config.out, page, {"gradients": records(GRADIENTS, gradients), "generators": records(header, flat)})


def message(rows: dict[str, Any]) -> str:
    """Quality by the grammar itself, of samples of every generator."""
    nats = {name: measures[MEASURES[0]][0] for name, measures in rows.items()}
    return f"Nats of a sequence under the true grammar, with few errors allowed: {listed(nats, '.1f')}."


def repetition(config: Config, seed: int, train: Images, test: Images) -> tuple[Any, Any, Any]:
    """Gradients, measurements and samples of every generator."""
    method = SequenceGANConfig(
        "likelihood",
        levels=len(GRAMMAR.words),
        width=config.width,
        width_discriminator=config.width_discriminator,
        lr=config.lr,
        lr_discriminator=config.lr,
        rollouts=2,
        pretraining=0.2,
    )
    adversarial = replace(method, lr=config.lr_adversarial)
    looks: dict[str, Measured] = {}
    samples: dict[str, list[str]] = {}

    def trained(name: str, how: SequenceGANConfig, images: int, first: SequenceGAN | None) -> SequenceGAN:
        torch.manual_seed(seed)
        built: Any = how.build(train.shape, 1)
        if first:
            built.generator.load_state_dict(first.generator.state_dict())
        found = looks[name] = nothing()
        look = lambda seen, now: record(found, seen, now, test, config)
        if first:
            look(0, built.eval())
        options = genlab.TrainOptions(images, seed=seed, clip=5.0)
        stream = Stream(train, options.batch, seed=seed)
        done: Any = genlab.fit(built, stream, options, hooks=[(images // LOOKS, look)], title=f"{seed}: {name}")
        samples[name] = drawn(done, 3)
        return done

    start = trained(LIKELIHOOD, method, config.pretraining, None)
    looks[REAL] = nothing() | {measure: [value] for measure, value in judge(start.tokens(test.x)).items()}
    trained("likelihood, longer", method, config.images, start)
    trained("scheduled sampling", replace(method, self_sampling=0.5), config.images, start)
    for temperature in config.temperatures:
        cooler = copy.deepcopy(start)
        for p in cooler.generator.head.parameters():
            p.data /= temperature
        name = f"likelihood, temperature {temperature:g}"
        looks[name] = nothing()
        record(looks[name], 0, cooler, test, config)
        samples[name] = drawn(cooler, 3)
    seqgan = trained("SeqGAN", replace(adversarial, objective="reinforce"), config.images, start)
    without = replace(adversarial, objective="reinforce", rollouts=0)
    trained("REINFORCE, no rollouts", without, config.images, start)
    trained("Gumbel-softmax", replace(adversarial, objective="gumbel"), config.images, start)
    trained(SOFT, replace(adversarial, objective="soft"), config.images, start)
    return gradients(start, seqgan, config.pairs), looks, samples


def nothing() -> Measured:
    return {name: [] for name in ("images", *MEASURES)}


def drawn(method: SequenceGAN, n: int) -> list[str]:
    return GRAMMAR.text(method.tokens(method.sample(n)))


def judge(tokens: Tensor) -> dict[str, float]:
    """The measures of sequences (N, T)."""
    return {
        "oracle nats": -float(GRAMMAR.log_prob(tokens, ERROR).mean()),
        "grammatical": float(GRAMMAR.grammatical(tokens).double().mean()),
        "distinct-4": distinct_ngrams(tokens, 4),
    }


@torch.no_grad()
def record(found: Measured, images: int, method: Any, test: Images, config: Config) -> None:
    """Appends the measures of the generator as it is now."""
    torch.manual_seed(0)
    found["images"].append(images)
    for name, value in judge(method.tokens(method.sample(config.samples))).items():
        found[name].append(value)
    for name, value in method.evaluate(test).items():
        found[f"test {name}"].append(value)


def gradients(start: SequenceGAN, gan: SequenceGAN, pairs: int) -> dict[str, tuple[float, float]]:
    """estimator -> norm of the gradient of the generator of `start` under the discriminator of `gan`, and the cosine of
    those of two batches, both the mean of so many pairs."""
    ways = {
        "sampled words": None,
        "REINFORCE": {"objective": "reinforce", "rollouts": 0, "baseline": False},
        "with baseline": {"objective": "reinforce", "rollouts": 0},
        "with baseline and rollouts (SeqGAN)": {"objective": "reinforce"},
        "Gumbel-softmax": {"objective": "gumbel", "temperature_end": 1.0},
        "soft words": {"objective": "soft"},
    }
    return {name: compared(start, gan, how, pairs) for name, how in ways.items()}


def compared(start: SequenceGAN, gan: Any, how: Any, pairs: int) -> tuple[float, float]:
    """how: options of the estimator; none: the discriminator gets the sampled words, and nothing else is done."""
    method = SequenceGAN(start.generator, gan.discriminator, start.shape, replace(gan.config, **(how or {})))
    parameters, found = list(method.generator.parameters()), []
    for _ in range(2 * pairs):
        loss = gan.discriminator(method.draw(BATCH)).mean() if how is None else method.adversarial_loss(BATCH)
        grads = torch.autograd.grad(loss, parameters, allow_unused=True)
        grads = [torch.zeros_like(p) if grad is None else grad for p, grad in zip(parameters, grads)]
        found.append(nn.utils.parameters_to_vector(grads))
    a, b = torch.stack(found).chunk(2)
    return float(torch.cat([a, b]).norm(dim=1).mean()), float(cosine_similarity(a, b).mean())


def averaged(values: Sequence[tuple[float, float]]) -> list[float]:
    return [spread(column)[0] for column in zip(*values)]


def last(runs: list[Measured]) -> dict[str, tuple[float, float] | None]:
    """measure -> mean and standard deviation of the last look; None where there is none."""
    return {name: spread(run[name][-1] for run in runs) if runs[0][name] else None for name in MEASURES}


def text(found: tuple[float, float] | None) -> str | None:
    return None if found is None else with_deviation(*found)


def figure(looks: dict[str, list[Measured]]) -> bytes:
    """A PNG of every measure during the trainings that follow the pre-training; what is far off is cut off."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(12.5, 6.4), layout="constrained")
    panels = drawing.subplots(2, 2).flat
    for axes, measure in zip(panels, MEASURES):
        shown = {name: runs for name, runs in looks.items() if runs[0][measure] and name != LIKELIHOOD}
        for name, runs in shown.items():
            colour = f"C{list(looks).index(name) - 1}"
            means, sds = zip(*(spread(values) for values in zip(*(run[measure] for run in runs))))
            if len(means) == 1:
                axes.axhline(means[0], ls="--", lw=1, label=name, color=colour)
                continue
            images, low, high = runs[0]["images"], *([m + sign * sd for m, sd in zip(means, sds)] for sign in (-1, 1))
            axes.plot(images, means, marker="o", markersize=3, label=name, color=colour)
            axes.fill_between(images, low, high, color=colour, alpha=0.15, lw=0)
        near = [value for name in shown if name != SOFT for run in looks[name] for value in run[measure]]
        margin = 0.1 * (max(near) - min(near))
        axes.set(title=measure, xlabel="images", ylim=(min(near) - margin, max(near) + margin))
        axes.grid(alpha=0.3)
    handles, labels = drawing.axes[1].get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside right upper", fontsize=8)
    return png(drawing)


if __name__ == "__main__":
    start(main, Config)
