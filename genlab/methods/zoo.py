"""All GAN objectives with the same networks, and models with only one of the two networks, by name."""

from __future__ import annotations

from typing import Any

from genlab.methods.gan.ebgan import EBGANConfig
from genlab.methods.gan.gan import GANConfig
from genlab.methods.gan.loss_sensitive import LossSensitiveConfig
from genlab.methods.gan.wgan import WGANConfig
from genlab.methods.gan.wgan_gp import WGANGPConfig
from genlab.methods.likelihood.energy_model import EnergyModelConfig
from genlab.methods.likelihood.vae import VAEConfig
from genlab.training.method import Config


def zoo(width: int, hidden: int) -> dict[str, Config]:
    """width: channels of the finest level; hidden: units of the fully connected layers, where there are any."""
    objectives = ("minimax", "nonsaturating", "lsgan", "hinge", "kl", "reverse-kl", "pearson", "hellinger", "js")
    nets: dict[str, Any] = {"width": width, "hidden": hidden}
    plain = {name: GANConfig(objective=name, **nets) for name in objectives}  # type: ignore[arg-type]
    # minibatch discrimination: without batch normalisation, spectral normalisation alone does not prevent mode collapse
    spectral = GANConfig(objective="hinge", spectral=True, norm="none", minibatch=True, **nets)
    return {
        **plain,
        "spectral": spectral,
        "residual": GANConfig(net="resnet", width=width),
        "attention": GANConfig(attention=True, **nets),
        "wgan": WGANConfig(lr=5e-4, weight_clip=0.05, n_critic=2, **nets),
        "wgan-gp": WGANGPConfig(lr=1e-3, **nets),
        "ct-gan": WGANGPConfig(lr=1e-3, consistency=2.0, dropout=0.2, **nets),
        "ebgan": EBGANConfig(width=width, pull_away=0.1),
        "loss-sensitive": LossSensitiveConfig(**nets),
        "energy-model": EnergyModelConfig(**nets),
        "vae": VAEConfig(**nets),
        "auto-encoder": VAEConfig(beta=0.0, **nets),  # its decoder, fed with noise
    }
