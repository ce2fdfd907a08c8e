"""PSNR and SSIM, from scikit-image (the extra `similarity`).

SSIM: Wang et al. 2004 (IEEE Transactions on Image Processing 13), eq. 13, with their constants and 11x11 Gaussian
window, averaged over the positions where the window fits and over channels. For images smaller than the window, the
images are mirrored at the border.
"""

from __future__ import annotations

import logging
from functools import cache
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from genlab.metrics import checks

WINDOW, SIGMA = 11, 1.5
AT_ONCE = 256  # images per chunk, to limit memory
log = logging.getLogger("genlab.metrics")


def similarity(x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """PSNR and SSIM of images (N, C, H, W) in [0, 1], each (N,); empty, with a warning, without scikit-image."""
    return {"PSNR": psnr(x, y), "SSIM": ssim(x, y)} if _installed() else {}


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, (N,), of images (N, C, H, W) in [0, 1]; infinite where they are equal."""
    from skimage.metrics import peak_signal_noise_ratio

    with np.errstate(divide="ignore"):
        return torch.tensor([peak_signal_noise_ratio(a, b, data_range=1.0) for a, b in zip(*_arrays(x, y))])


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity, (N,), 1 where they are equal, of images (N, C, H, W) in [0, 1]."""
    from skimage.metrics import structural_similarity

    side, reach = min(WINDOW, *x.shape[2:]), WINDOW // 2
    window = side - 1 + side % 2
    published = {"gaussian_weights": True, "sigma": SIGMA, "use_sample_covariance": False, "data_range": 1.0}
    found = list[Tensor]()
    for a, b in zip(x.split(AT_ONCE), y.split(AT_ONCE), strict=True):
        # One tall image of all channels of all images, each mirrored by the reach of the window: independent results.
        n, c, h, w = a.shape
        frame = ((0, 0), (0, 0), (reach, reach), (reach, reach))
        tall = [np.pad(t, frame, "symmetric").reshape(-1, w + 2 * reach) for t in _arrays(a, b)]
        _, each = structural_similarity(*tall, win_size=window, full=True, **published)
        edge = reach + window // 2
        fitting = torch.from_numpy(each).view(n, c, h + 2 * reach, w + 2 * reach)[..., edge:-edge, edge:-edge]
        found.append(fitting.mean((1, 2, 3)))
    return torch.cat(found)


def _arrays(x: Tensor, y: Tensor) -> tuple[np.ndarray, np.ndarray]:
    checks.pixels(x), checks.pixels(y)
    if x.shape != y.shape:
        raise ValueError(f"images must have the same shape to be compared, got {tuple(x.shape)} and {tuple(y.shape)}")
    return x.double().cpu().numpy(), y.double().cpu().numpy()


@cache
def _installed() -> bool:
    found = find_spec("skimage") is not None
    if not found:
        log.warning("PSNR and SSIM are left out: they need scikit-image (pip install 'genlab[similarity]')")
    return found
