"""Heads that predict chunks of actions: networks, objectives, training."""
