"""Making trained networks small: distillation, pruning, quantisation, low rank, early exits, and files that show it."""
