"""Models that turn noise into images along an ordinary differential equation: diffusion, flow matching, consistency."""
