"""Defences. A defended model is a model: images in [0, 1] -> logits."""
