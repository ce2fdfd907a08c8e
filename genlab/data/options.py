"""The options of a data set, as the command line and config.json name them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch

from genlab.core import distributed
from genlab.core.ranges import Side, check, checked
from genlab.data.augment import Augment
from genlab.data.catalogue import DataError
from genlab.data.sources import Split
from genlab.data.sources import load as load_data


@dataclass(frozen=True)
class DataOptions:
    """Options of the data set."""

    data: str = "digits"
    """digits, glyphs, sprites, mnist, ..., folder:PATH or unpaired:A,B; `genlab list` shows all"""
    size: Side | None = None
    """height and width in pixels; none: as in the data set"""
    channels: Literal[1, 3] | None = None
    """1 (grey) or 3 (colour); none: as in the data set"""
    data_root: Path | None = None
    """folder of the downloaded data sets"""
    hold_out: bool = False
    """exclude a fixed tenth of the training images from training and use it as validation set"""
    augment: Augment = field(default_factory=Augment)
    """random augmentation of the training images"""

    shuffle: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self)

    @checked
    def load(self, split: Split = "train", device: torch.device | str | None = None, option: str = "data") -> Any:
        """The images of a split, "train", "validation" or "test", on `device`; none: the device of this process.

        option: the name of the option that `data` comes from, for errors.

        Raises:
            ValueError: "validation" without `hold_out`, or the data cannot be loaded; names the option and its value.
        """
        if split == "validation" and not self.hold_out:
            raise ValueError("the validation images are part of the training images: exclude them with --hold-out")
        where: dict[str, Any] = {"root": self.data_root, "hold_out": self.hold_out}
        where["device"] = device or distributed.device()
        try:
            return load_data(self.data, split, size=self.size, channels=self.channels, **where)
        except DataError as error:
            raise DataError(f"--{option} {self.data}: {str(error).removeprefix(f'{self.data}: ')}") from error
