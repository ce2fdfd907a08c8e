"""The trainer: base classes of methods, training loop, updates, EMA, checkpoints, schedules, optimizers, hooks."""
