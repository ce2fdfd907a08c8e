"""Discrete pixel distributions: the output heads of autoregressive networks.

A head maps images to integers 0 .. values-1 in `groups` ordered channels per pixel, encodes these as the network's
input, and maps the network's outputs to probabilities. Sampling inverts the cumulative distribution function at given
uniform numbers, so cached and uncached sampling give the same images.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.core import distributed
from genlab.likelihood.units import logistic_mass


class PixelDistribution(nn.Module):
    """groups: predicted channels per pixel; values: number of values of each; outputs: network outputs for each;
    inputs: channels of the network's input."""

    def __init__(self, groups: int, values: int, outputs: int, inputs: int):
        super().__init__()
        self.groups, self.values, self.outputs, self.inputs = groups, values, outputs, inputs

    @property
    def ready(self) -> bool:
        """Whether `fit` is not needed or has been called."""
        return True

    def fit(self, x: Tensor) -> None:
        """Initialises the distribution from the first training images x (N, C, H, W); does nothing by default."""

    def indices(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] -> integers (N, groups, H, W)."""
        return (x * (self.values - 1)).round().long()

    def images(self, k: Tensor) -> Tensor:
        """Integers -> images; the inverse of `indices`."""
        return k / (self.values - 1)

    def encode(self, k: Tensor) -> Tensor:
        """Integers (N, groups, ...) -> network inputs (N, inputs, ...), within [-1, 1]."""
        return k * (2 / (self.values - 1)) - 1

    def log_prob(self, outputs: Tensor, k: Tensor) -> Tensor:
        """Network outputs (N, groups, outputs, H, W), integers -> log-probabilities (N, groups, H, W), in nats."""
        return self.log_probs(outputs).gather(2, k[:, :, None]).squeeze(2)

    def log_probs(self, outputs: Tensor) -> Tensor:
        """(N, groups, outputs, ...) -> log-probabilities of all values (N, groups, values, ...)."""
        raise NotImplementedError

    def draw(self, outputs: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
        """Samples from p^(1/temperature), normalised, by inversion of its cumulative distribution function at u.

        outputs (N, groups, outputs, ...), u uniform in [0, 1) (N, groups, ...) -> integers (N, groups, ...).
        """
        steps = (self.log_probs(outputs) / temperature).softmax(2).cumsum(2)
        return (steps <= u[:, :, None]).sum(2).clamp_(max=self.values - 1)


class Bernoulli(PixelDistribution):
    """Binary pixels; the output is a logit."""

    def __init__(self, channels: int):
        super().__init__(channels, 2, 1, channels)

    def log_probs(self, outputs: Tensor) -> Tensor:
        return F.logsigmoid(torch.cat([-outputs, outputs], dim=2))

    def log_prob(self, outputs: Tensor, k: Tensor) -> Tensor:
        return -F.binary_cross_entropy_with_logits(outputs.squeeze(2), k.to(outputs), reduction="none")

    def draw(self, outputs: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
        return (u >= (-outputs.squeeze(2) / temperature).sigmoid()).long()


class Softmax(PixelDistribution):
    """Categorical over grey levels (van den Oord et al. 2016, arXiv:1601.06759, section 3.3)."""

    def __init__(self, channels: int, levels: int = 256):
        if not 2 <= levels <= 256:
            raise ValueError(f"levels must be from 2 to 256, got {levels}")
        super().__init__(channels, levels, levels, channels)

    def log_probs(self, outputs: Tensor) -> Tensor:
        return outputs.log_softmax(2)


class LogisticMixture(PixelDistribution):
    """A mixture of discretised logistic distributions; PixelCNN++, Salimans et al. 2017, arXiv:1701.05517, eq. 2.

    Departure: channels depend on each other through the network's masks, not through linear coefficients.
    """

    def __init__(self, channels: int, mixtures: int = 10, levels: int = 256):
        if mixtures < 1:
            raise ValueError(f"a mixture needs at least 1 component, got {mixtures}")
        super().__init__(channels, levels, 3 * mixtures, channels)

    def log_prob(self, outputs: Tensor, k: Tensor) -> Tensor:
        return self.mass(outputs, k[:, :, None])

    def log_probs(self, outputs: Tensor) -> Tensor:
        k = torch.arange(self.values, device=outputs.device).view(1, 1, 1, -1, *[1] * (outputs.ndim - 3))
        return self.mass(outputs.unsqueeze(3), k)

    def mass(self, outputs: Tensor, k: Tensor) -> Tensor:
        """log-probability of the integers k: the mass of an interval one level wide; the first and last intervals
        extend to infinity."""
        weights, means, scales = outputs.chunk(3, dim=2)
        inverse, half = torch.exp(-scales.clamp(-7.0, 7.0)), 1 / (self.values - 1)
        x = self.encode(k)
        upper = torch.where(k == self.values - 1, torch.inf, (x - means + half) * inverse)
        lower = torch.where(k == 0, -torch.inf, (x - means - half) * inverse)
        return (weights.log_softmax(2) + logistic_mass(lower, upper)).logsumexp(2)


class Categorical(PixelDistribution):
    """Categorical distribution over `values` unordered categories; the input is one-hot."""

    def __init__(self, values: int):
        super().__init__(1, values, values, values)

    def encode(self, k: Tensor) -> Tensor:
        return F.one_hot(k.squeeze(1), self.values).movedim(-1, 1).to(torch.get_default_dtype())

    def log_probs(self, outputs: Tensor) -> Tensor:
        return outputs.log_softmax(2)


class Palette(Categorical):
    """Categorical over `colours` colours, found by k-means in the first training images; the input is one-hot.

    `indices` selects the nearest colour, so the likelihood is that of images quantised to the palette.
    """

    colours: Tensor
    fitted: Tensor

    def __init__(self, channels: int, colours: int):
        if not 2 <= colours <= 256:
            raise ValueError(f"a palette has from 2 to 256 colours, got {colours}")
        super().__init__(colours)
        self.register_buffer("colours", torch.linspace(0, 1, colours)[:, None].repeat(1, channels))
        self.register_buffer("fitted", torch.tensor(False))
        self.known = False

    @property
    def ready(self) -> bool:
        self.known = self.known or bool(
            self.fitted
        )  # synchronises with the device only until it is set; also correct after a resume
        return self.known

    def fit(self, x: Tensor) -> None:
        """Clusters the colours of images x (N, C, H, W).

        Raises:
            ValueError: the images have fewer colours than the palette.
        """
        found, counts = colours(x)
        if len(found) < self.values:
            raise ValueError(f"a palette of {self.values} colours is larger than the {len(found)} the images have")
        from sklearn.cluster import KMeans  # slow import, only needed here

        means = KMeans(self.values, n_init=4, random_state=0).fit(found.cpu(), sample_weight=counts.cpu())
        self.colours.copy_(torch.from_numpy(means.cluster_centers_) / 255)
        distributed.broadcast([self.colours])
        self.fitted.fill_(True)

    def indices(self, x: Tensor) -> Tensor:
        pixels = x.movedim(1, 3)
        return torch.cdist(pixels.flatten(0, 2), self.colours).argmin(1).view(1, *pixels.shape[:3]).transpose(0, 1)

    def images(self, k: Tensor) -> Tensor:
        return self.colours[k.squeeze(1)].movedim(3, 1)


def colours(x: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct colours of images x (N, C, H, W), as levels 0 .. 255 (K, C), and their pixel counts (K,)."""
    return (x.movedim(1, 3).flatten(0, 2) * 255).round().unique(dim=0, return_counts=True)


class Regression(PixelDistribution):
    """A baseline, not a distribution: grey levels predicted by squared error; a sample is the prediction itself."""

    def __init__(self, channels: int):
        super().__init__(channels, 256, 1, channels)

    def log_prob(self, outputs: Tensor, k: Tensor) -> Tensor:
        return -(outputs.squeeze(2) - self.encode(k)).square()

    def draw(self, outputs: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
        return ((outputs.squeeze(2).clamp(-1, 1) + 1) / 2 * (self.values - 1)).round().long()
