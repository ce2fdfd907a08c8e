"""Explanations of classifiers: attribution maps, what inner layers respond to, trees.

gradients   saliency, SmoothGrad, integrated gradients
guided      guided backpropagation
lrp         layer-wise relevance propagation
occlusion   occlusion sensitivity
grad_cam    Grad-CAM
lime        LIME with superpixels
maximise    activation maximisation
filters     filter maximisation
dream       Deep Dream
style       style transfer by Gram matrices
mimic       a decision tree that mimics a network
measure     evaluation of maps: deletion metric, overlap, rank correlation
pictures    maps as images
layers      outputs of inner layers

A model is x (N, C, H, W) in [0, 1] -> logits (N, K); it is used in eval mode and its mode restored. A map is (N, H, W),
larger for more important pixels.
"""
