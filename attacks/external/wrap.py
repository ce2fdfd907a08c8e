"""Adapts a classifier from elsewhere: its preprocessing moves inside, and its output becomes logits (N, K)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from attacks.core.callables import networks
from genlab.core.ranges import OutOfRange, PixelRange, Side, checked, should_be

Mean = Annotated[float, PixelRange(0, 1)]
Std = Annotated[float, PixelRange(1e-6, 1)]


class Wrapped(nn.Module):
    """x (N, C, H, W) in [0, 1] -> logits (N, K) of `model`; see `wrap`."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: Callable[[Tensor], Any],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        size: int | None,
        crop: int | None,
    ) -> None:
        super().__init__()
        self.model, self.size, self.crop = model, size, crop
        self.held = nn.ModuleList([] if isinstance(model, nn.Module) else networks(model))
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def preprocessing(self, x: Tensor) -> Tensor:
        if self.size and min(x.shape[-2:]) != self.size:  # the shorter side becomes `size`
            sides = [round(side * self.size / min(x.shape[-2:])) for side in x.shape[-2:]]
            x = interpolate(x, sides, mode="bilinear", antialias=True)
        if self.crop:
            top, left = ((side - self.crop) // 2 for side in x.shape[-2:])
            if min(top, left) < 0:
                raise ValueError(f"crop {self.crop} is larger than the images, {x.shape[-2]} x {x.shape[-1]}")
            x = x[..., top : top + self.crop, left : left + self.crop]
        return (x - self.mean) / self.std

    def forward(self, x: Tensor) -> Tensor:
        own = next((p.dtype for p in self.parameters() if p.is_floating_point()), x.dtype)
        own_x = self.preprocessing(x).to(own).contiguous()  # a model may use `view`; images may be channels-last
        return logits_of(self.model(own_x), len(x))


def wrap(
    model: Callable[[Tensor], Any],
    *,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    size: int | None = None,
    crop: int | None = None,
) -> Wrapped:
    """`model` as a model of this lab: images (N, C, H, W) in [0, 1] -> logits (N, K).

    Args:
        model: a module or function whose output is logits (N, K), an object with the attribute `logits`, a dict with
            the key "logits" or a single tensor, or a tuple whose first entry is one of these. One logit per image, (N,)
            or (N, 1), becomes two: 0 for class 0, the logit for class 1.
        mean, std: the model receives (x - mean) / std; numbers, or one per channel, in units of pixels in [0, 1]. For a
            model of pixels in [0, 255], std is 1 / 255; in [-1, 1], both are 0.5.
        size: the shorter side of the images is resized to this many pixels.
        crop: then the centre of this many pixels is cut out.

    Raises:
        ValueError: a value is out of range, or mean and std have different numbers of channels.
    """
    if not callable(model):
        raise ValueError(f"model must be a module or a function of images, got {type(model).__name__}")
    return _wrapped(model, _channels("mean", mean, Mean), _channels("std", std, Std), size, crop)


@checked
def _wrapped(
    model: Any, mean: tuple[float, ...], std: tuple[float, ...], size: Side | None, crop: Side | None
) -> Wrapped:
    if len(mean) != len(std) and 1 not in (len(mean), len(std)):
        raise ValueError(f"mean and std must have one value per channel, got {len(mean)} and {len(std)}")
    return Wrapped(model, mean, std, size, crop)


def _channels(name: str, values: float | Sequence[float], hint: Any) -> tuple[float, ...]:
    found = tuple(values) if isinstance(values, Sequence) else (values,)
    for value in found:
        if wrong := should_be(value, hint):
            raise OutOfRange(name, f"must be {wrong}, got {value!r}")
    if len(found) not in (1, 3, 4):
        raise OutOfRange(name, f"must be one number or one per channel, got {len(found)}")
    return found


def logits_of(output: Any, n: int) -> Any:
    """The logits (n, K) in a model's output; what is not recognised is returned as it is."""
    while not isinstance(output, Tensor):
        if isinstance(getattr(output, "logits", None), Tensor):
            output = output.logits
        elif isinstance(output, Mapping) and (len(output) == 1 or "logits" in output):
            output = output["logits"] if "logits" in output else next(iter(output.values()))
        elif isinstance(output, tuple | list) and output:
            output = output[0]
        else:
            return output
    if output.is_floating_point() and output.shape in ((n,), (n, 1)):
        logit = output.view(n, 1)
        return torch.cat([torch.zeros_like(logit), logit], 1)
    return output
