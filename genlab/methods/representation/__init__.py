"""Auto-encoders and other methods that learn codes."""
