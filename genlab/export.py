"""The trained network of a run as a file for other programs, and its model card."""

from __future__ import annotations

import hashlib
import io
import shlex
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genlab.core.safetensors import to_safetensors
from genlab.core.text import one_line
from genlab.loading import WEIGHTS, data_of, shape_of
from genlab.run import Run
from genlab.training.method import Method

FILES = {"safetensors": WEIGHTS, "torchscript": "model.pt", "onnx": "model.onnx"}
CARD = "`), exported to `"  # in every model card
TOLERANCE = 1e-4  # of an ONNX model, which other kernels compute


class Map(nn.Module):
    """What is exported of a method: `kind` names the map, `inputs(n)` makes random inputs."""

    def __init__(self, method: Method, shape: tuple[int, int, int]):
        super().__init__()
        self.method = method
        self.taken: tuple[int, ...]
        latent = getattr(method, "latent", None)
        if type(method).forward is not nn.Module.forward:
            self.kind, self.taken = "images (N, C, H, W) in [0, 1] -> logits (N, classes)", shape
        elif hasattr(method, "translate"):
            self.kind, self.taken = "images (N, C, H, W) in [0, 1] -> images of that shape and range", shape
        elif isinstance(latent, int) and not hasattr(method, "classes") and hasattr(method, "generator"):
            self.kind, self.taken = "standard normal latents (N, latent) -> images (N, C, H, W) in [0, 1]", (latent,)
        else:
            raise ValueError(
                f"{type(method).__name__} is no map of images or latents alone: export it with --to safetensors"
            )

    def forward(self, x: Tensor) -> Tensor:
        if self.kind.startswith("standard"):
            return self.method.generator(x)  # type: ignore[operator]
        return self.method(x) if "logits" in self.kind else self.method.translate(x)  # type: ignore[operator]

    def inputs(self, n: int) -> Tensor:
        g = torch.Generator().manual_seed(n)
        return (
            torch.rand(n, *self.taken, generator=g)
            if len(self.taken) == 3
            else torch.randn(n, *self.taken, generator=g)
        )


def exported(method: Method, run: Run, to: str) -> bytes:
    """The file of `method`, on the CPU in eval mode, in the format `to`, one of FILES.

    Raises:
        ValueError: the method has no map of that format, or the file, read again, computes something else.
    """
    if to == "safetensors":
        return to_safetensors(method.state_dict(), {"format": "pt", "method": run.experiment["method"]})
    net = Map(method, shape_of(run)).eval()
    try:
        content = _torchscript(net) if to == "torchscript" else _onnx(net)
    except Exception as error:
        if isinstance(error, ValueError):
            raise
        raise ValueError(f"{type(method).__name__} cannot be exported to {to}: {one_line(error, 300)}") from error
    return content


@torch.no_grad()
def _torchscript(net: Map) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(net, net.inputs(2), check_trace=False)
        buffer = io.BytesIO()
        torch.jit.save(traced, buffer)
        again = torch.jit.load(io.BytesIO(buffer.getvalue()))
    for n in (2, 5):
        _compare(net(net.inputs(n)), again(net.inputs(n)), 0.0, n)
    return buffer.getvalue()


@torch.no_grad()
def _onnx(net: Map) -> bytes:
    try:
        import onnx.reference
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(f"--to onnx needs packages: pip install 'genlab[onnx]' ({error})") from None
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = Path(folder) / "model.onnx"
        batch = torch.export.Dim.DYNAMIC
        torch.onnx.export(
            net, (net.inputs(2),), file, dynamo=True, external_data=False, verbose=False,
            input_names=["x"], output_names=["y"], dynamic_shapes={"x": {0: batch}},
        )  # fmt: skip
        again: Any = onnx.reference.ReferenceEvaluator(str(file))
        for n in (2, 5):
            (y,) = again.run(None, {"x": net.inputs(n).numpy()})
            _compare(net(net.inputs(n)), torch.from_numpy(y), TOLERANCE, n)
        return file.read_bytes()


def _compare(here: Tensor, there: Tensor, tolerance: float, n: int) -> None:
    distance = float((here - there).abs().max()) if here.shape == there.shape else torch.inf
    if not distance <= tolerance:
        raise ValueError(
            f"the exported file, read again, computes something else for {n} inputs (difference {distance:.3g}): "
            "the network is random, or depends on the size of the batch"
        )


def model_card(run: Run, method: Method, to: str, content: bytes) -> str:
    """The model card in Markdown: what it is, data, figures, command, versions and hash."""
    config, shape = run.config, shape_of(run)
    what = (type(method.config).__doc__ or type(method).__name__).splitlines()[0]
    figures = [(k, v) for k, v in run.results().items() if isinstance(v, int | float)]
    training = run.experiment["training"]
    lines = [
        f"# {run.path.resolve().name}",
        "",
        f"{what} (`{run.experiment['method']}{CARD}{FILES[to]}`.",
        "",
        "| | |",
        "|---|---|",
        f"| data | {data_of(run).data} |",
        f"| images | {shape[0]} channels, {shape[1]}x{shape[2]} pixels, float in [0, 1] |",
        f"| classes | {run.experiment['classes']} |",
        f"| training | {training['images']:,} images, batch {training['batch']}, seed {training['seed']} |",
        *(f"| {name} | {value} |" for name, value in changed_options(method)),
        *([f"| map | {Map(method, shape).kind} |"] if to != "safetensors" else []),
        f"| sha256 | {hashlib.sha256(content).hexdigest()} |",
        f"| commit | {config.get('git') or 'unknown'} |",
        f"| versions | {', '.join(f'{k} {v}' for k, v in (config.get('versions') or {}).items())} |",
        "",
        "## Figures on the test images",
        "",
        *([f"- {name}: {value:.4g}" for name, value in figures] or ["none"]),
        "",
        "## Commands",
        "",
        "```",
        *map(shlex.join, config.get("commands") or []),
        "```",
        "",
        "## Use",
        "",
        "```python",
        *USE[to],
        "```",
        "",
    ]
    return "\n".join(one_line(line) for line in lines)


def changed_options(method: Method) -> Iterator[tuple[str, Any]]:
    """(name, value) of the options of the method that are not at their defaults."""
    for field in fields(method.config):
        if (value := getattr(method.config, field.name)) != field.default:
            yield field.name, value


USE = {
    "safetensors": ["import genlab", "", 'method = genlab.load("FOLDER")  # this folder'],
    "torchscript": ["import torch", "", 'net = torch.jit.load("model.pt")'],
    "onnx": ["import onnxruntime", "", 'session = onnxruntime.InferenceSession("model.onnx")'],
}
