"""Training algorithms, one a file. `METHODS` names those that `genlab train` offers, without importing them."""

METHODS: dict[str, tuple[str, str]] = {
    "classifier": ("genlab.methods.classifier:ClassifierConfig", "supervised classification by one of five networks"),
    "gan": ("genlab.methods.gan:GANConfig", "generative adversarial network: ten objectives, stabilisers that compose"),
    "wgan": ("genlab.methods.wgan:WGANConfig", "Wasserstein GAN with weight clipping"),
    "wgan-gp": ("genlab.methods.wgan_gp:WGANGPConfig", "Wasserstein GAN with gradient penalty, CT-GAN"),
    "ebgan": ("genlab.methods.ebgan:EBGANConfig", "energy-based GAN: the discriminator is an auto-encoder"),
    "loss-sensitive": ("genlab.methods.loss_sensitive:LossSensitiveConfig", "loss-sensitive GAN"),
    "unrolled": ("genlab.methods.unrolled:UnrolledConfig", "GAN whose generator looks discriminator steps ahead"),
    "infogan": ("genlab.methods.infogan:InfoGANConfig", "GAN whose codes its pictures must tell, without labels"),
    "conditional-gan": ("genlab.methods.conditional_gan:ConditionalGANConfig", "conditional GAN, mismatched pairs"),
    "stack-gan": ("genlab.methods.stack_gan:StackGANConfig", "conditional GAN in two stages, small and large"),
    "vae-gan": ("genlab.methods.vae_gan:VAEGANConfig", "variational auto-encoder with a discriminator"),
    "bigan": ("genlab.methods.bigan:BiGANConfig", "bidirectional GAN (ALI): generator and encoder by one game"),
    "triple-gan": ("genlab.methods.triple_gan:TripleGANConfig", "classifier from few labels, with a conditional GAN"),
    "vae": ("genlab.methods.vae:VAEConfig", "variational auto-encoder"),
}
