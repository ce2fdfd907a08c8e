"""Shared parts of the attacks: model wrapper and base class, norm balls, goals, reproducible noise, precision."""
