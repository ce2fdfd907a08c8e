"""Contrastive predictive coding; van den Oord, Li, Vinyals 2018, arXiv:1807.03748, section 2.

An image is read from top to bottom, a band of rows at a time. From the context c_t of the bands so far, the codes
z_{t+k} of later bands are predicted, and each is to be told from those of the other images of the batch (InfoNCE, eq.
4). Departures: bands of rows, without overlap, in place of a grid of patches; all negatives are of the same position.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from genlab.core.ranges import Count, LearningRate, Side, Width
from genlab.methods.representation.encoder import EncoderMethod
from genlab.nets.mlp import MLP
from genlab.training.method import BatchStream, Config, Metrics, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update


class BandEncoder(nn.Module):
    """x (N, C, H, W) in [0, 1] -> context (N, k) of all bands; each has `rows` rows, a divisor of H."""

    def __init__(self, shape: tuple[int, int, int], rows: int, code: int, width: int):
        super().__init__()
        c, h, w = shape
        if h % rows or h // rows < 2:
            raise ValueError(f"band must divide the {h} rows of an image into two parts or more, got {rows}")
        self.rows = rows
        self.band = nn.Sequential(MLP(c * rows * w, width, width), nn.LayerNorm(width), nn.ReLU())
        self.code = nn.Linear(width, code)
        self.context = nn.GRU(code, code, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.read(x)[1][:, -1]

    def read(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (N, C, H, W) -> codes z and contexts c of the bands, both (N, bands, k)."""
        bands = (2 * x - 1).unfold(2, self.rows, self.rows).transpose(1, 2)  # (N, bands, C, W, rows)
        z = self.code(self.band(bands.flatten(2).flatten(0, 1))).unflatten(0, bands.shape[:2])
        return z, self.context(z)[0]


def info_nce(scores: Tensor) -> Tensor:
    """From scores (..., N, N) of predictions (rows) and codes (columns), which belong together on the diagonal, the
    mean -log of the share of the own code (eq. 4): log N minus a lower bound of the mutual information, in nats."""
    return (scores.logsumexp(-1) - scores.diagonal(dim1=-2, dim2=-1)).mean()


@dataclass(frozen=True)
class CPCConfig(Config):
    """Contrastive predictive coding: an encoder whose context tells the codes of later rows from those of others."""

    code: Width = 64
    """dimensions of the codes and of the context"""
    width: Width = 256
    """units of the bands' network"""
    band: Side | None = None
    """rows of a band, a divisor of the height; none: about a seventh of the height"""
    ahead: Count = 3
    """K, the number of later bands that are predicted"""
    lr: LearningRate = 1e-3
    """learning rate of Adam"""

    training: ClassVar[TrainOptions] = TrainOptions(images=300_000, batch=64)

    def build(self, shape: tuple[int, int, int], classes: int) -> CPC:
        divisors = [rows for rows in range(1, shape[1] + 1) if shape[1] % rows == 0]
        rows = self.band or min(divisors, key=lambda rows: abs(math.log(7 * rows / shape[1])))
        encoder = BandEncoder(shape, rows, self.code, self.width)
        ahead = min(self.ahead, shape[1] // rows - 1)
        predictors = nn.ModuleList(nn.Linear(self.code, self.code, bias=False) for _ in range(ahead))
        return CPC(encoder, predictors, self)


class CPC(EncoderMethod):
    """encoder: x (N, C, H, W) in [0, 1] -> (N, code);  predictors: W_k for k = 1, 2, ..., from c_t to z_{t+k}."""

    config: CPCConfig
    encoder: BandEncoder

    def __init__(self, encoder: BandEncoder, predictors: nn.ModuleList, config: CPCConfig = CPCConfig()):
        super().__init__(encoder, config)
        self.predictors = predictors

    def optimizers(self):
        return {"cpc": adam(self.encoder, self.predictors, lr=self.config.lr)}

    def step(self, data: BatchStream, update: Update) -> Metrics:
        x = self.images(data)
        z, c = self.encoder.read(x)
        losses = []
        for k, predict in enumerate(self.predictors, 1):
            scores = torch.einsum("itk,jtk->tij", predict(c[:, :-k]), z[:, k:]).float()  # (t, N, N)
            losses.append(info_nce(scores))
        loss = torch.stack(losses).mean()
        update("cpc", loss)
        return {"loss": loss, "information": math.log(len(x)) - loss}
