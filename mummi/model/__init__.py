"""The world model: sensors to belief, latent dynamics, losses."""
