"""How much memory a training step keeps for its backward passes, measured without computing or allocating anything.

The step runs on torch's meta device, where tensors have shapes and no values. Asked for one, a tensor says 1; what asks
more often than ANSWERS, or does what meta tensors cannot, ends the step there. So the figure is a lower bound.
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

ANSWERS = 100


def of_step(method: Method, shape: tuple[int, int, int], batch: int, *, pair: bool = False) -> int:
    """Bytes that are held at once, at most, for the backward passes of a step of `method`, whose weights are on meta.

    shape: (C, H, W) of the images. pair: the stream gives two batches of images, not images and labels.
    """
    kept = Kept([*method.parameters(), *method.buffers()])
    with (
        torch.random.fork_rng(devices=[]),
        warnings.catch_warnings(),
        saved_tensors_hooks(kept.pack, lambda saved: saved.tensor),
        suppress(Exception),  # see above
        Ones(),
    ):
        warnings.simplefilter("ignore")
        method.train().step(Shapes(shape, batch, pair), Backward(method.optimizers()))  # type: ignore[arg-type]
    return kept.most


class Kept:
    """Counts the bytes of the storages that autograd holds, but for those of `others`: `now`, and the `most` so far."""

    def __init__(self, others: Sequence[Tensor]) -> None:
        self.others = {storage(t) for t in others}
        self.held: Counter[int] = Counter()
        self.now = self.most = 0

    def pack(self, tensor: Tensor) -> Saved:
        return Saved(tensor, self)


class Saved:
    """A tensor that autograd holds; `kept` hears when it comes and when it goes."""

    def __init__(self, tensor: Tensor, kept: Kept) -> None:
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
    """Tells whether two tensors share their memory."""
    return tensor.untyped_storage()._cdata


class Shapes:
    """A stream of batches without values."""

    def __init__(self, shape: tuple[int, int, int], batch: int, pair: bool) -> None:
        self.shape, self.batch, self.pair, self.images = shape, batch, pair, 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self

    def __next__(self) -> tuple[Tensor, Tensor]:
        self.images += self.batch
        x = torch.empty(self.batch, *self.shape, device="meta")
        return x, torch.empty_like(x) if self.pair else torch.zeros(self.batch, dtype=torch.int64, device="meta")


class Backward:
    """Stands for an Update, which lets go of what was kept; nothing is learnt."""

    progress = 0.0

    def __init__(self, optimizers: Mapping[str, Optimizer]) -> None:
        self.optimizers = optimizers

    def __call__(self, name: str, loss: Tensor, leaves: Sequence[Tensor] = ()) -> None:
        params = [p for group in self.optimizers[name].param_groups for p in group["params"]]
        loss.float().backward(inputs=[*params, *leaves])


class Ones(TorchDispatchMode):
    """Within it, the value of a single number is 1, ANSWERS times."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            self.asked += 1
            if self.asked <= ANSWERS:
                return torch.ones((), dtype=args[0].dtype).item()
        return func(*args, **(kwargs or {}))
