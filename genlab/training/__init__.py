"""The trainer: methods, the loop, updates, EMA, checkpoints, schedules, several processes."""
