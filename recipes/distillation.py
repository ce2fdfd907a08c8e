"""Distillation: small students learn from labels and from teachers; Hinton et al. 2015, arXiv:1503.02531.

Students are trained on the labels alone, and on labels and a teacher at several temperatures; the largest one also on
the mean of several teachers, and without images of one class, whose bias is then raised (chosen on the training
images). By default the students see a tenth of the training images (section 6: soft targets as regularizers), the
teachers all. Everything is repeated over seeds; figures are errors on the held-out images.

python recipes/distillation.py                                   # scikit-learn's digits, minutes on one core
python recipes/distillation.py --data mnist --data-root DIR --teacher 1200 --students 800 --share 1 --shift 2 \\
  --images 800000                                                # section 3
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn

import genlab
from genlab.cli.main import start
from genlab.compress.distil import Distillation, DistillationConfig
from genlab.core.ranges import Length, NonEmpty, Positive, Range, Repeats, Seeds, Width
from genlab.core.text import counted
from genlab.data import Augment, Images, Stream
from genlab.methods.classification.classifier import Classifier, ClassifierConfig
from genlab.metrics.accuracy import predict_logits
from genlab.nets.classifiers import mlp
from genlab.reporting.finish import finish, records
from genlab.reporting.plots import curves
from genlab.reporting.spread import spread

Who = tuple[str, int, str, float | None]  # network, units, what it learns from, T
HEADER = ["network", "units", "learns from", "T", "errors", "errors (sd)"]
TEACHER, LABELS, TAUGHT = "teacher", "labels", "teacher and labels"  # roles
OMITTED_TEMPERATURE = 8.0  # of the student that never sees one class
BIAS_STEP, BIAS_STEPS = 0.25, 60  # of the search for the bias of that class


@dataclass(frozen=True)
class Config:
    """Held-out errors of teacher and students."""

    data: str = "digits"
    """labelled images"""
    data_root: Path | None = None
    """where downloaded sets lie"""
    teacher: Width = 600
    """units in each of the teacher's two hidden layers"""
    students: NonEmpty[Width] = (30, 100)
    """units in each of the two hidden layers of each student"""
    share: Annotated[float, Range(0, 1, above=True)] = 0.1
    """share of the training images that the students see"""
    images: Length = 40_000
    """length of every training"""
    shift: Annotated[int, Range(0, 1000)] = 1
    """the teacher's training images are shifted by up to so many pixels"""
    temperatures: NonEmpty[Positive] = (1.0, 2.5, 8.0, 20.0)
    """temperatures T of distillation; the student of several teachers has the second, or the only one"""
    omitted: Annotated[int, Range(0, 10**6)] = 3
    """the class that one student never sees"""
    teachers: Repeats = 3
    """number of teachers whose mean probabilities the last student learns; 1: there is no such student"""
    seeds: Seeds = (0, 1, 2)
    """everything is repeated with each of these seeds"""
    out: Path = Path("runs/distillation")
    """folder of the report"""


def main(config: Config) -> None:
    data = genlab.DataOptions(config.data, data_root=config.data_root)
    known, test = data.load("train"), data.load("test")
    if config.omitted >= len(known.classes):
        raise ValueError(f"--omitted must be a class, from 0 to {len(known.classes) - 1}, got {config.omitted}")
    repetitions = [errors(Lesson(config, known, seed), test) for seed in config.seeds]
    rows = records(HEADER, [[*who, *spread(each[who] for each in repetitions)] for who in repetitions[0]])
    page = genlab.Report(f"Distillation: {config.data}")
    page.text(message(rows, len(test)))
    page.picture(curves(lines(rows, config.students), x="temperature T", y="errors"))
    page.text(
        f"Students saw {sub_size(known, config.share):,} of the {len(known):,} training images; mean ± standard "
        f"deviation over {counted(config.seeds)}."
    )
    page.table(HEADER, (row.values() for row in rows))
    finish(config.out, page, rows)


def message(rows: list[dict[str, Any]], test: int) -> str:
    """The errors of the teacher, of every student alone, and of the same with a teacher at its best temperature."""
    found = [f"the teacher makes {next(row['errors'] for row in rows if row['network'] == TEACHER):.0f}"]
    for row in rows:
        if row["network"] == "student" and row["learns from"] == LABELS:
            taught = [each for each in rows if (each["units"], each["learns from"]) == (row["units"], TAUGHT)]
            best = min(taught, key=lambda each: each["errors"])
            found.append(
                f"a student of {row['units']} units {row['errors']:.0f} by the labels alone and {best['errors']:.0f} "
                f"with the teacher at T = {best['T']:g}"
            )
    return f"Of {test:,} test images {'; '.join(found)} errors."


def lines(rows: list[dict[str, Any]], students: Sequence[int]) -> dict[str, Any]:
    """Errors against the temperature; what does not depend on it is a horizontal line."""
    taught = [row for row in rows if row["learns from"] == TAUGHT]
    ends = [min(row["T"] for row in taught), max(row["T"] for row in taught)]
    found: dict[str, Any] = {TEACHER: level(next(row for row in rows if row["network"] == TEACHER), ends)}
    for units in students:
        alone = next(row for row in rows if (row["units"], row["learns from"]) == (units, LABELS))
        found[f"{units} units, labels alone"] = level(alone, ends)
        mine = [row for row in taught if row["units"] == units]
        found[f"{units} units, taught"] = ([row["T"] for row in mine], *zip(*map(band, mine)))
    return found


def band(row: dict[str, Any]) -> tuple[float, float, float]:
    """Errors, and the ends of their spread."""
    return row["errors"], row["errors"] - row["errors (sd)"], row["errors"] + row["errors (sd)"]


def level(row: dict[str, Any], ends: list[float]) -> tuple[list[float], ...]:
    return ends, *([value, value] for value in band(row))  # type: ignore[return-value]


def sub_size(images: Images, share: float) -> int:
    return max(1, round(share * len(images)))


@dataclass(frozen=True)
class Lesson:
    """How teachers and students are trained in one repetition."""

    config: Config
    known: Images
    seed: int

    @cached_property
    def seen(self) -> Images:
        """The training images of the students."""
        order = torch.randperm(len(self.known), generator=torch.Generator().manual_seed(self.seed))
        return self.known.subset(order[: sub_size(self.known, self.config.share)])

    def train(self, method: Classifier, title: str, images: Images, augment: Augment = Augment()) -> nn.Module:
        options = genlab.TrainOptions(self.config.images, seed=self.seed, schedule="cosine", clip=1.0)
        stream = Stream(images, options.batch, seed=self.seed, augment=augment)
        return genlab.fit(method, stream, options, title=f"{self.seed}: {title}").eval()

    def network(self, width: int) -> nn.Module:
        return mlp(self.known.shape, len(self.known.classes), width).to(self.known.device)

    def teacher(self) -> nn.Module:
        method = Classifier(self.network(self.config.teacher), ClassifierConfig(weight_decay=1e-4))
        return self.train(method, "teacher", self.known, Augment(crop=self.config.shift))

    def student(self, units: int) -> nn.Module:
        """Trained on the labels alone."""
        method = Classifier(self.network(units), ClassifierConfig(weight_decay=0.0))
        return self.train(method, f"student of {units} units", self.seen)

    def distilled(
        self,
        units: int,
        teachers: list[nn.Module],
        temperature: float,
        weight: float = 0.9,
        images: Images | None = None,
    ) -> nn.Module:
        """weight: of the teachers' probabilities; images: none: those that students see."""
        settings = DistillationConfig(temperature=temperature, weight=weight, weight_decay=0.0)
        method = Distillation(self.network(units), teachers, settings)
        title = f"student of {units} units, distilled at T {temperature:g}"
        return self.train(method, title, self.seen if images is None else images)


def errors(lesson: Lesson, test: Images) -> dict[Who, int]:
    """Who -> number of held-out images that it classifies wrongly."""
    config = lesson.config
    torch.manual_seed(lesson.seed)
    teacher = lesson.teacher()
    found: dict[Who, Tensor] = {(TEACHER, config.teacher, LABELS, None): wrong(predict_logits(teacher, test), test)}

    for units in config.students:
        found["student", units, LABELS, None] = wrong(predict_logits(lesson.student(units), test), test)
        for temperature in config.temperatures:
            student = lesson.distilled(units, [teacher], temperature)
            found["student", units, TAUGHT, temperature] = wrong(predict_logits(student, test), test)

    without, corrected = without_a_class(lesson, teacher, test)
    key = "student", units, f"teacher, on images without class {config.omitted}"
    found[*key, OMITTED_TEMPERATURE] = wrong(without, test)
    found[*key[:2], f"{key[2]}; bias corrected", OMITTED_TEMPERATURE] = wrong(corrected, test)
    omitted = test.labels == config.omitted
    found[*key[:2], f"the same, errors on class {config.omitted}", OMITTED_TEMPERATURE] = wrong(corrected, test)[
        omitted
    ]

    if config.teachers > 1:
        found |= of_several(lesson, teacher, test)
    return {who: int(each.sum()) for who, each in found.items()}


def of_several(lesson: Lesson, teacher: nn.Module, test: Images) -> dict[Who, Tensor]:
    """The errors (N,) of the mean of several teachers, and of a student that learns from it."""
    config = lesson.config
    name, units = f"{config.teachers} teachers", config.students[-1]
    teachers = [teacher, *(lesson.teacher() for _ in range(config.teachers - 1))]
    mean = torch.stack([predict_logits(each, test).softmax(1) for each in teachers]).mean(0)
    temperature = config.temperatures[min(1, len(config.temperatures) - 1)]
    student = lesson.distilled(units, teachers, temperature)
    return {
        (name, config.teacher, LABELS, None): wrong(mean, test),
        ("student", units, f"{name} and labels", temperature): wrong(predict_logits(student, test), test),
    }


def without_a_class(lesson: Lesson, teacher: nn.Module, test: Images) -> tuple[Tensor, Tensor]:
    """Logits (N, classes) on `test` of a student that never saw one class, learning from the teacher alone; and the
    same with the bias of that class raised, by as much as gives fewest errors on the training images."""
    known, seen, omitted = lesson.known, lesson.seen, lesson.config.omitted
    rest = seen.subset(seen.labels != omitted)
    student = lesson.distilled(lesson.config.students[-1], [teacher], OMITTED_TEMPERATURE, 1.0, rest)
    on_known, on_test = predict_logits(student, known), predict_logits(student, test)
    unit = torch.eye(len(known.classes), device=on_known.device)[omitted]
    biases = [step * BIAS_STEP * unit for step in range(BIAS_STEPS)]
    best = min(biases, key=lambda bias: int(wrong(on_known + bias, known).sum()))
    return on_test, on_test + best


def wrong(logits: Tensor, data: Images) -> Tensor:
    """(N,) bool."""
    return logits.argmax(1) != data.labels


if __name__ == "__main__":
    start(main, Config)
