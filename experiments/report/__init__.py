"""Evaluated runs as tables."""
