"""Likelihoods: units, pixel distributions, decoder likelihoods, IWAE bound, sampling, Gaussian mixture."""
