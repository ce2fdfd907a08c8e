"""GAN theory on toy data: divergences, optimal discriminators, points in the plane."""
