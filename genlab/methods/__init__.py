"""Training algorithms, one per file. `METHODS` lists those of `genlab train`, without importing them."""

METHODS: dict[str, tuple[str, str]] = {
    "classifier": (
        "genlab.methods.classification.classifier:ClassifierConfig",
        "supervised classifier with one of seven networks",
    ),
    "semi-supervised": (
        "genlab.methods.classification.semi_supervised:SemiSupervisedConfig",
        "classifier from few labels: pseudo-labels, entropy, smoothness, a GAN's discriminator as its network",
    ),
    "domain-adversarial": (
        "genlab.methods.classification.domain_adversarial:DomainAdversarialConfig",
        "classifier of a domain without labels, from the labels of another (gradient reversal)",
    ),
    "confidence-branch": (
        "genlab.methods.classification.confidence_branch:ConfidenceBranchConfig",
        "classifier with a learnt confidence, low on images unlike those of training",
    ),
    "generated-outliers": (
        "genlab.methods.classification.generated_outliers:GeneratedOutliersConfig",
        "classifier that is unsure on the samples of a GAN, which lie at the border of the data",
    ),
    "gan": (
        "genlab.methods.gan.gan:GANConfig",
        "generative adversarial network: eleven objectives (R3GAN among them), networks and stabilisers",
    ),
    "wgan": ("genlab.methods.gan.wgan:WGANConfig", "Wasserstein GAN with weight clipping"),
    "wgan-gp": ("genlab.methods.gan.wgan_gp:WGANGPConfig", "Wasserstein GAN with gradient penalty, CT-GAN"),
    "ebgan": ("genlab.methods.gan.ebgan:EBGANConfig", "energy-based GAN: the discriminator is an auto-encoder"),
    "began": (
        "genlab.methods.gan.began:BEGANConfig",
        "boundary equilibrium GAN: an auto-encoder as discriminator, balanced by a measure of convergence",
    ),
    "ot-gan": ("genlab.methods.gan.ot_gan:OTGANConfig", "GAN whose critic compares batches by optimal transport"),
    "loss-sensitive": ("genlab.methods.gan.loss_sensitive:LossSensitiveConfig", "loss-sensitive GAN"),
    "unrolled": ("genlab.methods.gan.unrolled:UnrolledConfig", "GAN trained against unrolled discriminator steps"),
    "energy-model": (
        "genlab.methods.likelihood.energy_model:EnergyModelConfig",
        "energy-based model: a discriminator sampled by Langevin dynamics",
    ),
    "infogan": ("genlab.methods.gan.infogan:InfoGANConfig", "GAN with interpretable codes, learnt without labels"),
    "conditional-gan": (
        "genlab.methods.gan.conditional_gan:ConditionalGANConfig",
        "conditional GAN, mismatched pairs",
    ),
    "stack-gan": ("genlab.methods.gan.stack_gan:StackGANConfig", "conditional GAN in two stages, small and large"),
    "vae-gan": ("genlab.methods.gan.vae_gan:VAEGANConfig", "variational auto-encoder with an adversarial loss"),
    "sequence-gan": (
        "genlab.methods.gan.sequence_gan:SequenceGANConfig",
        "GAN of token sequences: SeqGAN, Gumbel-softmax, soft tokens, or maximum likelihood",
    ),
    "bigan": ("genlab.methods.gan.bigan:BiGANConfig", "bidirectional GAN (ALI): a generator and its encoder"),
    "triple-gan": (
        "genlab.methods.gan.triple_gan:TripleGANConfig",
        "classifier from few labels, with a conditional GAN",
    ),
    "pix2pix": (
        "genlab.methods.translation.pix2pix:Pix2PixConfig",
        "paired image translation (super-resolution, inpainting, colourisation, edges, ...)",
    ),
    "common-space": (
        "genlab.methods.translation.common_space:CommonSpaceConfig",
        "unpaired translation through a shared latent space (UNIT, XGAN, ...)",
    ),
    "cogan": (
        "genlab.methods.translation.cogan:CoGANConfig",
        "coupled GANs: corresponding images in two domains from one z, without pairs",
    ),
    "pixelcnn": (
        "genlab.methods.likelihood.autoregressive:AutoregressiveConfig",
        "autoregressive pixel model with masked convolutions; exact likelihood",
    ),
    "pixelrnn": (
        "genlab.methods.likelihood.autoregressive:PixelRNNConfig",
        "autoregressive pixel model with LSTMs along rows or diagonals; exact likelihood",
    ),
    "vae": ("genlab.methods.likelihood.vae:VAEConfig", "variational auto-encoder"),
    "flow": ("genlab.methods.likelihood.flow:FlowConfig", "normalising flow: NICE, RealNVP or Glow"),
    "diffusion": (
        "genlab.methods.diffusion.diffusion:DiffusionConfig",
        "diffusion (EDM; DDPM and DDIM as samplers), guidance, likelihood, inpainting",
    ),
    "consistency": (
        "genlab.methods.diffusion.consistency:ConsistencyConfig",
        "consistency model (ECT): one or two steps from noise to an image",
    ),
    "flow-matching": (
        "genlab.methods.diffusion.flow_matching:FlowMatchingConfig",
        "flow matching (rectified flow), with optimal-transport coupling",
    ),
    "autoencoder": (
        "genlab.methods.representation.autoencoder:AutoEncoderConfig",
        "auto-encoder: deep, denoising, sparse or contractive",
    ),
    "pretraining": (
        "genlab.methods.representation.pretraining:PreTrainingConfig",
        "deep auto-encoder with greedy layer-wise pre-training",
    ),
    "vq-vae": (
        "genlab.methods.likelihood.vq_vae:VQVAEConfig",
        "vector-quantised VAE: discrete codes with a learned prior",
    ),
    "deep-infomax": (
        "genlab.methods.representation.deep_infomax:DeepInfoMaxConfig",
        "representation learning by maximising mutual information with the image",
    ),
    "cpc": (
        "genlab.methods.representation.cpc:CPCConfig",
        "representation learning by predicting the codes of later rows (contrastive predictive coding)",
    ),
    "disentangle": (
        "genlab.methods.representation.disentangle:DisentangleConfig",
        "auto-encoder with separate codes for content and style",
    ),
    "cyclegan": ("genlab.methods.translation.cyclegan:CycleGANConfig", "unpaired translation between two domains"),
    "stargan": (
        "genlab.methods.translation.stargan:StarGANConfig",
        "unpaired translation between several domains by one generator",
    ),
    "distillation": (
        "genlab.compress.distil:DistillationConfig",
        "knowledge distillation: a classifier trained on the soft labels of others",
    ),
    "early-exit": ("genlab.compress.early_exit:EarlyExitConfig", "classifier with early exits"),
}
