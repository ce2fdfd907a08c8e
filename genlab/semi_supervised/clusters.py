"""Cluster, then label: k-means on all points, and the label of a cluster is that of most labelled points in it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from genlab.core.ranges import Count, Seed, checked
from genlab.semi_supervised.checks import check_known, check_points


@checked
def cluster_then_label(
    x: Tensor, labels: Tensor, classes: int, clusters: Count, seed: Seed = 0
) -> tuple[Tensor, Tensor]:
    """Centres (clusters, D) of points x (N, D), and their labels (clusters,). A tie, or a cluster without labelled
    points, gets the label of the labelled point nearest to its centre.

    Args:
        labels: (N,), from 0 to classes - 1, or -1 where it is unknown; at least one is known.
        seed: of k-means++, the best of four starts.

    Raises:
        ValueError: there are more clusters than points, no label is known, or points or labels are out of range.
    """
    from sklearn.cluster import KMeans

    check_points(x)
    check_known(labels, len(x), classes)
    if clusters > len(x):
        raise ValueError(f"clusters must be at most {len(x):,}, the number of points, got {clusters:,}")
    found = KMeans(clusters, n_init=4, random_state=seed % 2**32).fit(x.double().cpu().numpy())
    centres, of = torch.from_numpy(found.cluster_centers_).to(x), torch.from_numpy(found.labels_).to(x.device)
    known = labels >= 0
    votes = one_hot(labels[known], classes).to(x)
    counts = one_hot(of[known].long(), clusters).to(x).T @ votes
    nearest = torch.cdist(centres, x[known]).argmin(1)
    return centres, (counts + 0.5 * votes[nearest]).argmax(1)


def nearest_label(centres: Tensor, labels: Tensor, x: Tensor) -> Tensor:
    """The labels (N,) of the nearest centres of points x (N, D)."""
    return labels[torch.cdist(x, centres).argmin(1)]
