"""Model compression: distillation, pruning, quantisation, low-rank factorisation, early exits, compressed files."""
