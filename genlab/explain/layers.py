"""The outputs of inner layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn


class _Reached(Exception):
    """All layers have been seen."""


@contextmanager
def kept(layers: Sequence[nn.Module], stop: bool = False) -> Iterator[dict[nn.Module, Tensor]]:
    """Within it, a forward pass stores the outputs of `layers`, as they were before any later in-place layer.

    stop: ends the block when it has reached all of them.
    """
    outputs: dict[nn.Module, Tensor] = {}

    def keep(layer: nn.Module, _inputs: object, out: Tensor) -> Tensor:
        outputs[layer] = out
        if stop and len(outputs) == len(set(layers)):
            raise _Reached
        return out.clone()  # the next layer may be in-place

    handles = [layer.register_forward_hook(keep) for layer in layers]
    try:
        yield outputs
    except _Reached:
        pass
    finally:
        for handle in handles:
            handle.remove()


def activations(model: Callable[[Tensor], object], x: Tensor, layers: Sequence[nn.Module]) -> list[Tensor]:
    """The outputs of `layers` for images x (N, C, H, W). What comes after the last of them is not computed, so the
    images may have any size that these layers take.

    Raises:
        ValueError: the forward pass does not reach one of them.
    """
    with kept(layers, stop=True) as outputs:
        model(x)
    if missing := [type(layer).__name__ for layer in layers if layer not in outputs]:
        raise ValueError(f"the model does not use its layer {missing[0]}")
    return [outputs[layer] for layer in layers]
