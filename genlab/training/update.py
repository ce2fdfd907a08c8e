"""One optimizer step on one loss, with a check for non-finite losses and gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from genlab.core import distributed


class NonFinite(ArithmeticError):
    """A loss or gradient is NaN or infinite (the step was not taken), or the state is (it was not saved)."""


class Update:
    """Backward pass and optimizer step: the only way a Method changes weights.

    The check for non-finite numbers never synchronises with the device: on a GPU the fused optimizers read its result
    there and skip this and all later steps, and `check` raises when the log or a checkpoint is due.
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
        for group in optimizer.param_groups:
            if l1 := group.get("l1"):
                add_l1(group["params"], l1)
        optimizer.step()
        torch.clear_autocast_cache()  # else the next forward pass reuses old half-precision weights

    def guard(self, name: str, optimizer: Optimizer, numbers: list[Tensor]) -> None:
        """Prevents a step with non-finite numbers: raises on the CPU, makes the optimizer skip it on a GPU.

        `failed` is 1 from the first such number on.
        """
        mark_non_finite(numbers, self.failed, self.one)
        if self.deferred(optimizer):
            optimizer.found_inf = self.failed  # type: ignore[attr-defined]
        elif self.failed:
            raise NonFinite(f"the loss or gradient of {name!r} is not finite")

    def deferred(self, optimizer: Optimizer) -> bool:
        """Whether the optimizer reads `failed` on the device."""
        return self.failed.is_cuda and skips_on_found_inf(optimizer)

    def check(self) -> None:
        """Raises NonFinite if a deferred check has failed; synchronises with the device."""
        if self.failed:
            raise NonFinite(f"the loss or gradient of one of {sorted(self.optimizers)} is not finite")


@torch.no_grad()
def add_l1(params: Sequence[Tensor], weight: float) -> None:
    """Adds the gradient of `weight` times the L1 norm of `params` to their gradients, where they have one."""
    learning = [(p, p.grad) for p in params if p.grad is not None]
    torch._foreach_add_([grad for _, grad in learning], torch._foreach_sign([p for p, _ in learning]), alpha=weight)


def mark_non_finite(numbers: list[Tensor], failed: Tensor, one: Tensor) -> None:
    """Sets `failed`, a scalar on the device, to 1 if any of `numbers` is NaN or infinite; does not synchronise.

    Uses the kernel of torch.amp.GradScaler, which checks all tensors at once (and multiplies them by `one`). It is
    private: without it, tensors are checked one by one.
    """
    kernel = getattr(torch, "_amp_foreach_non_finite_check_and_unscale_", None)
    if kernel is not None:
        kernel(numbers, failed, one)
    elif numbers:
        finite = torch.stack([number.isfinite().all() for number in numbers]).all()
        failed.copy_(torch.maximum(failed, (~finite).to(failed)))


def skips_on_found_inf(optimizer: Optimizer) -> bool:
    """Whether the optimizer skips its step on the device if `found_inf` is 1, as fused ones do (a private flag)."""
    return getattr(optimizer, "_step_supports_amp_scaling", False)
