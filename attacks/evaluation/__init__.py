"""Evaluation of attacks and defences: success rates, worst cases, reports."""
