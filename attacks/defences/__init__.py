"""Defences. A defended model is a model: image in [0, 1] -> logits."""
