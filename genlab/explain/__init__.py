"""Explanations of classifiers: attribution maps and activation maximisation.

gradients   saliency, SmoothGrad, integrated gradients
occlusion   occlusion sensitivity
grad_cam    Grad-CAM
lime        LIME with superpixels
maximise    activation maximisation
measure     evaluation of maps: deletion metric, overlap, rank correlation
pictures    maps as images

A model is x (N, C, H, W) in [0, 1] -> logits (N, K); it is used in eval mode and its mode restored. A map is (N, H, W),
larger for more important pixels.
"""
