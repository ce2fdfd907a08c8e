"""A table that compares compressed networks: size, speed and error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from genlab.compress import file
from genlab.compress.count import macs, nonzeros, parameters, xz_bytes
from genlab.compress.layers import plain_copy
from genlab.core.timing import seconds
from genlab.data import Images
from genlab.metrics.accuracy import accuracy


def table(nets: Mapping[str, nn.Module], test: Images, folder: Path, repeats: int = 5) -> list[dict[str, Any]]:
    """One row per network; the first is the dense reference. Columns: parameters, non-zeros, MACs per image, bytes of
    the compressed file (written to `folder`) and of the tensors under xz, latency at batch 1 and 256 relative to the
    reference, and error (%) on `test`."""
    plain = {name: channels_last(plain_copy(net).eval()) for name, net in nets.items()}
    latency = {}
    for batch in (1, 256):
        x = test.x[:batch].repeat(-(-batch // len(test.x[:batch])), 1, 1, 1)[:batch]
        with torch.no_grad():
            calls = [lambda net=net, x=x: [net(x) for _ in range(256 // len(x))] for net in plain.values()]
            rounds = seconds(calls, repeats)
        times = [median(column) for column in zip(*rounds)]
        latency[batch] = [value / times[0] for value in times]
    rows: list[dict[str, Any]] = []
    for i, (name, net) in enumerate(plain.items()):
        path = folder / f"{name.replace(' ', '-')}.genlab"
        state = dict(net.state_dict())
        rows.append(
            {
                "network": name,
                "parameters": parameters(net),
                "non-zeros": nonzeros(net),
                "MACs": macs(net, test.shape),
                "bytes": file.save(state, path),
                "bytes (xz)": xz_bytes(state),
                "time, batch 1": latency[1][i],
                "time, batch 256": latency[256][i],
                "error, %": 100 * (1 - accuracy(net, test)),
            }
        )
    return rows


def channels_last(net: nn.Module) -> nn.Module:
    """Brings all filters of `net` to one memory format, in place: networks that differ in it differ in speed."""
    for p in net.parameters():
        if p.ndim == 4:
            p.data = p.data.clone(memory_format=torch.channels_last)
    return net
