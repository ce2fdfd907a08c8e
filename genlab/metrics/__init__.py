"""Features of images, and figures computed from them: how good, how varied and how new are a generator's samples?

One figure a file; `genlab.metrics.evaluate` makes the table of all. A figure that depends on features carries their
name, as in `FID[mnist-cnn]`.
"""
