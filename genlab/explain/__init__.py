"""What a classifier looks at, and what it looks for. One idea per file:

gradients   saliency, SmoothGrad, integrated gradients
occlusion   what the belief loses when a part is covered
grad_cam    where the last convolution speaks for a class
lime        a linear model of superpixels
maximise    the picture that a class likes best
measure     do maps tell the truth, and do two of them agree?
pictures    maps to look at

A model is x (N, C, H, W) in [0, 1] -> logits (N, K); used in eval mode and left as it was. A map is (N, H, W): the
larger, the more important.
"""
