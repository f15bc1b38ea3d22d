"""Rollouts of a trained agent and what they say."""
