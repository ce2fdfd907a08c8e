"""Network architectures: nn.Modules only, sized by the `shape` (C, H, W) of their images and a width."""
