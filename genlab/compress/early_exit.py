"""Early exits: a classifier after every stage; an image takes the first confident one. BranchyNet, Teerapittayanon et
al. 2016, arXiv:1709.01686, Algorithm 1. Departure: confidence is the largest probability, not the entropy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from genlab.compress.count import macs
from genlab.core.labels import check_classes
from genlab.core.ranges import Range, Weight, Width
from genlab.data import Images, batches
from genlab.methods.classification.classifier import check_first_loss
from genlab.nets.classifiers import Normalise
from genlab.nets.msdnet import msdnet
from genlab.training.method import BatchStream, Config, Method, Metrics, TrainOptions
from genlab.training.optim import ClassifierOptimizerOptions
from genlab.training.update import Update


class EarlyExitNet(nn.Module):
    """stages: features to features, a tensor or a list of tensors;  heads: one per stage, features -> logits (N,
    classes).

    forward: x (N, C, H, W) in [0, 1] -> the logits of the exit that each image takes: the first whose largest
    probability reaches `threshold`, else the last (always, if the threshold is above 1).
    """

    def __init__(self, stages: Sequence[nn.Module], heads: Sequence[nn.Module], threshold: float = 0.9):
        super().__init__()
        self.stages, self.heads, self.threshold = nn.ModuleList(stages), nn.ModuleList(heads), threshold

    def all(self, x: Tensor) -> Tensor:
        """The logits of every exit, (exits, N, classes)."""
        found = []
        for stage, head in zip(self.stages, self.heads):
            x = stage(x)
            found.append(head(x))
        return torch.stack(found)

    def exit(self, logits: Tensor) -> Tensor:
        """Logits of all exits (exits, N, classes) -> the exit that each image takes, int64 (N,)."""
        sure = logits.softmax(2).amax(2) >= self.threshold
        sure[-1] = True
        return sure.float().argmax(0)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.all(x)
        return logits[self.exit(logits), torch.arange(len(x), device=x.device)]

    @torch.no_grad()
    def predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The logits of `forward` and the exits taken, int64 (N,); skips the stages after the exit of each image."""
        logits = exits = None
        left = torch.arange(len(x), device=x.device)
        h: Tensor | list[Tensor] = x
        for i, (stage, head) in enumerate(zip(self.stages, self.heads)):
            h = stage(h)
            y = head(h)
            if logits is None or exits is None:
                logits, exits = y.clone(), torch.zeros_like(left)
            done = y.softmax(1).amax(1) >= self.threshold
            done = torch.ones_like(done) if i == len(self.stages) - 1 else done
            logits[left[done]], exits[left[done]] = y[done], i
            left, h = left[~done], h[~done] if isinstance(h, Tensor) else [each[~done] for each in h]
            if not len(left):
                break
        assert logits is not None and exits is not None
        return logits, exits

    def costs(self, shape: tuple[int, int, int]) -> list[int]:
        """Multiplications up to each exit, including the heads before it."""
        return [macs(nn.Sequential(UpToExit(self, i)), shape) for i in range(len(self.stages))]


class UpToExit(nn.Module):
    """x (N, C, H, W) -> logits (N, classes) of the exits up to number `last`, in order."""

    def __init__(self, net: EarlyExitNet, last: int):
        super().__init__()
        self.stages, self.heads = net.stages[: last + 1], net.heads[: last + 1]

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        for stage, head in zip(self.stages, self.heads):
            x = stage(x)
            found.append(head(x))
        return found


def cnn(shape: tuple[int, int, int], classes: int, width: int) -> tuple[list[nn.Module], list[nn.Module]]:
    """Three stages of a 3x3 convolution and max-pooling, with a linear classifier of maps pooled to 4x4 after each."""
    channels = [shape[0], width, 2 * width, 4 * width]
    stages: list[nn.Module] = []
    heads: list[nn.Module] = []
    for i, (a, b) in enumerate(zip(channels, channels[1:])):
        conv = [nn.Conv2d(a, b, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2, ceil_mode=True)]
        stages.append(nn.Sequential(*([Normalise()] if i == 0 else []), *conv))
        heads.append(nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * b, classes)))
    return stages, heads


@dataclass(frozen=True)
class EarlyExitConfig(ClassifierOptimizerOptions, Config):
    """Classifier with early exits after each of three stages."""

    net: Literal["cnn", "msdnet"] = "cnn"
    """convolution and pooling per stage, or multi-scale dense connections (MSDNet, arXiv:1703.09844)"""
    width: Width = 16
    """channels of the CNN's first stage, doubled at each further one; MSDNet: new ones per layer at the finest scale"""
    threshold: Annotated[float, Range(0, 2)] = 0.9
    """confidence (largest probability) at which an image takes an exit; above 1: always the last"""
    weights: tuple[Weight, ...] = (0.3, 0.3, 1.0)
    """weights of the losses of the exits"""

    training: ClassVar[TrainOptions] = TrainOptions(images=300_000, batch=64, schedule="cosine")

    def check_relations(self) -> None:
        if not any(self.weights):
            raise ValueError(f"--weights needs at least one weight above 0, got {self.weights}")

    def build(self, shape: tuple[int, int, int], classes: int) -> EarlyExit:
        check_classes(classes, "a classifier with early exits")
        stages, heads = {"cnn": cnn, "msdnet": msdnet}[self.net](shape, classes, self.width)
        return EarlyExit(EarlyExitNet(stages, heads, self.threshold), self)


class EarlyExit(Method):
    """net: x (N, C, H, W) in [0, 1] -> logits (N, classes); so is the method itself. The loss is the weighted sum of
    the cross-entropies of all exits (section III-B)."""

    config: EarlyExitConfig

    def __init__(self, net: EarlyExitNet, config: EarlyExitConfig = EarlyExitConfig()):
        super().__init__(config)
        if len(config.weights) != len(net.stages):
            raise ValueError(f"{len(net.stages)} exits need as many --weights, got {len(config.weights)}")
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def optimizers(self):
        return {"net": self.config.make_optimizer(self.net)}

    def step(self, data: BatchStream, update: Update) -> Metrics:
        x, y = next(data)
        logits = self.net.all(x)
        losses = [cross_entropy(each, y) for each in logits]
        update(
            "net", torch.stack([weight * loss for weight, loss in zip(self.config.weights, losses, strict=True)]).sum()
        )
        self.classes = logits.shape[2]
        return {"loss": losses[-1], "first": losses[0], "accuracy": (logits[-1].argmax(1) == y).float().mean()}

    def sanity_check(self, first: Metrics) -> str | None:
        return check_first_loss(first["loss"], self.classes)

    @torch.no_grad()
    def evaluate(self, data: Images) -> dict[str, float]:
        """accuracy: at the threshold; accuracy_exit1, ...: of each exit alone; macs: mean multiplications per image."""
        self.eval()
        found = [(self.net.all(x), y) for x, y in batches(data, 500)]
        logits, labels = torch.cat([a for a, _ in found], dim=1), torch.cat([y for _, y in found])
        exits, right = self.net.exit(logits), (logits.argmax(2) == labels).float()
        taken = right[exits, torch.arange(len(labels), device=labels.device)]
        costs = torch.tensor(self.net.costs(data.shape), device=exits.device).float()
        alone = {f"accuracy_exit{i + 1}": float(each.mean()) for i, each in enumerate(right)}
        return {"accuracy": float(taken.mean()), "macs": float(costs[exits].mean()), **alone}
