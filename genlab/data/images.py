"""A data set of images: uint8, on one device, in channels-last memory format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from genlab.core.registry import resolve
from genlab.data.levels import Levels, ValueRange
from genlab.data.skipped import warn_once

if TYPE_CHECKING:
    from genlab.data.folder import Folder

Index = Tensor | Sequence[int] | slice


def to_float(pixels: Tensor) -> Tensor:
    """uint8 0..255 -> float32 in [0, 1] (255 becomes exactly 1); float images are returned unchanged.

    Raises:
        ValueError: another integer dtype.
    """
    if pixels.is_floating_point():
        return pixels
    if pixels.dtype != torch.uint8:
        raise ValueError(f"pixels must be uint8 or float, not {pixels.dtype}; Images.of finds the range of others")
    return pixels.to(torch.float32).div_(255)


def positions(index: Index, n: int, device: torch.device | str = "cpu") -> Tensor:
    """An index of a set of `n` images (slice, list, bool mask or positions) as int64 positions."""
    if isinstance(index, slice):
        return torch.arange(n, device=device)[index]
    where = torch.as_tensor(index, device=device)
    return where.nonzero().flatten() if where.dtype == torch.bool else where.to(torch.int64)


@dataclass(frozen=True, eq=False)
class Images:
    """A labelled image set.

    pixels: uint8 (N, C, H, W). labels: int64 (N,), indices into `classes`. factors: name -> (N, ...), known generative
    factors such as the rotation.

    Raises:
        ValueError: a shape, dtype or device does not fit, or a label is out of range.
    """

    pixels: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)
    classes: tuple[str, ...]
    name: str
    factors: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        p, y = self.pixels, self.labels
        if p.dtype != torch.uint8 or p.ndim != 4:
            raise ValueError(f"pixels must be uint8 (N, C, H, W), not {p.dtype} {tuple(p.shape)}; Images.of takes more")
        if y.dtype != torch.int64 or y.shape != p.shape[:1]:
            raise ValueError(f"labels must be int64 ({len(p)},), not {y.dtype} {tuple(y.shape)}")
        if y.device != p.device:
            raise ValueError(f"labels are on {y.device} but pixels on {p.device}")
        if len(y) and not 0 <= int(y.min()) <= int(y.max()) < len(self.classes):
            raise ValueError(f"labels {int(y.min())}..{int(y.max())} do not index {len(self.classes)} classes")
        for key, value in self.factors.items():
            if value.shape[:1] != p.shape[:1]:
                raise ValueError(f"factor {key!r} has shape {tuple(value.shape)} for {len(p)} images")
        object.__setattr__(self, "pixels", p.contiguous(memory_format=torch.channels_last))

    @classmethod
    def of(cls, x: Any, y: Any = None, classes: Sequence[str] = (), name: str = "images") -> Images:
        """An image set from a tensor or array of any real dtype.

        Args:
            x: (N, C, H, W), (N, H, W, C) or (N, H, W), C = 1 or 3. uint8 and bool use their full range. For other
                dtypes the range is inferred from the values: [0, 1] or [-1, 1] for floats (slight overshoot is
                clipped), else the smallest of 0..255, 0..4095 and 0..65535 that holds them. A warning names an inferred
                range other than [0, 1] or the full range of the dtype.
            y: labels (N,), integers from 0; none: all 0.
            classes: class names; none: the numbers.

        Raises:
            ValueError: pixels are NaN or infinite or fit no such range, or shapes do not fit.
        """
        x = torch.as_tensor(x)
        if x.ndim == 3:
            x = x[:, None]
        if x.ndim == 4 and x.shape[1] not in (1, 3) and x.shape[3] in (1, 3):
            x = x.permute(0, 3, 1, 2)
        if x.ndim != 4 or x.shape[1] not in (1, 3) or x.is_complex():
            raise ValueError(f"{name}: images must be real, of 1 or 3 channels, not {x.dtype} {tuple(x.shape)}")
        y = torch.zeros(len(x), dtype=torch.int64) if y is None else torch.as_tensor(y)
        if y.is_floating_point() or y.is_complex():
            raise ValueError(f"{name}: labels must be integers, not {y.dtype}")
        y = y.to(x.device, torch.int64)
        classes = tuple(classes) or tuple(str(k) for k in range(int(y.max()) + 1 if len(y) else 1))
        return cls(_bytes(x, name), y, classes, name)

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, int, int]:
        _, c, h, w = self.pixels.shape
        return c, h, w

    @property
    def device(self) -> torch.device:
        return self.pixels.device

    @property
    def x(self) -> Tensor:
        """All images as float32 (N, C, H, W) in [0, 1]."""
        return to_float(self.pixels)

    def to(self, device: torch.device | str) -> Images:
        factors = {key: value.to(device) for key, value in self.factors.items()}
        return replace(self, pixels=self.pixels.to(device), labels=self.labels.to(device), factors=factors)

    def gather(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """index int64 (n,), on the set's device -> pixels uint8 (n, C, H, W) channels last, labels (n,)."""
        c, h, w = self.shape
        rows = self.pixels.permute(0, 2, 3, 1).reshape(len(self), -1).index_select(0, index)
        return rows.view(-1, h, w, c).permute(0, 3, 1, 2), self.labels.index_select(0, index)

    def _repr_png_(self) -> bytes:  # for notebooks: the first 64 images
        grid_png = resolve("genlab.reporting.grid:grid_png")  # by name: reporting builds on data

        return grid_png(self.subset(slice(0, 64)).x)

    def subset(self, index: Index) -> Images:
        where = positions(index, len(self), self.device)
        pixels, labels = self.gather(where)
        factors = {key: value[where.to(value.device)] for key, value in self.factors.items()}
        return replace(self, pixels=pixels, labels=labels, factors=factors)


def _bytes(x: Tensor, name: str) -> Tensor:
    """Pixels of any dtype as uint8."""
    if x.dtype == torch.uint8:
        return x
    if x.dtype == torch.bool:
        return x.to(torch.uint8) * 255
    values = x.detach().cpu()
    numbers = (values.float() if values.is_floating_point() else values).numpy()
    try:
        spread = ValueRange.of(numbers)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    levels = Levels.known(spread)
    if levels is None:
        raise ValueError(f"{name}: {x.dtype} pixels {spread} fit no usual range; bring them to [0, 1]")
    if not levels.hold(spread) or levels != (Levels(0, 1) if spread.floating else Levels(0, 65535)):
        warn_once(f"{name}: {x.dtype} pixels {spread} are read with {levels}")
    return torch.from_numpy(levels.bytes(numbers)).to(x.device)


@dataclass(frozen=True, eq=False)
class Pair:
    """Two image sets of the same shape, for translation. If `aligned`, image i of `b` is the true partner of image i of
    `a`; this is used for evaluation only."""

    a: Images | Folder
    b: Images | Folder
    aligned: bool = False

    def __post_init__(self) -> None:
        if self.a.shape != self.b.shape:
            raise ValueError(
                f"a pair needs one shape, but {self.a.name} is {self.a.shape} and {self.b.name} {self.b.shape}"
            )
        if self.aligned and len(self.a) != len(self.b):
            raise ValueError(f"partners need sets of one length, but they have {len(self.a)} and {len(self.b)} images")

    def __len__(self) -> int:
        return max(len(self.a), len(self.b))

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.a.shape

    @property
    def name(self) -> str:
        return f"unpaired:{self.a.name},{self.b.name}"

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of both sets, if they have the same; else none."""
        return self.a.classes if self.a.classes == self.b.classes else ()

    @property
    def device(self) -> torch.device:
        return self.a.device

    def to(self, device: torch.device | str) -> Pair:
        return replace(self, a=self.a.to(device), b=self.b.to(device))

    def subset(self, index: slice) -> Pair:
        """The images of the slice on both sides; partners stay partners."""
        return replace(self, a=self.a.subset(index), b=self.b.subset(index))

    def swapped(self) -> Pair:
        """The pair (b, a)."""
        return replace(self, a=self.b, b=self.a)
