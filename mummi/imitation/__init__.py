"""Imitation: action heads that learn from demonstrations."""
