"""The activation memory of a training step, measured on torch's meta device without computing or allocating anything.

Meta tensors have shapes but no values, so `.item()` returns 1. After MAX_READS such reads, or at an operation that meta
tensors do not support, the step ends there; the result is therefore a lower bound.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from genlab.training.method import Method

MAX_READS = 100


def step_bytes(method: Method, shape: tuple[int, int, int], batch: int, *, pair: bool = False) -> int:
    """The peak number of bytes that autograd saves in one step of `method`, whose weights are on the meta device.

    shape: (C, H, W) of the images. pair: the stream yields two batches of images instead of images and labels.
    """
    kept = SavedBytes([*method.parameters(), *method.buffers()])
    with (
        torch.random.fork_rng(devices=[]),
        warnings.catch_warnings(),
        saved_tensors_hooks(kept.pack, lambda saved: saved.tensor),
        suppress(Exception),  # see above
        ScalarsAreOne(),
    ):
        warnings.simplefilter("ignore")
        method.train().step(MetaStream(shape, batch, pair), BackwardOnly(method.optimizers()))  # type: ignore[arg-type]
    return kept.most


class SavedBytes:
    """Counts the bytes of the storages that autograd saves, without those of `others`: `now`, and the peak `most`."""

    def __init__(self, others: Sequence[Tensor]) -> None:
        self.others = {storage(t) for t in others}
        self.held: Counter[int] = Counter()
        self.now = self.most = 0

    def pack(self, tensor: Tensor) -> SavedTensor:
        return SavedTensor(tensor, self)


class SavedTensor:
    """A tensor saved by autograd; adds its size to `kept` when created and removes it when freed."""

    def __init__(self, tensor: Tensor, kept: SavedBytes) -> None:
        self.tensor, self.kept, self.key = tensor, kept, storage(tensor)
        if self.key not in kept.others:
            kept.held[self.key] += 1
            if kept.held[self.key] == 1:
                kept.now += tensor.untyped_storage().nbytes()
                kept.most = max(kept.most, kept.now)

    def __del__(self) -> None:
        if self.key not in self.kept.others:
            self.kept.held[self.key] -= 1
            if not self.kept.held[self.key]:
                self.kept.now -= self.tensor.untyped_storage().nbytes()


def storage(tensor: Tensor) -> int:
    """An id of the tensor's storage: equal for tensors that share memory."""
    return tensor.untyped_storage()._cdata


class MetaStream:
    """A stream of batches on the meta device."""

    def __init__(self, shape: tuple[int, int, int], batch: int, pair: bool) -> None:
        self.shape, self.batch, self.pair, self.images = shape, batch, pair, 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self

    def __next__(self) -> tuple[Tensor, Tensor]:
        self.images += self.batch
        x = torch.empty(self.batch, *self.shape, device="meta")
        return x, torch.empty_like(x) if self.pair else self.labels()

    def sides(self) -> list[tuple[Tensor, Tensor]]:
        return [(x, self.labels()) for x in (next(self) if self.pair else next(self)[:1])]

    def labels(self) -> Tensor:
        return torch.zeros(self.batch, dtype=torch.int64, device="meta")


class BackwardOnly:
    """Replaces Update: runs the backward pass, which frees the saved tensors, but no optimizer step."""

    progress = 0.0

    def __init__(self, optimizers: Mapping[str, Optimizer]) -> None:
        self.optimizers = optimizers

    def __call__(self, name: str, loss: Tensor, leaves: Sequence[Tensor] = ()) -> None:
        params = [p for group in self.optimizers[name].param_groups for p in group["params"]]
        loss.float().backward(inputs=[*params, *leaves])


class ScalarsAreOne(TorchDispatchMode):
    """Within it, `.item()` returns 1, at most MAX_READS times."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            self.asked += 1
            if self.asked <= MAX_READS:
                return torch.ones((), dtype=args[0].dtype).item()
        return func(*args, **(kwargs or {}))
