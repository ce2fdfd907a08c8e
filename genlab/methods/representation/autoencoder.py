"""Auto-encoders; Hinton & Salakhutdinov 2006, Science 313:504. Reconstruction error and regularisers compose:

denoising     the input is corrupted, the target is the clean image (Vincent et al. 2010, JMLR 11:3371, section 3)
sparse        L1 norm of the code, which keeps an overcomplete one from copying the image
contractive   squared Frobenius norm of the encoder's Jacobian (Rifai et al. 2011, ICML, eq. 4 and 6)
l2            squared L2 norm of the code, which keeps codes close to 0

Departures: Adam on all layers at once, in place of pre-training (see `genlab.methods.representation.pretraining`) and
conjugate gradients; for deep encoders the norm of the Jacobian is estimated (Hutchinson 1990), not computed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from genlab.core.picture import MOST, Pictures, in_rows
from genlab.core.ranges import Fraction, Weight, Width, check
from genlab.data import Images
from genlab.latent.codes import apply_batched, squared_error
from genlab.latent.walks import plane
from genlab.nets.autoencoder import ActivationName, Convolutional, Dense, Net, Unpooling
from genlab.training.method import BatchStream, Config, Method, Metrics, TrainOptions
from genlab.training.optim import OptimizerOptions
from genlab.training.update import Update

Penalty = Callable[[Any, Tensor, Tensor], Tensor]  # net, its input x, the code of x -> (N,)


@dataclass(frozen=True)
class Error:
    """image: outputs (N, C, H, W) -> images;  cost: outputs, x in [0, 1] -> reconstruction error (N,)."""

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
    """|dh/dx|²_F: exact for a single sigmoid layer, else estimated with one random probe."""
    if isinstance(net, Dense) and len(net.up) == 1 and net.code == "sigmoid":
        return (code * (1 - code)).square() @ net.weights[0].square().sum(1)
    return jacobian_norm(net.encode, x)


def jacobian_norm(encode: Callable[[Tensor], Tensor], x: Tensor, probes: int = 1) -> Tensor:
    """Estimate of |dh/dx|²_F = E |vᵀ dh/dx|², v ~ N(0, I), from `probes` samples of v: (N,)."""
    x = x.detach().requires_grad_()
    code = encode(x)
    draws = [
        torch.autograd.grad(code, x, torch.randn_like(code), create_graph=True)[0].square().flatten(1).sum(1)
        for _ in range(probes)
    ]
    return torch.stack(draws).mean(0)


PENALTIES: dict[str, Penalty] = {"sparse": sparse, "contractive": contractive, "l2": l2}


@dataclass(frozen=True)
class Corruption:
    """x -> x with Gaussian noise of std `noise`, clipped to [0, 1], then a share `mask` of its pixels set to 0."""

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


@dataclass(frozen=True)
class AutoEncoderConfig(OptimizerOptions, Config):
    """Auto-encoder: undercomplete, denoising, sparse or contractive."""

    net: Literal["dense", "conv"] = "dense"
    """fully connected, or convolutions with pooling and unpooling"""
    hidden: tuple[Width, ...] = (1000, 500, 250)
    """dense: units of the encoder's layers before the code; none, with linear activations: equivalent to PCA"""
    code: Width = 30
    """dimensions of the code"""
    tied: bool = False
    """dense: the decoder's weights are the encoder's, transposed"""
    activation: ActivationName = "relu"
    """dense: activation of the hidden layers"""
    code_activation: ActivationName = "linear"
    """dense: activation of the code"""
    width: Width = 16
    """conv: channels at the finest level; doubled at every coarser one"""
    unpool: Unpooling = "copy"
    """conv: unpooling puts a value where the maximum was (switches), or in all four places (copy)"""
    error: ErrorName = "squared"
    """squared error of sigmoids or of linear outputs, or cross-entropy of Bernoulli pixels"""
    noise: Weight = 0.0
    """denoising: standard deviation of the noise on the input, in pixels of [0, 1]"""
    mask: Fraction = 0.0
    """denoising: share of the input pixels set to 0"""
    sparse: Weight = 0.0
    """weight of the code's L1 norm"""
    contractive: Weight = 0.0
    """weight of the squared Frobenius norm of the encoder's Jacobian"""
    l2: Weight = 0.0
    """weight of the code's squared L2 norm"""

    training: ClassVar[TrainOptions] = TrainOptions(images=600_000, batch=64, schedule="cosine")

    @property
    def corruption(self) -> Corruption:
        return Corruption(self.noise, self.mask)

    @property
    def penalties(self) -> dict[str, tuple[float, Penalty]]:
        """name -> (weight, penalty), of those whose weight is not 0."""
        weights = {name: getattr(self, name) for name in PENALTIES}
        return {name: (weight, PENALTIES[name]) for name, weight in weights.items() if weight}

    def build(self, shape: tuple[int, int, int], classes: int) -> AutoEncoder:
        if self.net == "conv":
            return AutoEncoder(Convolutional(shape, self.code, self.width, self.unpool), self)
        sizes = (*self.hidden, self.code)
        return AutoEncoder(Dense(shape, sizes, tied=self.tied, hidden=self.activation, code=self.code_activation), self)


class PlainAutoEncoder(Method):
    """net: x (N, C, H, W) in [0, 1] -> code (N, k) and outputs of x's shape, which `error` makes an image."""

    def __init__(self, net: nn.Module, config: Config, error: ErrorName):
        super().__init__(config)
        self.net, self.error = net, ERRORS[error]

    def code(self, x: Tensor) -> Tensor:
        """x -> (N, k)."""
        return cast(Net, self.net).encode(x)

    def decode(self, z: Tensor) -> Tensor:
        """Codes (N, k) -> images, in [0, 1] unless outputs are `linear`."""
        return self.error.image(cast(Net, self.net).decode(z).float())

    def reconstruct(self, x: Tensor) -> Tensor:
        """x -> the image decoded from its code; same shape, range as `decode`."""
        return self.error.image(self.net(x)[1].float())

    @torch.no_grad()
    def evaluate(self, data: Images) -> dict[str, float]:
        """error: mean squared error per pixel."""
        self.eval()
        return {"error": squared_error(self.reconstruct, data)}

    @torch.no_grad()
    def pictures(self, data: Images) -> Pictures:
        """reconstructions below their originals; for two-dimensional codes the plane: decoded codes of the square
        around 0 that holds 95 % of the codes."""
        x = data.subset(slice(0, 32)).x
        found = super().pictures(data)
        if self.code(x).shape[1] == 2 and getattr(self.net, "unpool", "copy") == "copy":
            found["plane"] = self.decode(self.square(apply_batched(self.code, data))).clamp(0, 1)
        return found

    @staticmethod
    def square(codes: Tensor, n: int = 16) -> Tensor:
        """n x n codes (n², 2), evenly spaced over the square around 0 that holds 95 % of codes (N, 2)."""
        return codes.float().abs().amax(1).quantile(0.95) * plane(n, -1, 1).to(codes)


class AutoEncoder(PlainAutoEncoder):
    """net: x (N, C, H, W) in [0, 1] -> code (N, k) and outputs of x's shape, which `error` makes an image.

    Error and penalties are sums over an image or a code, means over the batch.
    """

    config: AutoEncoderConfig

    def __init__(self, net: nn.Module, config: AutoEncoderConfig = AutoEncoderConfig()):
        super().__init__(net, config, config.error)
        self.corruption, self.penalties = config.corruption, config.penalties

    def optimizers(self):
        return {"autoencoder": self.config.make_optimizer(self.net)}

    def step(self, data: BatchStream, update: Update) -> Metrics:
        x, _ = next(data)
        corrupted = self.corruption(x)
        code, outputs = self.net(corrupted)
        loss = self.error.cost(outputs.float(), x).mean()
        found = {"error": loss}
        for name, (weight, penalty) in self.penalties.items():
            found[name] = penalty(self.net, corrupted, code).float().mean()
            loss = loss + weight * found[name]
        update("autoencoder", loss)
        return found

    @torch.no_grad()
    def evaluate(self, data: Images) -> dict[str, float]:
        """error: mean squared error per pixel; of a denoiser also error_corrupted, that of the corrupted images, and
        error_denoised, that of their reconstructions."""
        found = super().evaluate(data)
        if self.corruption:
            found["error_corrupted"] = squared_error(self.corruption, data)
            found["error_denoised"] = squared_error(lambda x: self.reconstruct(self.corruption(x)), data)
        return found

    @torch.no_grad()
    def pictures(self, data: Images) -> Pictures:
        """Besides those of every auto-encoder, of a denoiser denoised: originals, corrupted, denoised."""
        found = super().pictures(data)
        if self.corruption:
            x = data.subset(slice(0, MOST)).x
            corrupted = self.corruption(x)
            rows = {"held out": x, "corrupted": corrupted, "denoised": self.reconstruct(corrupted)}
            found["denoised"] = in_rows(rows)
        return found
