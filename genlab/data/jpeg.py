"""JPEG compression of image batches."""

from __future__ import annotations

import io
from typing import Annotated

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from genlab.core.ranges import Range, checked

Quality = Annotated[int, Range(1, 95)]  # of a JPEG file


@checked
def jpeg(x: Tensor, quality: Quality = 75) -> Tensor:
    """x (N, 1 or 3, H, W) in [0, 1], compressed as JPEG with this quality and decompressed.

    Raises:
        ValueError: another shape, or quality is not from 1 to 95.
    """
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise ValueError(f"JPEG holds images (N, 1 or 3, H, W), got {tuple(x.shape)}.")
    pixels = x.detach().clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    found = []
    for picture in pixels:
        buffer = io.BytesIO()
        Image.fromarray(picture.squeeze(2) if picture.shape[2] == 1 else picture).save(buffer, "JPEG", quality=quality)
        found.append(np.array(Image.open(buffer)).reshape(picture.shape))
    back = torch.from_numpy(np.stack(found)) if found else torch.from_numpy(pixels)
    return back.permute(0, 3, 1, 2).to(x.device, x.dtype).div_(255)
