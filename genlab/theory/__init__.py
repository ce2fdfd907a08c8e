"""What theory says of GANs, measured: divergences, optimal transport, points in the plane."""
