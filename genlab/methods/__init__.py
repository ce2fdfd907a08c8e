"""Training algorithms, one a file. `METHODS` names those that `genlab train` offers, without importing them."""

METHODS: dict[str, tuple[str, str]] = {
    "classifier": (
        "genlab.methods.classification.classifier:ClassifierConfig",
        "supervised classification by one of seven networks",
    ),
    "gan": (
        "genlab.methods.gan.gan:GANConfig",
        "generative adversarial network: ten objectives, stabilisers that compose",
    ),
    "wgan": ("genlab.methods.gan.wgan:WGANConfig", "Wasserstein GAN with weight clipping"),
    "wgan-gp": ("genlab.methods.gan.wgan_gp:WGANGPConfig", "Wasserstein GAN with gradient penalty, CT-GAN"),
    "ebgan": ("genlab.methods.gan.ebgan:EBGANConfig", "energy-based GAN: the discriminator is an auto-encoder"),
    "ot-gan": ("genlab.methods.gan.ot_gan:OTGANConfig", "GAN whose critic compares batches by optimal transport"),
    "loss-sensitive": ("genlab.methods.gan.loss_sensitive:LossSensitiveConfig", "loss-sensitive GAN"),
    "unrolled": ("genlab.methods.gan.unrolled:UnrolledConfig", "GAN trained against unrolled discriminator steps"),
    "energy-model": (
        "genlab.methods.likelihood.energy_model:EnergyModelConfig",
        "energy-based model: a discriminator sampled by Langevin dynamics",
    ),
    "infogan": ("genlab.methods.gan.infogan:InfoGANConfig", "GAN with interpretable codes, learnt without labels"),
    "conditional-gan": ("genlab.methods.gan.conditional_gan:ConditionalGANConfig", "conditional GAN, mismatched pairs"),
    "stack-gan": ("genlab.methods.gan.stack_gan:StackGANConfig", "conditional GAN in two stages, small and large"),
    "vae-gan": ("genlab.methods.gan.vae_gan:VAEGANConfig", "variational auto-encoder with an adversarial loss"),
    "bigan": ("genlab.methods.gan.bigan:BiGANConfig", "bidirectional GAN (ALI): a generator and its encoder"),
    "triple-gan": (
        "genlab.methods.gan.triple_gan:TripleGANConfig",
        "classifier from few labels, with a conditional GAN",
    ),
    "pix2pix": (
        "genlab.methods.translation.pix2pix:Pix2PixConfig",
        "translation from pairs, which a task makes of single images",
    ),
    "common-space": (
        "genlab.methods.translation.common_space:CommonSpaceConfig",
        "two auto-encoders for two domains, and what aligns their latent spaces",
    ),
    "cogan": (
        "genlab.methods.translation.cogan:CoGANConfig",
        "coupled GANs: one z, a picture in each of two domains, without pairs",
    ),
    "pixelcnn": (
        "genlab.methods.likelihood.autoregressive:AutoregressiveConfig",
        "autoregressive model of pixels, by masked convolutions; exact likelihood",
    ),
    "pixelrnn": (
        "genlab.methods.likelihood.autoregressive:PixelRNNConfig",
        "autoregressive model of pixels, by LSTMs along rows or diagonals",
    ),
    "vae": ("genlab.methods.likelihood.vae:VAEConfig", "variational auto-encoder"),
    "flow": ("genlab.methods.likelihood.flow:FlowConfig", "normalising flow: NICE, RealNVP or Glow"),
    "autoencoder": (
        "genlab.methods.representation.autoencoder:AutoEncoderConfig",
        "auto-encoder: deep, denoising, sparse or contractive",
    ),
    "pretraining": (
        "genlab.methods.representation.pretraining:PreTrainingConfig",
        "deep auto-encoder with greedy layer-wise pre-training",
    ),
    "vq-vae": ("genlab.methods.likelihood.vq_vae:VQVAEConfig", "auto-encoder with discrete codes and a learned prior"),
    "deep-infomax": (
        "genlab.methods.representation.deep_infomax:DeepInfoMaxConfig",
        "encoder that maximises mutual information with the image",
    ),
    "disentangle": (
        "genlab.methods.representation.disentangle:DisentangleConfig",
        "auto-encoder with separate codes of content and style",
    ),
    "cyclegan": ("genlab.methods.translation.cyclegan:CycleGANConfig", "translation between two sets without pairs"),
    "stargan": (
        "genlab.methods.translation.stargan:StarGANConfig",
        "translation among several domains by one generator",
    ),
    "distillation": (
        "genlab.compress.distil:DistillationConfig",
        "classifier that learns the probabilities of trained ones",
    ),
    "early-exit": ("genlab.compress.early_exit:EarlyExitConfig", "classifier with an exit after every stage"),
}
