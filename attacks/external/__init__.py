"""Models, weights and class names that come from outside the lab, adapted to its conventions."""
