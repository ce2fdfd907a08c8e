"""Distillation: a small student learns from labels and from teachers; Hinton et al. 2015, arXiv:1503.02531, section 3.

The student is trained on the labels alone; on labels and teacher at several temperatures; on the mean of several
teachers; and on images without one class, whose bias is then raised (chosen on the images that the student saw).
Everything is repeated over seeds; figures are errors on the held-out images.

python recipes/distillation.py                                   # scikit-learn's digits, minutes on one core
python recipes/distillation.py --data mnist --data-root DIR --teacher 1200 --student 800 --shift 2 --images 800000
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor, nn

import genlab
from genlab.cli.main import start
from genlab.compress.distil import Distillation, DistillationConfig
from genlab.core.ranges import Length, NonEmpty, Positive, Range, Repeats, Seeds, Width
from genlab.data import Augment, Images, Stream
from genlab.methods.classification.classifier import Classifier, ClassifierConfig
from genlab.metrics.accuracy import predict_logits
from genlab.nets.classifiers import mlp
from genlab.reporting.finish import finish, records
from genlab.reporting.report import spread

HEADER = ["network", "errors", "errors (sd)"]
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
    student: Width = 30
    """units in each of the student's two hidden layers"""
    images: Length = 100_000
    """length of every training"""
    shift: Annotated[int, Range(0, 1000)] = 1
    """the teacher's training images are shifted by up to so many pixels"""
    temperatures: NonEmpty[Positive] = (1.0, 4.0, 10.0, 20.0)
    """temperatures T of distillation; the last is that of the student of several teachers"""
    omitted: Annotated[int, Range(0, 10**6)] = 3
    """the class that one student never sees"""
    teachers: Repeats = 3
    """number of teachers whose mean probabilities the last student learns"""
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
    rows = [[name, *spread(each[name] for each in repetitions)] for name in repetitions[0]]
    page = genlab.Report(f"Distillation: {config.data}")
    page.text(f"Errors on {len(test)} test images; mean and standard deviation (sd) over {len(config.seeds)} seeds.")
    finish(config.out, page.table(HEADER, rows), records(HEADER, rows))


@dataclass(frozen=True)
class Lesson:
    """How teachers and students are trained in one repetition."""

    config: Config
    known: Images
    seed: int

    def train(self, method: Classifier, title: str, images: Images, augment: Augment = Augment()) -> nn.Module:
        options = genlab.TrainOptions(self.config.images, seed=self.seed, schedule="cosine", clip=1.0)
        stream = Stream(images, options.batch, seed=self.seed, augment=augment)
        return genlab.fit(method, stream, options, title=f"{self.seed}: {title}").eval()

    def network(self, width: int) -> nn.Module:
        return mlp(self.known.shape, len(self.known.classes), width).to(self.known.device)

    def teacher(self) -> nn.Module:
        method = Classifier(self.network(self.config.teacher), ClassifierConfig(weight_decay=1e-4))
        return self.train(method, "teacher", self.known, Augment(crop=self.config.shift))

    def student(self) -> nn.Module:
        """Trained on the labels alone."""
        method = Classifier(self.network(self.config.student), ClassifierConfig(weight_decay=0.0))
        return self.train(method, "student", self.known)

    def distilled(
        self, teachers: list[nn.Module], temperature: float, weight: float = 0.9, images: Images | None = None
    ) -> nn.Module:
        """weight: of the teachers' probabilities; images: none: all known ones."""
        settings = DistillationConfig(temperature=temperature, weight=weight, weight_decay=0.0)
        method = Distillation(self.network(self.config.student), teachers, settings)
        return self.train(method, f"distilled, T {temperature:g}", self.known if images is None else images)


def errors(lesson: Lesson, test: Images) -> dict[str, int]:
    """network -> number of held-out images that it classifies wrongly."""
    config = lesson.config
    torch.manual_seed(lesson.seed)
    teacher = lesson.teacher()
    logits = {"teacher": predict_logits(teacher, test), "student, labels alone": predict_logits(lesson.student(), test)}
    for temperature in config.temperatures:
        student = lesson.distilled([teacher], temperature)
        logits[f"student, distilled at T {temperature:g}"] = predict_logits(student, test)
    without, corrected = without_a_class(lesson, teacher, test)
    logits |= {f"student without class {config.omitted}": without, "the same, bias corrected": corrected}
    teachers = [teacher, *(lesson.teacher() for _ in range(config.teachers - 1))]
    logits["ensemble of teachers"] = torch.stack([predict_logits(each, test).softmax(1) for each in teachers]).mean(0)
    student = lesson.distilled(teachers, config.temperatures[-1])
    logits["student, distilled from the ensemble"] = predict_logits(student, test)

    found = {name: int(wrong(each, test).sum()) for name, each in logits.items()}
    found["bias corrected, on the omitted class"] = int(wrong(corrected, test)[test.labels == config.omitted].sum())
    return found


def without_a_class(lesson: Lesson, teacher: nn.Module, test: Images) -> tuple[Tensor, Tensor]:
    """Logits (N, classes) on `test` of a student that never saw one class, learning from the teacher alone; and the
    same with the bias of that class raised, by as much as gives fewest errors on the training images."""
    known, omitted = lesson.known, lesson.config.omitted
    student = lesson.distilled([teacher], OMITTED_TEMPERATURE, 1.0, known.subset(known.labels != omitted))
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
