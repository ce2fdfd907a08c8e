"""What tests share: every method and every attack in a size that takes a moment, small models and images.

A new method joins METHODS (and LEARNS, if one of its metrics must fall), a new attack ATTACKS, and thereby gets the
whole contract.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from attacks.auto import Auto
from attacks.auto_pgd import AutoPGD, AutoPGDT
from attacks.carlini import CarliniL0, CarliniL2, CarliniLinf
from attacks.core.ball import L1, L2, Ball, Linf
from attacks.core.model import Attack
from attacks.ddn import DDN
from attacks.deepfool import DeepFool, DeepFoolLinf
from attacks.defences.adversarial_training import AdversarialTrainingConfig
from attacks.defences.interval import IntervalTrainingConfig
from attacks.defences.randomised_smoothing import NoiseTrainingConfig
from attacks.elastic_net import EAD
from attacks.fab import FABT
from attacks.fmn import FMN, FMNL0, FMNL1, FMNLinf
from attacks.hopskipjump import HopSkipJump, HopSkipJumpLinf
from attacks.jsma import JSMA
from attacks.lbfgs import LBFGS
from attacks.minimal import Minimal
from attacks.noise import RandomNoise
from attacks.one_pixel import OnePixel
from attacks.pdgd import PDGD, PDPGD
from attacks.pgd import FGSM, IFGSM, MIFGSM, PGD
from attacks.sigma_zero import SigmaZero
from attacks.spatial import Spatial
from attacks.spsa import NES, SPSA
from attacks.square import Square
from attacks.surrogate import Transfer
from attacks.transferable import Transferable
from attacks.universal import FixedPerturbation, PerImagePerturbation
from attacks.universal_method import PerturbationGenerator
from genlab.compress.distil import Distillation, DistillationConfig
from genlab.compress.early_exit import EarlyExitConfig
from genlab.data import Images, Pair, Stream
from genlab.methods.classification.classifier import ClassifierConfig
from genlab.methods.classification.confidence_branch import ConfidenceBranchConfig
from genlab.methods.classification.domain_adversarial import DomainAdversarialConfig
from genlab.methods.classification.generated_outliers import GeneratedOutliersConfig
from genlab.methods.classification.semi_supervised import SemiSupervisedConfig
from genlab.methods.diffusion.consistency import ConsistencyConfig
from genlab.methods.diffusion.diffusion import DiffusionConfig
from genlab.methods.diffusion.flow_matching import FlowMatchingConfig
from genlab.methods.gan.began import BEGANConfig
from genlab.methods.gan.bigan import BiGANConfig
from genlab.methods.gan.conditional_gan import ConditionalGANConfig
from genlab.methods.gan.ebgan import EBGANConfig
from genlab.methods.gan.gan import GANConfig
from genlab.methods.gan.infogan import InfoGANConfig
from genlab.methods.gan.loss_sensitive import LossSensitiveConfig
from genlab.methods.gan.ot_gan import OTGANConfig
from genlab.methods.gan.sequence_gan import SequenceGANConfig
from genlab.methods.gan.stack_gan import StackGANConfig
from genlab.methods.gan.triple_gan import TripleGANConfig
from genlab.methods.gan.unrolled import UnrolledConfig
from genlab.methods.gan.vae_gan import VAEGANConfig
from genlab.methods.gan.wgan import WGANConfig
from genlab.methods.gan.wgan_gp import WGANGPConfig
from genlab.methods.likelihood.autoregressive import AutoregressiveConfig, PixelRNNConfig
from genlab.methods.likelihood.energy_model import EnergyModelConfig
from genlab.methods.likelihood.flow import FlowConfig
from genlab.methods.likelihood.vae import VAEConfig
from genlab.methods.likelihood.vq_vae import VQVAEConfig
from genlab.methods.representation.autoencoder import AutoEncoderConfig
from genlab.methods.representation.cpc import CPCConfig
from genlab.methods.representation.deep_infomax import DeepInfoMaxConfig
from genlab.methods.representation.disentangle import DisentangleConfig
from genlab.methods.representation.pretraining import PreTrainingConfig
from genlab.methods.translation.cogan import CoGANConfig
from genlab.methods.translation.common_space import CommonSpaceConfig
from genlab.methods.translation.cyclegan import CycleGANConfig, Frozen
from genlab.methods.translation.pix2pix import Pix2PixConfig
from genlab.methods.translation.sequence_cycle import SequenceCycleConfig
from genlab.methods.translation.stargan import StarGANConfig
from genlab.nets.classifiers import cnn
from genlab.training.method import Config, Method

SHAPE, CLASSES = (1, 8, 8), 3


class TaughtConfig(DistillationConfig):
    """Taught by a rule: the brightness of an image tells its class."""

    def build(self, shape, classes):
        rule = lambda x: -50 * (x.mean((1, 2, 3))[:, None] - torch.tensor([0.15, 0.45, 0.75])).square()
        return Distillation(ClassifierConfig.build(self, shape, classes).net, [rule], self)


class PerceptualConfig(CycleGANConfig):
    """With the perceptual loss of an untrained network."""

    def frozen(self, shape):
        return Frozen(cnn(SHAPE, CLASSES, 4))


METHODS: dict[str, Config] = {
    "classifier cnn": ClassifierConfig(width=4, lr=0.02),
    "classifier mlp": ClassifierConfig(net="mlp", width=16, smoothing=0.1, lr=0.02),
    "classifier resnet": ClassifierConfig(net="resnet", width=4, lr=0.02),
    "classifier shallow": ClassifierConfig(net="shallow", width=4, dropout=0.1, lr=0.02),
    "classifier vgg": ClassifierConfig(net="vgg", width=4, lr=0.02),
    "classifier hinge": ClassifierConfig(
        *("mlp", 16),
        loss="hinge",
        dropout=0.1,
        dropout_in="blocks",
        spatial_transformer=True,
        optimizer="adagrad",
        l1=1e-4,
    ),
    "domain-adversarial": DomainAdversarialConfig(net="mlp", width=16, hidden=8, lr=0.02),
    "confidence-branch": ConfidenceBranchConfig(net="mlp", width=16, lr=0.02),
    "generated-outliers": GeneratedOutliersConfig(net="mlp", width=16, width_gan=4, latent=4, lr=0.02),
    "semi-supervised": SemiSupervisedConfig(labels_per_class=3, net="mlp", width=16),
    "semi-supervised smooth": SemiSupervisedConfig(net="mlp", width=16, pseudo=0.0, entropy=0.1, smoothness=1.0),
    "gan": GANConfig(latent=4, width=4, hidden=0, lr=2e-3, lr_generator=None),
    "gan minimax": GANConfig(latent=4, width=4, hidden=16, objective="minimax", n_discriminator=2),
    "gan lsgan replay": GANConfig(latent=4, width=4, hidden=0, objective="lsgan", replay=40, lr_generator=None),
    "gan hinge spectral": GANConfig(
        latent=4, width=4, hidden=0, objective="hinge", spectral=True, norm="none", lr=2e-3
    ),
    "gan kl ensemble": GANConfig(latent=4, width=4, hidden=16, objective="kl", generators=3),
    "gan r3gan": GANConfig(
        net="r3gan",
        latent=4,
        width=4,
        objective="relativistic",
        r1=0.1,
        r2=0.1,
        norm="none",
        diff_augment="translation",
    ),
    "gan packed": GANConfig(latent=4, width=4, hidden=0, pack=2, norm="none", diff_augment="colour-translation-cutout"),
    "gan resnet": GANConfig(latent=4, width=4, net="resnet", attention=True, minibatch=True, norm="layer"),
    "wgan": WGANConfig(latent=4, width=4, hidden=0, n_critic=2),
    "wgan-gp": WGANGPConfig(latent=4, width=4, hidden=16, n_critic=2, lr=3e-3),
    "wgan-gp resnet": WGANGPConfig(latent=4, width=4, n_critic=1, net="resnet", attention=True),
    "wgan-gp consistency": WGANGPConfig(
        latent=4, width=4, hidden=16, norm="layer", n_critic=2, consistency=2.0, dropout=0.2
    ),
    "ebgan": EBGANConfig(latent=4, width=4, code=4, pull_away=0.1, lr=2e-3),
    "began": BEGANConfig(latent=4, width=4, code=4, gain=0.1, lr=2e-3),
    "ot-gan": OTGANConfig(latent=4, width=4, embedding=16, n_generator=1, iterations=10),
    "loss-sensitive": LossSensitiveConfig(latent=4, width=4, hidden=0, lr=1e-3),
    "unrolled": UnrolledConfig(latent=4, width=4, hidden=0, unroll=2, lr=2e-3, lr_generator=1e-4),
    "energy-model": EnergyModelConfig(width=4, hidden=0, steps=3, pool=40, step_size=10.0, regularisation=1.0, lr=1e-3),
    "infogan": InfoGANConfig(latent=4, width=4, hidden=16),
    "infogan alone": InfoGANConfig(latent=4, width=4, hidden=16, adversarial=False),
    "infogan uninformed": InfoGANConfig(latent=4, width=4, hidden=16, informed=False),
    "conditional-gan": ConditionalGANConfig(latent=4, width=4),
    "conditional-gan separate": ConditionalGANConfig(latent=4, width=4, heads="separate", mismatched=False),
    "stack-gan": StackGANConfig(latent=4, width=4),
    "sequence-gan reinforce": SequenceGANConfig(
        levels=4, rollouts=0, pretraining=0.0, width=4, width_discriminator=4, n_discriminator=1
    ),
    "vae-gan": VAEGANConfig(latent=4, width=4),
    "vae-gan three": VAEGANConfig(latent=4, width=4, kinds=3),
    "bigan": BiGANConfig(latent=4, width=4, hidden=16),
    "bigan gaussian": BiGANConfig(latent=4, width=4, hidden=16, gaussian=True),
    "triple-gan": TripleGANConfig(labels_per_class=3, latent=4, width=4, pseudo_start=0.0, lr=3e-3),
    "pix2pix": Pix2PixConfig("inpainting:4", width=4, lr=2e-3),
    "pix2pix l1": Pix2PixConfig("super-resolution:2", gan=0.0, width=4, norm="batch", lr=2e-3),
    "pix2pix gan": Pix2PixConfig("partner:night", l1=0.0, width=4, layers=0, noise=0.0),
    "common-space": CommonSpaceConfig(latent=2, width=4, lr=2e-3),
    "common-space tied": CommonSpaceConfig(
        adversarial_translation=1.0, cycle=10.0, domain_adversarial=1.0, tied=True, latent=2, width=4
    ),
    "common-space semantic": CommonSpaceConfig(adversarial=0.0, semantic=1.0, latent=2, width=4),
    "cogan": CoGANConfig(latent=4, width=4),
    "cogan apart": CoGANConfig(tied=False, latent=4, width=4),
    "pixelcnn": AutoregressiveConfig("pixelcnn", "softmax", levels=8, width=6, layers=1, lr=1e-2),
    "pixelcnn gated": AutoregressiveConfig(
        "gated", "logistic", mixtures=2, width=4, layers=1, conditional=True, lr=3e-2
    ),
    "pixelcnn palette": AutoregressiveConfig("gated", "palette", colours=4, width=4, layers=1),
    "pixelrnn": PixelRNNConfig(head="bernoulli", width=4, layers=1),
    "pixelrnn rows": PixelRNNConfig(
        "row-lstm", "regression", width=4, layers=1, self_sampling=0.5, self_sampling_from=0.5
    ),
    "vae": VAEConfig(latent=2, width=4, lr=1e-2),
    "vae gaussian free bits": VAEConfig(latent=2, width=4, pixels="gaussian", free_bits=0.1, lr=1e-2),
    "vae mlp importance": VAEConfig(net="mlp", latent=2, width=16, importance_samples=3),
    "flow glow": FlowConfig(width=4, steps=2),
    "flow nice": FlowConfig(net="nice", width=16, steps=2),
    "flow realnvp": FlowConfig(
        net="realnvp", width=4, steps=1, position_bias=True, dense=1, dequantisation="variational", logit=0.05
    ),
    "diffusion": DiffusionConfig(width=4, steps=3, likelihood_images=2, lr=1e-2),
    "diffusion conditional": DiffusionConfig(
        width=4,
        steps=3,
        likelihood_images=2,
        conditional=True,
        guidance=2.0,
        churn=1.0,
        sampler="midpoint",
        dropout=0.1,
    ),
    "diffusion transformer": DiffusionConfig(
        net="dit", width=8, blocks=1, steps=2, likelihood_images=0, conditional=True, dropout=0.1
    ),
    "consistency": ConsistencyConfig(width=4, pretraining=0.2, stages=2),
    "flow-matching": FlowMatchingConfig(width=4, steps=3, likelihood_images=2, coupling="optimal-transport"),
    "flow-matching conditional": FlowMatchingConfig(
        width=4, steps=3, likelihood_images=0, conditional=True, times="logit-normal", solver="heun"
    ),
    "autoencoder": AutoEncoderConfig(hidden=(16,), code=2, tied=True),
    "autoencoder linear": AutoEncoderConfig(hidden=(), code=4, error="linear"),
    "autoencoder contractive": AutoEncoderConfig(hidden=(), code_activation="sigmoid", contractive=0.01, sparse=0.01),
    "autoencoder denoising": AutoEncoderConfig(net="conv", code=4, width=4, noise=0.2, mask=0.1, contractive=0.01),
    "autoencoder switches": AutoEncoderConfig(net="conv", code=4, width=4, unpool="switches", l2=0.01, lr=1e-2),
    "pretraining": PreTrainingConfig(sizes=(16, 8), error="bernoulli", images_per_layer=32, lr=1e-2),
    "vq-vae": VQVAEConfig(codes=8, dim=4, width=8, prior_width=4, prior_layers=1, lr=1e-2),
    "vq-vae bernoulli": VQVAEConfig(codes=8, dim=4, width=8, pixels="bernoulli", prior_width=4, prior_layers=2),
    "cpc": CPCConfig(code=4, width=16, ahead=2),
    "deep-infomax": DeepInfoMaxConfig(code=4, width=4, hidden=16, weight_local=1.0),
    "disentangle": DisentangleConfig(content=2, style=2, width=4, lr=5e-3),
    "cyclegan": CycleGANConfig(identity=5.0, width=4, blocks=1, levels=1, lr=2e-3),
    "cyclegan perceptual": PerceptualConfig(cycle=0.0, perceptual=1.0, width=4, blocks=1, levels=1, lr=2e-3),
    "sequence-cycle": SequenceCycleConfig(levels=4, identity=0.5, width=4, width_discriminator=4, lr=1e-2),
    "stargan": StarGANConfig(width=4, width_critic=4, blocks=1, levels=1, n_critic=2, lr=2e-3),
    "distillation": TaughtConfig(net="mlp", width=16, lr=0.02, weight_decay=0.0),
    "early-exit": EarlyExitConfig(width=4, lr=0.02),
    "early-exit msdnet": EarlyExitConfig("msdnet", width=2),
    "adversarial-training": AdversarialTrainingConfig(steps=2, net="mlp", width=16),
    "adversarial-training fast": AdversarialTrainingConfig("fast", norm="l2", net="resnet", width=4, eps_warmup=0.5),
    "adversarial-training free": AdversarialTrainingConfig("free", replays=2, width=4),
    "adversarial-training trades": AdversarialTrainingConfig("trades", steps=2, width=4),
    "noise-training": NoiseTrainingConfig(width=4),
    "interval-training": IntervalTrainingConfig(width=4, eps_warmup=0.2, lr=1e-2),
}

LEARNS: dict[str, tuple[str, float]] = {  # metric, factor it must fall by
    "classifier cnn": ("loss", 0.5),
    "classifier mlp": ("loss", 0.9),
    "classifier resnet": ("loss", 0.5),
    "classifier hinge": ("loss", 0.7),
    "domain-adversarial": ("label_loss", 0.9),
    "confidence-branch": ("loss", 0.9),
    "generated-outliers": ("loss", 0.9),
    "semi-supervised": ("loss", 0.9),
    "distillation": ("soft", 0.8),
    "early-exit": ("loss", 0.5),
    "adversarial-training": ("loss", 0.9),
    "adversarial-training free": ("loss", 0.9),
    "adversarial-training trades": ("loss", 0.9),
    "noise-training": ("loss", 0.7),
    "interval-training": ("loss", 0.7),
    "gan": ("discriminator", 0.9),
    "gan lsgan replay": ("discriminator", 0.9),
    "gan hinge spectral": ("discriminator", 0.9),
    "gan resnet": ("discriminator", 0.9),
    "wgan-gp": ("penalty", 0.5),
    "ebgan": ("energy_real", 0.7),
    "began": ("error_real", 0.8),
    "loss-sensitive": ("violation", 0.7),
    "unrolled": ("discriminator", 0.95),
    "infogan": ("information_loss", 0.6),
    "infogan alone": ("information_loss", 0.3),
    "triple-gan": ("supervised", 0.8),
    "pix2pix": ("l1", 0.8),
    "pix2pix l1": ("l1", 0.8),
    "pixelcnn": ("nats", 0.9),
    "pixelcnn gated": ("nats", 0.9),
    "vae": ("reconstruction", 0.95),
    "vae gaussian free bits": ("reconstruction", 0.95),
    "flow glow": ("nats", 0.98),
    "flow nice": ("nats", 0.98),
    "flow realnvp": ("nats", 0.98),
    "diffusion": ("loss", 0.8),
    "flow-matching": ("loss", 0.8),
    "autoencoder": ("error", 0.8),
    "autoencoder linear": ("error", 0.5),
    "autoencoder switches": ("error", 0.9),
    "pretraining": ("error", 0.98),
    "vq-vae": ("reconstruction", 0.95),
    "cpc": ("loss", 0.98),
    "deep-infomax": ("loss", 0.98),
    "disentangle": ("error", 0.8),
}


UNPAIRED: set[str] = {  # methods that learn from two sets of images
    *("cyclegan", "cyclegan perceptual", "cogan", "cogan apart", "sequence-cycle"),
    *("common-space", "common-space tied", "common-space semantic"),
    "domain-adversarial",
}


def images(n: int = 256, seed: int = 1) -> Images:
    """Noise whose brightness tells the class."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(CLASSES, (n,), generator=g)
    x = 0.3 * torch.rand(n, *SHAPE, generator=g) + 0.3 * y.view(-1, 1, 1, 1)
    return Images((x * 255).byte(), y, ("dark", "grey", "light"), "toy")


def source(name: str = "", n: int = 256) -> Images | Pair:
    """What the method `name` learns from: n images, or n of either set."""
    return Pair(images(n), images(n, seed=2)) if name in UNPAIRED else images(n)


def stream(batch: int = 8, name: str = "", **options: int) -> Stream:
    return Stream(source(name), batch, **options)


def make(name: str) -> Method:
    torch.manual_seed(0)
    return METHODS[name].build(SHAPE, CLASSES)


class Largest(TorchDispatchMode):
    """Counts the entries of what operations return meanwhile: of the largest tensor, `numel`, and of all, `total`."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]
        self.numel, self.total = max([self.numel, *sizes]), self.total + sum(sizes)
        return found


class LinearCritic(nn.Module):
    """x (N, C, H, W) -> (N,): the sum of x times a weight of its shape."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(SHAPE))

    def forward(self, x):
        return (x * self.weight).flatten(1).sum(1)


# --- attacks

ATTACKS: list[Attack] = [
    FGSM(Linf(0.03)),
    FGSM(L2(0.3)),
    IFGSM(Linf(0.1), steps=5),
    MIFGSM(Linf(0.1), steps=5),
    MIFGSM(L2(1.0), steps=5),
    PGD(Linf(0.1), steps=5),
    PGD(L2(1.0), steps=5),
    PGD(L1(4.0), steps=5),
    PGD(Linf(0.1), steps=4, restarts=2),
    PGD(L2(1.0), steps=5, early_stop=True),
    PGD(Linf(0.1), steps=4, restarts=3, early_stop=True, momentum=0.5),
    PGD(Linf(0.1), steps=3, step_size=0.2, keep_best=False),
    AutoPGD(Linf(0.1), steps=6),
    AutoPGD(L2(1.0), steps=6, loss="dlr", restarts=2, early_stop=False),
    AutoPGD(L1(6.0), steps=8),
    AutoPGDT(Linf(0.1), steps=4, classes=2),
    FABT(Linf(0.1), steps=4, classes=2),
    FABT(L2(1.0), steps=3, classes=2, restarts=2),
    Auto(Linf(0.1), steps=4, queries=10),
    Transferable(Linf(0.1), steps=5),
    Transferable(L2(1.0), steps=4, diversity=1.0, kernel=1),
    Spatial(steps=6, lr=0.3),
    OnePixel(pixels=5, population=8, generations=3),
    SPSA(Linf(0.1), queries=40, samples=6),
    NES(L2(1.0), queries=40, samples=6),
    Square(Linf(0.1), queries=30),
    Square(L2(1.0), queries=20),
    Square(L1(8.0), queries=20),
    HopSkipJump(queries=70, initial_probes=10, tries=8),
    HopSkipJumpLinf(queries=80, initial_probes=10, tries=8),
    FixedPerturbation(Linf(0.1), torch.linspace(-0.1, 0.1, 128).view(2, 8, 8)),
    PerImagePerturbation(L2(1.0), PerturbationGenerator((2, 8, 8), width=4, per_image=True, seed=0)),
    Transfer(PGD(Linf(0.1), steps=2), nn.Sequential(nn.AvgPool2d(4), nn.Flatten())),
    DeepFool(steps=6, polish=2),
    DeepFoolLinf(steps=6, polish=2),
    CarliniL2(steps=10, searches=2, initial_c=10.0, patience=4),
    CarliniLinf(steps=10, searches=2, initial_c=10.0),
    CarliniL0(steps=8, searches=2),
    EAD(steps=10, searches=2, initial_c=10.0, patience=5),
    EAD(steps=10, searches=2, initial_c=10.0, rule="en"),
    LBFGS(steps=8, searches=2, initial_c=10.0),
    JSMA(gamma=0.1),
    JSMA(gamma=0.1, theta=0.5, direction="both", outputs="logits"),
    FMN(steps=6),
    FMNLinf(steps=6),
    FMNL1(steps=6),
    FMNL0(steps=6),
    DDN(steps=6),
    PDGD(steps=6, polish=2),
    PDPGD(steps=6, norm="linf", polish=2),
    PDPGD(steps=6, norm="l0", polish=2),
    SigmaZero(steps=6),
    Minimal(passes=100, classes=1),
    Minimal(norm="l0", passes=100, classes=1),
    RandomNoise(Linf(0.1)),
    RandomNoise(L2(1.0)),
]
LEARNT = (
    FixedPerturbation,
    PerImagePerturbation,
    Transfer,
)  # beforehand: they do not look at the model that they attack


class Net(nn.Module):
    """Convolution, BatchNorm, dropout; works in float64 so that the batch size changes no rounding."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.body = nn.Sequential(
                nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.Softplus(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(288, 4)
            ).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x.double())


class Calls(nn.Module):
    """A model that notes how many examples each pass had."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.sizes = net, list[int]()

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        return self.net(x)


class Line(nn.Module):
    """Two classes split by w.x = b, so distances to the boundary are known in every norm."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.cat([torch.full((n - n // 3,), 1.0 / n), torch.full((n // 3,), -1.0 / n)]))

    def score(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.w - self.w.sum() / 2

    def forward(self, x: Tensor) -> Tensor:
        s = self.score(x)
        return torch.stack([-s, s], 1)

    @torch.no_grad()
    def at(self, distance: float, norm: type[Ball], x: Tensor) -> Tensor:
        """The images x (N, ...) moved along w, so that all are `distance` from the boundary, on either side in turn."""
        side = 1.0 - 2 * (torch.arange(len(x)) % 2)
        rise = side * distance * self.w.norm(p={Linf: 1, L2: 2, L1: math.inf}[norm]) - self.score(x)
        return x + (rise[:, None] * self.w / self.w.square().sum()).view(x.shape)


def attacked_images(n: int = 12, seed: int = 1) -> Tensor:
    x = torch.rand(n, 2, 8, 8, generator=torch.Generator().manual_seed(seed))
    x[0, :, :4], x[1, :, :4] = 0.0, 1.0  # the box matters
    return x


def batch() -> tuple[Net, Tensor, Tensor]:
    net = Net().eval()
    x = attacked_images()
    return net, x, net(x).argmax(1)


class Seen(nn.Module):
    """A model in the images' own precision that notes what it is shown; what it may be shown is checked."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.shown = net, list[Tensor]()

    def forward(self, x: Tensor) -> Tensor:
        assert x.min() >= 0 and x.max() <= 1  # which also refuses NaN
        self.shown.append(x.detach().clone())
        return self.net(x).to(x.dtype)


class Nothing(nn.Module):
    """Answers with NaN: to everything but the images `known`, or, as to gradients only, everywhere."""

    def __init__(self, net: nn.Module, known: Tensor | None = None, gradients: bool = False) -> None:
        super().__init__()
        self.net, self.known, self.gradients = net, known, gradients

    def forward(self, x: Tensor) -> Tensor:
        logits = self.net(x)
        if self.gradients:
            return logits + (x - x.detach()).abs().sqrt().flatten(1).sum(1, keepdim=True)  # a slope of 0 * infinity
        if self.known is None:
            return logits * math.nan
        strange = (x[:, None] != self.known).flatten(2).any(2).all(1)
        return logits * torch.where(strange, math.nan, 1.0)[:, None]


# --- filters


def filtered_images() -> Tensor:
    """What filters are tried on."""
    return torch.rand(3, 2, 9, 12, generator=torch.Generator().manual_seed(0))


def small_classifier() -> nn.Module:
    """Of `filtered_images`, in three classes."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(216, 16), nn.Tanh(), nn.Linear(16, 3))
