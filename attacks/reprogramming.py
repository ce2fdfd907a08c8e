"""Adversarial reprogramming: a trained frame makes a frozen classifier perform another task, here counting squares.

Elsayed, Goodfellow, Sohl-Dickstein 2018, arXiv:1806.11146, equations 1 to 5. The input of the new task is placed in
the centre of an image; the adversarial program, tanh of weights, fills the rest; each label of the new task is assigned
a class of the victim (h_g). Only the program is trained, by `genlab.fit`; the victim's weights do not change.

Departures. (1) Pixels are in [0, 1], so the program is 0.5 + 0.5 tanh(w). (2) h_g is not the identity: the assignment
that best fits the current program is computed every 100 steps during the first third of the training and then fixed
(the paper allows any fixed h_g). For a victim with as many classes as the task has labels this has the largest effect.
(3) The cross-entropy is of `sharpness` times the logits: accuracy depends on their order only, and the logits of the
ten numbers differ little. (4) The squares may have gaps, filled by the program, since a small image has a small frame.
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


def grid_mask(cells: int = 4, pixels: int = 2, gap: int = 0) -> Tensor:
    """(1, side, side): 1 on the cells of the grid, 0 in the gaps; side = cells * pixels + (cells - 1) * gap."""
    line = torch.cat([torch.ones(cells, pixels), torch.zeros(cells, gap)], 1).flatten()
    line = line[: len(line) - gap]
    return torch.outer(line, line)[None]


def squares(
    n: int, cells: int = 4, pixels: int = 2, gap: int = 0, most: int = 10, channels: int = 1, seed: int = 0
) -> Images:
    """n pictures (n, channels, side, side) of 1 .. `most` white squares on black, side as in `grid_mask`.

    The cells of the squares are random; the label is the number of squares minus one. Raises ValueError for `most`
    outside [1, cells * cells].
    """
    if not 1 <= most <= cells * cells:
        raise ValueError(f"most must be in [1, {cells * cells}] for a grid of {cells} x {cells}, got {most}.")
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(most, (n,), generator=g)
    rank = torch.rand(n, cells * cells, generator=g).argsort(1).argsort(1)
    grid = (rank <= labels[:, None]).view(n, 1, cells, cells).float()
    picture = pad(interpolate(grid, scale_factor=1.0 * (pixels + gap), mode="nearest"), (0, -gap, 0, -gap))
    picture = (picture * grid_mask(cells, pixels, gap)).expand(-1, channels, -1, -1)
    return Images(picture.mul(255).byte(), labels, tuple(map(str, range(1, most + 1))), "squares")


class Program(Method):
    """picture (N, C, h, w) in [0, 1] -> logits (N, L) of its labels, from the victim's for an image (N, C, H, W).

    picture_mask (1, h, w): 1 where the picture is visible; the program fills the rest. labels: L, number of labels of
    the task. classes: K >= L, number of classes of the victim. The victim is no submodule: it is neither trained, nor
    switched to training mode, nor saved. Raises ValueError if the picture leaves no room for a program, or if L > K.
    """

    def __init__(
        self,
        model: Model,
        shape: tuple[int, int, int],
        picture_mask: Tensor,
        labels: int,
        classes: int,
        lr: float = 0.1,
        weight: float = 0.0,
        sharpness: float = 10.0,
    ) -> None:
        super().__init__()
        (_, height, width), (h, w) = shape, picture_mask.shape[1:]
        if h > height or w > width or (picture_mask.all() and (h, w) == (height, width)):
            raise ValueError(f"the picture must leave room for a program in {height}x{width} pixels, got {h}x{w}.")
        if not 2 <= labels <= classes:
            raise ValueError(f"labels must be in [2, {classes}], the number of classes of the victim, got {labels}.")
        top, left = (height - h) // 2, (width - w) // 2
        self.margins = (left, width - w - left, top, height - h - top)
        self.model, self.lr, self.weight, self.sharpness = (model,), lr, weight, sharpness
        self.w = nn.Parameter(torch.zeros(shape))
        self.register_buffer("mask", 1 - pad(picture_mask.float(), self.margins))
        self.register_buffer("classes", torch.arange(labels))  # assigned to the labels (h_g)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer(
            "log_prob_sum", torch.zeros(labels, classes)
        )  # decaying sum of log probabilities per label
        self.mask: Tensor
        self.classes: Tensor
        self.steps: Tensor
        self.log_prob_sum: Tensor

    def frame(self, x: Tensor) -> Tensor:
        """Pictures (N, C, h, w) -> images (N, C, H, W): the pictures framed by the program."""
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
        """Every 100 steps in the first third of the training: the most likely assignment of classes to labels."""
        if progress > 1 / 3:
            return
        self.log_prob_sum.mul_(0.98).index_add_(0, y, logits.log_softmax(1).to(self.log_prob_sum))
        self.steps += 1
        if self.steps % 100 == 0:
            _, best = linear_sum_assignment(-self.log_prob_sum.cpu().numpy())
            self.classes.copy_(torch.as_tensor(best))

    @torch.no_grad()
    def evaluate(self, data: Images) -> dict[str, float]:
        """accuracy: the fraction of the pictures that are classified correctly."""
        with victim(self.model[0], self.frame(data.x[:1]), data.labels[:1]) as f:
            right = sum(int((f.query(self.frame(x)).argmax(1) == self.classes[y]).sum()) for x, y in batches(data, 500))
        return {"accuracy": right / len(data)}


@dataclass(frozen=True)
class Reprogramming:
    """Settings of the training of a program; `learn(model, shape, data)` trains one."""

    images: Count = 100_000
    """length of training, in images"""
    batch: Count = 32
    """batch size"""
    lr: LearningRate = 0.1
    """learning rate of Adam, falling to 0 along a cosine"""
    weight: Weight = 0.0
    """weight of the penalty |w|^2"""
    sharpness: Positive = 10.0
    """factor of the victim's logits in the loss"""
    seed: Seed = 0

    def __post_init__(self) -> None:
        check(self)

    def learn(
        self, model: Model, shape: tuple[int, int, int], data: Images, picture_mask: Tensor | None = None
    ) -> Program:
        """Train a program that makes `model`, for images of `shape` (C, H, W), classify the pictures `data`.

        picture_mask (1, h, w): 1 where the pictures are visible; None: everywhere. Raises ValueError as `Program`.
        """
        picture_mask = torch.ones(1, *data.shape[1:]) if picture_mask is None else picture_mask
        blank = torch.zeros(1, *shape, device=data.device)
        with victim(model, blank, data.labels[:1] * 0) as f:
            classes = f.query(blank).shape[1]
            program = Program(f, shape, picture_mask, len(data.classes), classes, self.lr, self.weight, self.sharpness)
            program = program.to(data.device)
            options = TrainOptions(self.images, self.batch, self.seed, schedule="cosine")
            fit(program, Stream(data, self.batch, seed=self.seed), options, title="program")
        program.model = (model,)  # the model itself instead of the Victim wrapper
        return program
