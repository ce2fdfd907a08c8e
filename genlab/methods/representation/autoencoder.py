"""Auto-encoders; Hinton & Salakhutdinov 2006, Science 313:504. The error and the constraints on the code compose:

denoising     the image is spoiled, the error is that of the clean one (Vincent et al. 2010, JMLR 11:3371, section 3)
sparse        L1 of the code, which keeps one larger than the image from copying it
contractive   the squared Frobenius norm of the encoder's Jacobian (Rifai et al. 2011, ICML, eq. 4 and 6)
l2            squared length of the code, which keeps codes close together around 0

Departures: Adam on all layers at once, in place of pre-training (see `genlab.methods.representation.pretraining`) and
conjugate gradients; of deep encoders the Jacobian's norm is estimated (Hutchinson 1990), not computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from genlab.core.ranges import Fraction, LearningRate, Weight, Width, check
from genlab.data import Images
from genlab.latent.codes import over, squared_error
from genlab.latent.walks import plane
from genlab.nets.autoencoder import ActivationName, Convolutional, Dense, Net, Unpooling
from genlab.training.method import Config, Method, Metrics, Stream, TrainOptions
from genlab.training.optim import adam
from genlab.training.update import Update

Penalty = Callable[[Any, Tensor, Tensor], Tensor]  # net, the x it was shown, its code -> (N,)


@dataclass(frozen=True)
class Error:
    """How outputs (N, C, H, W), unbounded, become an image, and what they cost beside x in [0, 1]: (N,)."""

    image: Callable[[Tensor], Tensor]
    cost: Callable[[Tensor, Tensor], Tensor]


def _squares(image: Tensor, x: Tensor) -> Tensor:
    return (image - x).square().flatten(1).sum(1)


ERRORS = {
    "squared": Error(torch.sigmoid, lambda outputs, x: _squares(outputs.sigmoid(), x)),
    "linear": Error(lambda outputs: outputs, _squares),
    "bernoulli": Error(
        torch.sigmoid,
        lambda outputs, x: binary_cross_entropy_with_logits(outputs, x, reduction="none").flatten(1).sum(1),
    ),
}
ErrorName = Literal["squared", "linear", "bernoulli"]


def sparse(net: Net, x: Tensor, code: Tensor) -> Tensor:
    """|h|_1"""
    return code.abs().sum(1)


def l2(net: Net, x: Tensor, code: Tensor) -> Tensor:
    """|h|²"""
    return code.square().sum(1)


def contractive(net: Net, x: Tensor, code: Tensor) -> Tensor:
    """|dh/dx|²_F: exact for a single layer of sigmoids, one random probe for all else."""
    if isinstance(net, Dense) and len(net.up) == 1 and net.code == "sigmoid":
        return (code * (1 - code)).square() @ net.weights[0].square().sum(1)
    return jacobian_norm(net.encode, x)


def jacobian_norm(encode: Callable[[Tensor], Tensor], x: Tensor, probes: int = 1) -> Tensor:
    """E |vᵀ dh/dx|², v ~ N(0, I), which is |dh/dx|²_F, from so many draws of v; (N,)."""
    x = x.detach().requires_grad_()
    code = encode(x)
    draws = [
        torch.autograd.grad(code, x, torch.randn_like(code), create_graph=True)[0].square().flatten(1).sum(1)
        for _ in range(probes)
    ]
    return torch.stack(draws).mean(0)


PENALTIES: dict[str, Penalty] = {"sparse": sparse, "contractive": contractive, "l2": l2}


@dataclass(frozen=True)
class Spoil:
    """x -> x with Gaussian noise of std `noise`, then a share `mask` of its pixels black; kept within [0, 1]."""

    noise: Weight = 0.0
    mask: Fraction = 0.0

    def __post_init__(self) -> None:
        check(self)

    def __bool__(self) -> bool:
        return self.noise > 0 or self.mask > 0

    def __call__(self, x: Tensor) -> Tensor:
        if self.noise:
            x = (x + self.noise * torch.randn_like(x)).clamp(0, 1)
        return x * (torch.rand_like(x[:, :1]) >= self.mask) if self.mask else x


class AutoEncoder(Method):
    """net: x (N, C, H, W) in [0, 1] -> code (N, k) and outputs of x's shape, which `error` makes an image.

    penalties: name -> (weight, penalty). Error and penalties are sums over an image or a code, means over the batch.
    """

    def __init__(
        self,
        net: nn.Module,
        error: ErrorName = "squared",
        penalties: Mapping[str, tuple[float, Penalty]] | None = None,
        spoil: Spoil = Spoil(),
        lr: float = 1e-3,
    ):
        super().__init__()
        self.net, self.error, self.penalties, self.spoil, self.lr = net, error, dict(penalties or {}), spoil, lr

    def optimizers(self):
        return {"autoencoder": adam(self.net, lr=self.lr)}

    def code(self, x: Tensor) -> Tensor:
        """x -> (N, k)."""
        return cast(Net, self.net).encode(x)

    def decode(self, z: Tensor) -> Tensor:
        """Codes (N, k) -> images; in [0, 1], which `linear` outputs may leave."""
        return ERRORS[self.error].image(cast(Net, self.net).decode(z).float())

    def reconstruct(self, x: Tensor) -> Tensor:
        """x -> the picture of its code; same shape and range as `decode`."""
        return ERRORS[self.error].image(self.net(x)[1].float())

    def step(self, data: Stream, update: Update) -> Metrics:
        x, _ = next(data)
        shown = self.spoil(x)
        code, outputs = self.net(shown)
        found = {"error": ERRORS[self.error].cost(outputs.float(), x).mean()}
        for name, (_, penalty) in self.penalties.items():
            found[name] = penalty(self.net, shown, code).float().mean()
        update(
            "autoencoder", found["error"] + sum(weight * found[name] for name, (weight, _) in self.penalties.items())
        )
        return found

    @torch.no_grad()
    def evaluate(self, data: Images) -> dict[str, float]:
        """error: mean squared error per pixel; of a denoiser also error_spoiled, that of spoiled images before it, and
        error_restored, after it."""
        self.eval()
        found = {"error": squared_error(self.reconstruct, data)}
        if self.spoil:
            found["error_spoiled"] = squared_error(self.spoil, data)
            found["error_restored"] = squared_error(lambda x: self.reconstruct(self.spoil(x)), data)
        return found

    @torch.no_grad()
    def pictures(self, data: Images) -> dict[str, Tensor]:
        """reconstructions, each after its original; of a denoiser restored, each after its original and spoiled image;
        of two-dimensional codes the plane: what the decoder makes of the square around 0 that holds 95 % of them."""
        self.eval()
        x = data.subset(slice(0, 32)).x
        found = {"reconstructions": [x, self.reconstruct(x)]}
        if self.spoil:
            found["restored"] = [x, spoiled := self.spoil(x), self.reconstruct(spoiled)]
        pictures = {name: torch.stack(rows, 1).flatten(0, 1).clamp(0, 1) for name, rows in found.items()}
        if self.code(x).shape[1] == 2 and getattr(self.net, "unpool", "copy") == "copy":
            pictures["plane"] = self.decode(self.square(over(self.code, data))).clamp(0, 1)
        return pictures

    @staticmethod
    def square(codes: Tensor, n: int = 16) -> Tensor:
        """n x n codes (n², 2), evenly spaced over the square around 0 that holds 95 % of codes (N, 2)."""
        return codes.float().abs().amax(1).quantile(0.95) * plane(n, -1, 1).to(codes)


@dataclass(frozen=True)
class AutoEncoderConfig(Config):
    """Auto-encoder: a code small, sparse or stable, from which the image can be made again."""

    net: Literal["dense", "conv"] = "dense"
    """fully connected, or convolutions with pooling and unpooling"""
    hidden: tuple[Width, ...] = (1000, 500, 250)
    """dense: units of the encoder's layers before the code; none (with linear activations): as PCA"""
    code: Width = 30
    """dimensions of the code"""
    tied: bool = False
    """dense: the decoder's weights are the encoder's, transposed"""
    activation: ActivationName = "relu"
    """dense: what follows the hidden layers"""
    code_activation: ActivationName = "linear"
    """dense: what follows the code's layer"""
    width: Width = 16
    """conv: channels at the finest level; doubled at every coarser one"""
    unpool: Unpooling = "copy"
    """conv: a value goes back to where the maximum was, or to all four places"""
    error: ErrorName = "squared"
    """squared error of sigmoids or of linear outputs, or cross-entropy of Bernoulli pixels"""
    noise: Weight = 0.0
    """denoising: standard deviation of the noise on the images shown, in pixels of [0, 1]"""
    mask: Fraction = 0.0
    """denoising: share of the pixels shown black"""
    sparse: Weight = 0.0
    """weight of the code's L1 norm"""
    contractive: Weight = 0.0
    """weight of the squared Frobenius norm of the encoder's Jacobian"""
    l2: Weight = 0.0
    """weight of the code's squared length"""
    lr: LearningRate = 1e-3
    """learning rate of Adam"""

    training: ClassVar[TrainOptions] = TrainOptions(images=600_000, batch=64, schedule="cosine")

    def build(self, shape: tuple[int, int, int], classes: int) -> AutoEncoder:
        weights = {name: getattr(self, name) for name in PENALTIES}
        net: nn.Module
        if self.net == "conv":
            net = Convolutional(shape, self.code, self.width, self.unpool)
        else:
            sizes = (*self.hidden, self.code)
            net = Dense(shape, sizes, tied=self.tied, hidden=self.activation, code=self.code_activation)
        penalties = {name: (weight, PENALTIES[name]) for name, weight in weights.items() if weight}
        return AutoEncoder(net, self.error, penalties, Spoil(self.noise, self.mask), self.lr)
