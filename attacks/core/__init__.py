"""What all attacks share: the guard around a model, norms, goals, reproducible noise, precision."""
