"""Cheap rendering without a display."""
