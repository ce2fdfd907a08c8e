"""Latent spaces: walks, editing, the quality of codes, codes without training."""
