"""Adversarial reprogramming: a learned frame makes a frozen classifier do somebody else's task, here counting squares.

Elsayed, Goodfellow, Sohl-Dickstein 2018, arXiv:1806.11146, equations 1 to 5. The small picture stands in the middle of
an image; the program, tanh of weights, fills the rest; each class of the victim stands for one number of squares. Only
the program is trained, with the lab's own loop; the victim is borrowed, so no weight of it changes.

Departures. (1) Pixels are in [0, 1], so the program's are 0.5 + 0.5 tanh(w). (2) Which class stands for which number is
not class i for i + 1: an assignment that suits the program's first steps best is chosen a few times in the first third
of the training and then stays (h_g of equation 4 is any fixed one). With a victim that has as many classes as the task
this matters more than anything else. (3) Cross-entropy reads `sharpness` times the logits: only their order counts in
the end, and ten answers that must follow one another by single squares lie closer together than it would have them.
(4) The squares may stand apart, with the program between them: a small image leaves little room around.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate, pad

from attacks.core.model import Model, victim
from genlab.core.ranges import Count, LearningRate, Positive, Seed, Weight, check
from genlab.data import Images, Stream, batches
from genlab.training.loop import fit
from genlab.training.method import Method, Metrics, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update

if TYPE_CHECKING:
    from genlab.training.method import BatchStream


def windows(cells: int = 4, pixels: int = 2, gap: int = 0) -> Tensor:
    """(1, side, side): 1 where squares may be, side = cells * pixels + (cells - 1) * gap."""
    line = torch.cat([torch.ones(cells, pixels), torch.zeros(cells, gap)], 1).flatten()
    line = line[: len(line) - gap]
    return torch.outer(line, line)[None]


def squares(
    n: int, cells: int = 4, pixels: int = 2, gap: int = 0, most: int = 10, channels: int = 1, seed: int = 0
) -> Images:
    """n pictures (n, channels, side, side) of 1 .. `most` white squares on black, side as in `windows`.

    Each square fills a cell of the grid, drawn at random; the label is the number of squares minus one.
    """
    if not 1 <= most <= cells * cells:
        raise ValueError(f"most must be in [1, {cells * cells}] for a grid of {cells} x {cells}, got {most}.")
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(most, (n,), generator=g)
    rank = torch.rand(n, cells * cells, generator=g).argsort(1).argsort(1)
    grid = (rank <= labels[:, None]).view(n, 1, cells, cells).float()
    picture = pad(interpolate(grid, scale_factor=1.0 * (pixels + gap), mode="nearest"), (0, -gap, 0, -gap))
    picture = (picture * windows(cells, pixels, gap)).expand(-1, channels, -1, -1)
    return Images(picture.mul(255).byte(), labels, tuple(map(str, range(1, most + 1))), "squares")


class Program(Method):
    """picture (N, C, h, w) in [0, 1] -> logits (N, L) of its labels, from the victim's for an image (N, C, H, W).

    hole (1, h, w): 1 where the picture is seen; everything else is the program. labels, classes: L <= K, the numbers of
    things to tell and of what the victim tells.
    The victim is no submodule: it is neither trained, nor switched to training mode, nor saved.
    """

    def __init__(
        self,
        model: Model,
        shape: tuple[int, int, int],
        hole: Tensor,
        labels: int,
        classes: int,
        lr: float = 0.1,
        weight: float = 0.0,
        sharpness: float = 10.0,
    ) -> None:
        super().__init__()
        (_, height, width), (h, w) = shape, hole.shape[1:]
        if h > height or w > width or (hole.all() and (h, w) == (height, width)):
            raise ValueError(f"the picture must leave room for a program in {height}x{width} pixels, got {h}x{w}.")
        if not 2 <= labels <= classes:
            raise ValueError(f"the victim's {classes} classes cannot stand for {labels} labels, at least 2.")
        top, left = (height - h) // 2, (width - w) // 2
        self.margins = (left, width - w - left, top, height - h - top)
        self.model, self.lr, self.weight, self.sharpness = (model,), lr, weight, sharpness
        self.w = nn.Parameter(torch.zeros(shape))
        self.register_buffer("mask", 1 - pad(hole.float(), self.margins))
        self.register_buffer("classes", torch.arange(labels))  # that stand for the labels
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("belief", torch.zeros(labels, classes))  # fading sum of the log probabilities per label
        self.mask: Tensor
        self.classes: Tensor
        self.steps: Tensor
        self.belief: Tensor

    def frame(self, x: Tensor) -> Tensor:
        """Pictures (N, C, h, w) inside the program: images (N, C, H, W) for the victim."""
        program = (0.5 + 0.5 * self.w.tanh()) * self.mask
        return pad(x, self.margins) * (1 - self.mask) + program

    def forward(self, x: Tensor) -> Tensor:
        return self.model[0](self.frame(x))[:, self.classes]

    def optimizers(self):
        return {"program": adam(self, lr=self.lr)}

    def step(self, data: BatchStream, update: Update) -> Metrics:
        x, y = next(data)
        logits = self.sharpness * self.model[0](self.frame(x))
        self._assign(logits.detach(), y, update.progress)
        wanted = self.classes[y]
        loss = cross_entropy(logits, wanted)
        update("program", loss + self.weight * (self.w * self.mask).square().sum())
        return {"loss": loss, "accuracy": (logits.argmax(1) == wanted).float().mean()}

    def _assign(self, logits: Tensor, y: Tensor, progress: float) -> None:
        """Until a third of the training, every 100 steps: the classes whose probabilities suit the labels best."""
        if progress > 1 / 3:
            return
        self.belief.mul_(0.98).index_add_(0, y, logits.log_softmax(1).to(self.belief))
        self.steps += 1
        if self.steps % 100 == 0:
            _, best = linear_sum_assignment(-self.belief.cpu().numpy())
            self.classes.copy_(torch.as_tensor(best))

    @torch.no_grad()
    def evaluate(self, data: Images) -> dict[str, float]:
        """accuracy: the fraction of the pictures whose squares are counted right."""
        with victim(self.model[0], self.frame(data.x[:1]), data.labels[:1]) as f:
            right = sum(int((f.query(self.frame(x)).argmax(1) == self.classes[y]).sum()) for x, y in batches(data, 500))
        return {"accuracy": right / len(data)}


@dataclass(frozen=True)
class Reprogramming:
    """How a program is learnt; `learn(model, shape, data)` returns it."""

    images: Count = 100_000
    """length of the training, in pictures"""
    batch: Count = 32
    lr: LearningRate = 0.1
    """learning rate of Adam, falling to 0 along a cosine"""
    weight: Weight = 0.0
    """penalty on |w|^2"""
    sharpness: Positive = 10.0
    """by which the victim's logits are multiplied in the loss"""
    seed: Seed = 0

    def __post_init__(self) -> None:
        check(self)

    def learn(self, model: Model, shape: tuple[int, int, int], data: Images, hole: Tensor | None = None) -> Program:
        """The program that makes `model`, for images of `shape` (C, H, W), tell the classes of the small pictures.

        hole (1, h, w): 1 where the pictures are seen; None: all of them.
        """
        hole = torch.ones(1, *data.shape[1:]) if hole is None else hole
        blank = torch.zeros(1, *shape, device=data.device)
        with victim(model, blank, data.labels[:1] * 0) as f:
            classes = f.query(blank).shape[1]
            program = Program(f, shape, hole, len(data.classes), classes, self.lr, self.weight, self.sharpness)
            program = program.to(data.device)
            options = TrainOptions(self.images, self.batch, self.seed, schedule="cosine")
            fit(program, Stream(data, self.batch, seed=self.seed), options, title="program")
        program.model = (model,)  # the model itself, no longer as the victim
        return program
