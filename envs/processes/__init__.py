"""Environments in worker processes, stepped as one batch."""
