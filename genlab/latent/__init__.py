"""Latent spaces: traversals and interpolation, image editing, quality of codes, PCA and NMF baselines."""
