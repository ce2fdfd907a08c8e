"""Quality of codes: reconstruction error, image retrieval, linear probe."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from genlab.data import Images, batches
from genlab.metrics import checks
from genlab.metrics.distances import nearest, squared
from genlab.reporting.plots import png

Map = Callable[[Tensor], Tensor]


@torch.no_grad()
def apply_batched(f: Map, data: Images, batch: int = 500) -> Tensor:
    """f, x (n, C, H, W) -> (n, ...), applied to all images of `data` in batches: (N, ...)."""
    return torch.cat([f(x) for x, _ in batches(data, batch)])


@torch.no_grad()
def squared_error(reconstruct: Map, data: Images) -> float:
    """Mean squared reconstruction error per pixel and channel, pixels in [0, 1]."""
    return float(apply_batched(lambda x: (reconstruct(x).double() - x).square().flatten(1).mean(1), data).mean())


def retrieval_precision(codes: Tensor, labels: Tensor, k: int = 10) -> float:
    """Precision at k of image retrieval: the share of the k nearest neighbours of each code (N, ...) with its label.

    Raises:
        Undefined: there are not more than k codes.
    """
    if not 1 <= k < len(codes):
        raise checks.Undefined(f"{k} nearest others need k >= 1 and more than k codes, got {len(codes)}")
    codes, labels, same = codes.flatten(1), labels.to(codes.device), 0
    for start, block in squared(codes, codes):
        rows = torch.arange(len(block), device=block.device)
        block[rows, start + rows] = torch.inf  # not itself
        found = labels[block.topk(k, largest=False).indices]
        same += int((found == labels[start : start + len(block), None]).sum())
    return same / (k * len(codes))


@torch.no_grad()
def probe_and_search(encoder: Map, untrained: Map, data: Images) -> dict[str, float]:
    """probe: accuracy of a linear probe of the codes, trained on the first half of `data` and tested on the second;
    search: share of the ten nearest codes that have the same class. probe_untrained and search_untrained: the same of
    the other encoder. Figures that so few images do not have are left out."""
    found: dict[str, float] = {}
    for name, each in {"": encoder, "_untrained": untrained}.items():
        codes = apply_batched(each, data).float()
        for figure, measure in (("probe", linear_probe), ("search", retrieval_precision)):
            with checks.if_defined(key := figure + name):
                found[key] = measure(codes, data.labels)
    return found


@torch.no_grad()
def nearest_image_error(pictures: Tensor, data: Images) -> float:
    """Mean squared error per pixel between images (N, C, H, W) and their nearest neighbours in `data`."""
    distance, _ = nearest(pictures.flatten(1), (x.flatten(1) for x, _ in batches(data, 1000)))
    return float(distance.square().mean()) / pictures[0].numel()


def scatter(codes: Tensor, labels: Tensor, classes: Sequence[str]) -> bytes:
    """A PNG scatter plot of codes (N, 2), coloured by class."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    if codes.shape[1:] != (2,):
        raise ValueError(f"only codes (N, 2) have a place in the plane, got {tuple(codes.shape)}")
    figure = Figure(figsize=(5.2, 4.6), layout="constrained")
    axes, colours = figure.subplots(), colormaps["tab10" if len(classes) <= 10 else "gist_rainbow"]
    size = 4 if len(codes) > 2000 else 14
    for i, name in enumerate(classes):
        points = codes[labels == i].detach().float().cpu().T.numpy()
        colour = colours(i if len(classes) <= 10 else i / len(classes))
        axes.scatter(points[0], points[1], s=size, color=colour, linewidths=0, label=name, alpha=0.7)
    axes.legend(fontsize=8, markerscale=2, loc="center left", bbox_to_anchor=(1, 0.5))
    return png(figure)


def linear_probe(codes: Tensor, labels: Tensor, share: float = 0.5) -> float:
    """Linear probe: the accuracy of logistic regression on standardised codes (N, ...), trained on the first `share` of
    them and tested on the others.

    Raises:
        Undefined: no codes to train or test on, or training codes of one class only.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    n = int(share * len(codes))
    if not 0 < n < len(codes):
        got = f"{len(codes)} and share {share}"
        raise checks.Undefined(f"a probe learns on some codes and is tested on others, got {got}")
    if bool((labels[:n] == labels[0]).all()):
        raise checks.Undefined(f"a probe learns to tell classes apart, but its {n} codes are all of one class")
    x, y = codes.detach().flatten(1).double().cpu().numpy(), labels.cpu().numpy()
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return float(model.fit(x[:n], y[:n]).score(x[n:], y[n:]))
