"""Training: acting in environments, learning from replays, and a run that goes on after a kill."""
