"""Models trained by likelihood or energy: autoregressive, flows, variational auto-encoders."""
