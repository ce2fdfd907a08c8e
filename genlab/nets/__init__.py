"""Network architectures, sized by the image shape (C, H, W) and a width."""
