"""Episodes, the replay, and batches drawn from it."""
