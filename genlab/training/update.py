"""One update of one optimizer along one loss, guarded against numbers that are not finite."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from genlab.core import distributed


class NonFinite(ArithmeticError):
    """A loss or gradient is NaN or infinite, and the step was not taken; or a state is, and it was not saved."""


class Update:
    """Descends one optimizer along one loss: the only way a Method changes weights.

    The guard against non-finite numbers never waits for the device: on a GPU the fused optimizers read its verdict
    there and skip this step and all later ones, and `check` reports it when the log or a checkpoint is due.
    """

    def __init__(self, optimizers: dict[str, Optimizer], clip: float | None = None):
        self.optimizers, self.clip = optimizers, clip
        self.progress = 0.0  # of training, in [0, 1]
        some = next((p for o in optimizers.values() for group in o.param_groups for p in group["params"]), None)
        device = "cpu" if some is None else some.device
        self.failed, self.one = torch.zeros((), device=device), torch.ones((), device=device)

    def __call__(self, name: str, loss: Tensor, leaves: Sequence[Tensor] = ()) -> None:
        """Backpropagates `loss` (a scalar) into the parameters of optimizer `name` alone, and into `leaves`; steps.

        Raises:
            NonFinite: before the step, if the loss or a gradient is NaN or infinite.
        """
        optimizer = self.optimizers[name]
        params = [p for group in optimizer.param_groups for p in group["params"]]
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(loss.device.type, enabled=False):
            loss.float().backward(inputs=[*params, *leaves])
        value = loss.detach().float().clone()
        if distributed.world_size() > 1:
            grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in params]
            *grads, value = distributed.average([*grads, value])
            for p, grad in zip(params, grads):
                p.grad = grad
        self.guard(name, optimizer, [value, *(p.grad for p in params if p.grad is not None)])
        if self.clip is not None:
            nn.utils.clip_grad_norm_(params, self.clip)
        optimizer.step()
        torch.clear_autocast_cache()  # else the next forward reuses the old half-precision copies

    def guard(self, name: str, optimizer: Optimizer, numbers: list[Tensor]) -> None:
        """Keeps a step with a number that is not finite from happening: at once on the CPU, without a wait on a GPU.

        `failed` is 1 from the first such number on.
        """
        mark_non_finite(numbers, self.failed, self.one)
        if self.deferred(optimizer):
            optimizer.found_inf = self.failed  # type: ignore[attr-defined]
        elif self.failed:
            raise NonFinite(f"the loss or gradient of {name!r} is not finite")

    def deferred(self, optimizer: Optimizer) -> bool:
        """Is the verdict read on the device, by the optimizer?"""
        return self.failed.is_cuda and reads_verdict(optimizer)

    def check(self) -> None:
        """Raises NonFinite if a deferred guard has tripped; waits for the device."""
        if self.failed:
            raise NonFinite(f"the loss or gradient of one of {sorted(self.optimizers)} is not finite")


def mark_non_finite(numbers: list[Tensor], failed: Tensor, one: Tensor) -> None:
    """Sets `failed`, a scalar on the device, to 1 if any of `numbers` is NaN or infinite; does not wait for the device.

    One kernel looks at all of them, that of torch.amp.GradScaler, which also multiplies them by `one`. It is private:
    without it, they are looked at one by one.
    """
    kernel = getattr(torch, "_amp_foreach_non_finite_check_and_unscale_", None)
    if kernel is not None:
        kernel(numbers, failed, one)
    elif numbers:
        finite = torch.stack([number.isfinite().all() for number in numbers]).all()
        failed.copy_(torch.maximum(failed, (~finite).to(failed)))


def reads_verdict(optimizer: Optimizer) -> bool:
    """Does the optimizer skip its step on the device where its `found_inf` is 1? Fused ones do, by a private flag."""
    return getattr(optimizer, "_step_supports_amp_scaling", False)
