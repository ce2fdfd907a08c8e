"""Metrics of generated images: quality, diversity, memorisation, translation.

One metric per file; `genlab.metrics.evaluate` computes the table of all. A metric that depends on features carries
their name, as in `FID[mnist-cnn]`.
"""
