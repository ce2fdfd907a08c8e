"""Shared helpers: ranges of options, safe files and locks, lookup by name, memory checks, safe text output."""
