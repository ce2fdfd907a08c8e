"""Training algorithms, one a file. `METHODS` names those that `genlab train` offers, without importing them."""

METHODS: dict[str, tuple[str, str]] = {
    "classifier": ("genlab.methods.classifier:ClassifierConfig", "supervised classification: cnn, resnet or mlp"),
    "gan": ("genlab.methods.gan:GANConfig", "generative adversarial network with DCGAN networks"),
    "vae": ("genlab.methods.vae:VAEConfig", "variational auto-encoder"),
}
