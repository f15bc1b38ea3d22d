"""dm_control tasks with colour, depth and touch before moving backgrounds."""
