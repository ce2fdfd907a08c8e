"""The command `genlab`, a file per command."""
