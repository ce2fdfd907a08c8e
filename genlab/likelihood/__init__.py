"""Likelihoods: units, distributions of pixels, importance-weighted bounds, exact sampling, mixtures."""
