"""Behaviour on the latent state: actor-critic in imagination, planners."""
